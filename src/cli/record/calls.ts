/**
 * The system calls that matter to memory, as one table for both ABIs: which change an address space, which memory the
 * kernel itself reads or writes for the program, which file a call is about. The plugin's rules are made from it, and
 * what a recorded call did is read with it.
 *
 * One line a call: name, number on x86-64, number on i386 (`-`: none), and then words:
 *
 *     memory          changes or asks about an address space: becomes a "call" event
 *     lock            its order within its process must be exact
 *     file=N          argument N is a descriptor; file=r: the result is one; file=sysv: argument 0 is a segment
 *     sN:L  lN:L      the kernel stores to, or loads from, what argument N points to, L bytes long:
 *                     a number (`A/B`: on x86-64/i386), `r` the result, `z` a string,
 *                     aM argument M, aM*K or r*K that many of K bytes, aM+P as many bytes as M has pages
 *     vector=s|l      arguments 1 and 2 are an iovec;  message=s|l: argument 1 is a msghdr
 *     quote=N:B       B bytes at argument N are needed to understand the call
 *     forks exits exits-thread execs closes=N
 */
import type { Abi } from "../../lab/trace/format.ts";

const table = `
read 0 3 file=0 s1:r
write 1 4 file=0 l1:r
open 2 5 file=r l0:z
close 3 6 closes=0
stat 4 - l0:z s1:144
fstat 5 - s1:144
lstat 6 - l0:z s1:144
poll 7 168 s0:a1*8
mmap 9 - memory lock file=4
mmap2 - 192 memory lock file=4
old_mmap - 90 memory lock quote=0:24
mprotect 10 125 memory lock
munmap 11 91 memory lock
brk 12 45 memory lock
rt_sigaction 13 174 l1:32/20 s2:32/20
rt_sigprocmask 14 175 l1:8 s2:8
ioctl 16 54
pread64 17 180 file=0 s1:r
pwrite64 18 181 file=0 l1:r
readv 19 145 file=0 vector=s
writev 20 146 file=0 vector=l
access 21 33 l0:z
pipe 22 42 s0:8
mremap 25 163 memory lock
msync 26 144 memory
mincore 27 218 memory s2:a1+P
madvise 28 219 memory lock
shmget 29 395 memory
shmat 30 397 memory lock file=sysv
shmctl 31 396 memory
dup2 33 63 closes=1
nanosleep 35 162 l0:16/8
sendfile 40 187
connect 42 362 l1:a2
sendto 44 369 l1:r
recvfrom 45 371 s1:r
sendmsg 46 370 l1:56/28 message=l
recvmsg 47 372 l1:56/28 message=s
bind 49 361 l1:a2
getsockname 51 367 s2:4
getpeername 52 368 s2:4
socketpair 53 360 s3:8
setsockopt 54 366 l3:a4
getsockopt 55 365 s4:4
clone 56 120 forks
fork 57 2 forks
vfork 58 190 forks
execve 59 11 execs
exit 60 1 exits-thread
wait4 61 114 s1:4 s3:144/72
uname 63 122 s0:390
shmdt 67 398 memory lock
ftruncate 77 93 file=0
ftruncate64 - 194 file=0
getdents 78 141 s1:r
getcwd 79 183 s0:r
chdir 80 12 l0:z
rename 82 38 l0:z l1:z
mkdir 83 39 l0:z
creat 85 8 file=r l0:z
unlink 87 10 l0:z
readlink 89 85 l0:z s1:r
gettimeofday 96 78 s0:16/8
getrlimit 97 76 s1:16/8
ugetrlimit - 191 s1:8
getrusage 98 77 s1:144/72
sysinfo 99 116 s0:112/64
times 100 43 s0:32/16
sigaltstack 131 186 l0:24/12 s1:24/12
statfs 137 99 l0:z s1:120/64
fstatfs 138 100 s1:120/64
mlock 149 150 memory lock
munlock 150 151 memory lock
mlockall 151 152 memory lock
munlockall 152 153 memory lock
setrlimit 160 75 l1:16/8
time 201 13 s0:8/4
sched_setaffinity 203 241 l2:a1
sched_getaffinity 204 242 s2:r
remap_file_pages 216 257 memory lock
getdents64 217 220 s1:r
clock_gettime 228 265 s1:16/8
clock_gettime64 - 403 s1:16
clock_getres 229 266 s1:16/8
clock_nanosleep 230 267 l2:16/8
exit_group 231 252 exits
epoll_wait 232 256 s1:r*12
epoll_ctl 233 255 l3:12
waitid 247 284 s2:128 s4:144/72
openat 257 295 file=r l1:z
newfstatat 262 - l1:z s2:144
fstatat64 - 300 l1:z s2:96
stat64 - 195 l0:z s1:96
lstat64 - 196 l0:z s1:96
fstat64 - 197 s1:96
_llseek - 140 s3:8
set_thread_area - 243 l0:16
unlinkat 263 301 l1:z
renameat 264 302 l1:z l3:z
readlinkat 267 305 l1:z s2:r
faccessat 269 307 l1:z
ppoll 271 309 s0:a1*8
epoll_pwait 281 319 s1:r*12
fallocate 285 324 file=0
accept4 288 364 s2:4
pipe2 293 331 s0:8
preadv 295 333 file=0 vector=s
pwritev 296 334 file=0 vector=l
prlimit64 302 340 l2:16 s3:16
getrandom 318 355 s0:r
memfd_create 319 356 file=r l0:z
mlock2 325 376 memory lock
preadv2 327 378 file=0 vector=s
pwritev2 328 379 file=0 vector=l
pkey_mprotect 329 380 memory lock
statx 332 383 l1:z s4:256
dup3 292 330 closes=1
close_range 436 436 closes=1
openat2 437 437 file=r l1:z
faccessat2 439 439 l1:z
socketcall - 102 quote=1:24
ipc - 117 lock quote=3:4 file=ipc
`;

/** What the kernel touches: at an argument, so many bytes. */
interface Touch {
  readonly kind: "load" | "store";
  readonly argument: number;
  readonly length: string;
}

export interface CallShape {
  readonly name: string;
  readonly memory: boolean;
  readonly touches: readonly Touch[];
  /** The direction of the memory that an iovec or a msghdr names. */
  readonly scattered: "load" | "store" | undefined;
  readonly file: string | undefined;
  readonly rule: Uint8Array;
}

// The plugin's `struct rule`: its flags, and the special values of its fields.
const REPORT = 1;
const LOCKED = 2;
const flagOf: Readonly<Record<string, number>> = { lock: LOCKED, forks: 4, "exits-thread": 8, exits: 16, execs: 32 };
const CLOSES = 64;
const FILE_RESULT = 100;
const FILE_SYSV = 101;
const QUOTE_BYTES = 1;
const QUOTE_VECTOR = 2;
const QUOTE_MESSAGE = 3;
const RULE_BYTES = 8;
export const RULES = 1024;

export const shapeOf = (abi: Abi, number: number): CallShape | undefined => shapes[abi].get(number);
export const shapeNamed = (name: string): CallShape | undefined => byName.get(name);

/** The rules of one ABI as the plugin reads them. */
export function ruleTable(abi: Abi): Uint8Array {
  const rules = new Uint8Array(RULES * RULE_BYTES);
  for (const [number, shape] of shapes[abi]) rules.set(shape.rule, number * RULE_BYTES);
  return rules;
}

function parseShape(name: string, words: readonly string[]): CallShape {
  const rule = new Uint8Array(RULE_BYTES);
  const touches: Touch[] = [];
  let scattered: CallShape["scattered"];
  let file: string | undefined;
  rule[0] = REPORT;
  for (const word of words) {
    const [key, value = ""] = word.split("=");
    const touch = /^([sl])(\d):(.+)$/.exec(word);
    if (touch !== null) {
      touches.push({ kind: direction(touch[1]), argument: Number(touch[2]), length: touch[3] });
    } else if (key in flagOf) {
      rule[0] |= flagOf[key];
    } else if (key === "closes") {
      // Only the plugin's own descriptor is at stake: nothing to report.
      rule[0] = CLOSES;
      rule[5] = Number(value);
    } else if (key === "file") {
      file = value;
      rule[1] = fileField(value);
    } else if (key === "vector" || key === "message") {
      scattered = direction(value);
      rule[2] = key === "vector" ? QUOTE_VECTOR : QUOTE_MESSAGE;
      rule[3] = 1;
    } else if (key === "quote") {
      const [from, bytes] = value.split(":");
      rule.set([QUOTE_BYTES, Number(from), Number(bytes)], 2);
    }
  }
  return { name, memory: words.includes("memory"), touches, scattered, file, rule };
}

function direction(letter: string): "load" | "store" {
  return letter === "s" ? "store" : "load";
}

function fileField(value: string): number {
  if (value === "r") return FILE_RESULT;
  if (value === "sysv") return FILE_SYSV;
  if (value === "ipc") return 0;
  return 1 + Number(value);
}

const shapes: Record<Abi, Map<number, CallShape>> = { "x86-64": new Map(), i386: new Map() };
const byName = new Map<string, CallShape>();

for (const line of table.trim().split("\n")) {
  const [name, on64, on32, ...words] = line.split(" ");
  const shape = parseShape(name, words);
  byName.set(name, shape);
  if (on64 !== "-") shapes["x86-64"].set(Number(on64), shape);
  if (on32 !== "-") shapes.i386.set(Number(on32), shape);
}

/** One system call as it was seen. */
export interface SeenCall {
  readonly name: string;
  /** As C passes them: pointers and lengths unsigned. */
  readonly args: readonly number[];
  readonly result: number;
  /** Bytes of the program's memory that the call's rule asks for. */
  readonly quoted: DataView;
}

export interface KernelTouch {
  readonly address: number;
  readonly lengthBytes: number;
  readonly kind: "load" | "store";
}

const PAGE_BYTES = 4096;
/** The kernel reads a string up to its end, which is not known: its first byte stands for it. */
const STRING_BYTES = 1;
/** No buffer is longer; whatever says so is not a length. */
const MAX_TOUCH = 2 ** 31;

/** The program's memory that the kernel read or wrote in a call. */
export function kernelTouches(abi: Abi, shape: CallShape, call: SeenCall): KernelTouch[] {
  const touches: KernelTouch[] = [];
  const add = (address: number, lengthBytes: number, kind: "load" | "store"): void => {
    if (address <= 0 || lengthBytes <= 0 || lengthBytes > MAX_TOUCH) return;
    if (kind === "store" && call.result < 0) return;
    touches.push({ address, lengthBytes, kind });
  };
  for (const { argument, length, kind } of shape.touches) {
    add(call.args[argument] ?? 0, touchLength(abi, length, call), kind);
  }
  if (shape.scattered !== undefined) {
    let rest = Math.max(call.result, 0);
    for (const part of scatteredParts(abi, call.quoted)) {
      const lengthBytes = Math.min(part.lengthBytes, rest);
      add(part.address, lengthBytes, shape.scattered);
      rest -= lengthBytes;
    }
  }
  return touches;
}

function touchLength(abi: Abi, length: string, call: SeenCall): number {
  if (length === "z") return STRING_BYTES;
  if (length === "r") return call.result;
  const times = /^(r|a(\d))(?:([*])(\d+)|([+])P)?$/.exec(length);
  if (times === null) {
    const [on64, on32 = on64] = length.split("/");
    return Number(abi === "i386" ? on32 : on64);
  }
  const value = times[1] === "r" ? call.result : (call.args[Number(times[2])] ?? 0);
  if (times[5] !== undefined) return Math.ceil(value / PAGE_BYTES);
  return value * Number(times[4] ?? 1);
}

function* scatteredParts(abi: Abi, vector: DataView): Iterable<{ address: number; lengthBytes: number }> {
  const word = abi === "i386" ? 4 : 8;
  const read = (at: number): number =>
    word === 4 ? vector.getUint32(at, true) : Number(vector.getBigUint64(at, true));
  for (let at = 0; at + 2 * word <= vector.byteLength; at += 2 * word) {
    yield { address: read(at), lengthBytes: read(at + word) };
  }
}
