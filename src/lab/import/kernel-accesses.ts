/**
 * Which of the task's memory the kernel itself touches in a system call: a read's buffer, a stat's result. No memory
 * stream shows these accesses; they follow from the call's arguments and its result.
 */

/** How long a buffer is: a number of bytes, or what the call returned. */
type Length = number | "result";

interface Buffer {
  /** Which argument points to it. */
  readonly argument: number;
  readonly length: Length;
  readonly kind: "load" | "store";
}

const filled = (argument: number, length: Length): Buffer => ({ argument, length, kind: "store" });
const read = (argument: number, length: Length): Buffer => ({ argument, length, kind: "load" });

/** sizeof of structures of the x86-64 ABI; those of i386 are smaller and lie within the same page nearly always. */
const STAT = 144;
const STATFS = 120;
const STATX = 256;
const UTSNAME = 390;
const TIMESPEC = 16;
const RLIMIT = 16;
const RUSAGE = 144;
const SIGACTION = 32;
const SIGSET = 8;
const SYSINFO = 112;

/** By the call's name without "sys_": the buffers of a call that succeeded. */
const buffers: Readonly<Record<string, readonly Buffer[]>> = {
  read: [filled(1, "result")],
  pread64: [filled(1, "result")],
  write: [read(1, "result")],
  pwrite64: [read(1, "result")],
  recvfrom: [filled(1, "result")],
  recv: [filled(1, "result")],
  sendto: [read(1, "result")],
  send: [read(1, "result")],
  getdents: [filled(1, "result")],
  getdents64: [filled(1, "result")],
  getrandom: [filled(0, "result")],
  readlink: [filled(1, "result")],
  readlinkat: [filled(2, "result")],
  getcwd: [filled(0, "result")],
  stat: [filled(1, STAT)],
  newstat: [filled(1, STAT)],
  stat64: [filled(1, STAT)],
  fstat: [filled(1, STAT)],
  newfstat: [filled(1, STAT)],
  fstat64: [filled(1, STAT)],
  lstat: [filled(1, STAT)],
  newlstat: [filled(1, STAT)],
  lstat64: [filled(1, STAT)],
  newfstatat: [filled(2, STAT)],
  fstatat64: [filled(2, STAT)],
  statx: [filled(4, STATX)],
  statfs: [filled(1, STATFS)],
  fstatfs: [filled(1, STATFS)],
  uname: [filled(0, UTSNAME)],
  newuname: [filled(0, UTSNAME)],
  pipe: [filled(0, 8)],
  pipe2: [filled(0, 8)],
  clock_gettime: [filled(1, TIMESPEC)],
  gettimeofday: [filled(0, TIMESPEC)],
  nanosleep: [read(0, TIMESPEC)],
  clock_nanosleep: [read(2, TIMESPEC)],
  getrlimit: [filled(1, RLIMIT)],
  setrlimit: [read(1, RLIMIT)],
  prlimit64: [read(2, RLIMIT), filled(3, RLIMIT)],
  getrusage: [filled(1, RUSAGE)],
  wait4: [filled(1, 4), filled(3, RUSAGE)],
  rt_sigaction: [read(1, SIGACTION), filled(2, SIGACTION)],
  rt_sigprocmask: [read(1, SIGSET), filled(2, SIGSET)],
  sysinfo: [filled(0, SYSINFO)],
  sched_getaffinity: [filled(2, "result")],
};

export interface KernelAccess {
  readonly address: number;
  readonly lengthBytes: number;
  readonly kind: "load" | "store";
}

/** What the kernel touched in a call, "sys_" before its name or not; nothing if it failed or is not known. */
export function kernelAccesses(name: string, args: readonly number[], result: number): KernelAccess[] {
  const known = buffers[name.replace(/^sys_/, "")];
  if (known === undefined || result < 0) return [];
  return known
    .map(({ argument, length, kind }) => ({
      address: args[argument] ?? 0,
      lengthBytes: length === "result" ? result : length,
      kind,
    }))
    .filter(({ address, lengthBytes }) => address > 0 && lengthBytes > 0);
}
