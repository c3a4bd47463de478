import { describe, expect, test } from "vitest";
import { UsageError } from "../../base/errors.ts";
import { dumpTrace } from "../trace/dump.ts";
import type { Codec } from "../trace/format.ts";
import { TraceReader } from "../trace/reader.ts";
import { TraceWriter } from "../trace/writer.ts";
import { LackeyImporter, lackeyHeader } from "./lackey.ts";
import { StraceImporter, straceHeader } from "./strace.ts";
import { numberOf, splitArguments } from "./strace-line.ts";

const plain: Codec = { compress: (bytes) => bytes, decompress: (bytes) => bytes };

/** What the import wrote, one line a record, without the header. */
async function imported(work: (sink: (bytes: Uint8Array) => void) => TraceWriter): Promise<string[]> {
  const parts: Uint8Array[] = [];
  const writer = work((bytes) => parts.push(bytes));
  await writer.finish();
  const reader = new TraceReader(
    (async function* () {
      yield* parts;
    })(),
    plain,
    "t.bmt",
  );
  let text = "";
  for await (const lines of dumpTrace(reader)) text += lines;
  return text.trimEnd().split("\n").slice(1);
}

const lackey = (text: string, piece = text.length): Promise<string[]> =>
  imported((sink) => {
    const writer = new TraceWriter(sink, plain, lackeyHeader("x86-64", ["p"]));
    const importer = new LackeyImporter(writer, { name: "p.log", abi: "x86-64" });
    const bytes = Buffer.from(text);
    for (let at = 0; at < bytes.length; at += piece) importer.feed(bytes.subarray(at, at + piece));
    importer.finish();
    return writer;
  });

const strace = (text: string): Promise<string[]> =>
  imported((sink) => {
    const writer = new TraceWriter(sink, plain, straceHeader("x86-64", ["p"]));
    const importer = new StraceImporter(writer, "p.log");
    for (const line of text.trimEnd().split("\n")) importer.line(line);
    importer.finish();
    return writer;
  });

const call = (name: string, args: number[], result: number, more: object = {}): string =>
  `event ${JSON.stringify({ op: "call", name, args, result, ...more })}`;
/** The assumption that an area exists which the log does not show being mapped. */
const assumed = (address: number, lengthBytes: number): string =>
  call("mmap", [address, lengthBytes, 7, 50, -1, 0], address);

const lackeyLog = `==9792== Lackey, an example Valgrind tool
I  00401000,5
 L 1ffeffe7f8,8
 S 1ffeffe7f8,8
 M 1ffefffffc,8
SYSCALL[9792,1](257) sys_openat ( 4294967196, 0x4835540(/lib/x, (y).so), 524288 ) --> [async] ... 
SYSCALL[9792,1](257) ... [async] --> Success(0x4) 
SYSCALL[9792,1](9) sys_mmap ( 0x0, 8192, 1, 2050, 4, 4096 ) --> [pre-success] Success(0x4837000) 
SYSCALL[9792,1](334) unimplemented (by the kernel) syscall: 334! (ni_syscall)
 --> [pre-fail] Failure(0x26) 
SYSCALL[9792,1](11) sys_munmap ( 0x1, 0 )[sync] --> Failure(0x16) 
SYSCALL[9792,1](0) sys_read ( 4, 0x4837ff0, 832 ) --> [async] ... 
SYSCALL[9792,1](0) ... [async] --> Success(0x340) 
I  00401005,3
SYSCALL[9792,1](231) exit_group( 3 ) --> [pre-success] Success(0x0) 
==9792== 
`;

describe("lackey", () => {
  const expected = [
    'event {"op":"start","thread":1,"process":1,"abi":"x86-64","regions":[],"brk":0}',
    assumed(0x401000, 4096),
    "fetch 0x401 1",
    assumed(0x1ffeffe000, 4096),
    "load 0x1ffeffe 1",
    "store 0x1ffeffe 1",
    assumed(0x1ffefff000, 4096),
    "load 0x1ffefff 1",
    assumed(0x1fff000000, 4096),
    "load 0x1fff000 1",
    "store 0x1ffefff 1",
    "store 0x1fff000 1",
    call("mmap", [0, 8192, 1, 2050, 4, 4096], 0x4837000, { file: { path: "/lib/x, (y).so" } }),
    call("munmap", [1, 0], -22),
    'event {"op":"kernel-access","address":75726832,"lengthBytes":832,"kind":"store"}',
    "fetch 0x401 1",
    'event {"op":"exit","thread":1,"status":3,"scope":"process"}',
  ];

  test("becomes accesses, calls, and what the kernel touched", async () => {
    expect(await lackey(lackeyLog)).toEqual(expected);
  });

  test("whatever pieces it comes in", async () => {
    for (const piece of [1, 7, 100]) expect(await lackey(lackeyLog, piece)).toEqual(expected);
  });

  test.each([
    ["I  0040100,", 'p.log: line 2: expected an access ("I  ADDRESS,SIZE"'],
    [" X 00401000,4", 'found " X 00401000,4"'],
    ["I  00401000,0", "p.log: line 2"],
    ["I  0x401000,4", "p.log: line 2"],
    ["SYSCALL[1](9) sys_mmap ( ) --> [sync]", "p.log: line 2"],
    ["SYSCALL[1,1](9) sys_mmap ( 0x0 ) --> Sucess(0x1)", "p.log: line 2"],
  ])("damaged as %j is refused", async (line, message) => {
    await expect(lackey(`I  00401000,4\n${line}\nI  00401000,4\n`)).rejects.toThrow(message);
    await expect(lackey(`I  00401000,4\n${line}\n`)).rejects.toThrow(UsageError);
  });

  test("cut off is refused", async () => {
    await expect(lackey("I  00401000,4\nI  0040")).rejects.toThrow(
      /p\.log: line 2: expected a whole line, found "I {2}0040"/,
    );
  });
});

const straceLog = `
9830  execve("/bin/p", ["p", "a, b)"], 0x7ffd7bab3a10 /* 35 vars */) = 0
9830  brk(NULL)                         = 0x55db2ee43000
9830  newfstatat(3</lib/c.so>, "", {st_mode=S_IFREG|0755, st_size=9000, ...}, AT_EMPTY_PATH) = 0
9830  mmap(NULL, 12288, PROT_READ, MAP_PRIVATE|MAP_DENYWRITE, 3</lib/c.so>, 0x1000) = 0x7f186718c000
9830  mprotect(0x7f186718c000, 4096, PROT_NONE) = 0
9830  mprotect(0x400000, 4096, PROT_READ) = 0
9830  mlock(NULL, 4096)                 = -1 ENOMEM (Cannot allocate memory)
9830  clone(child_stack=NULL, flags=CLONE_CHILD_CLEARTID|SIGCHLD <unfinished ...>
9831  munmap(0x7f186718c000, 4096 <unfinished ...>
9830  <... clone resumed>, child_tidptr=0x7f1867189a10) = 9831
9831  <... munmap resumed>)             = 0
9831  exit_group(1)                     = ?
9831  +++ exited with 1 +++
9830  --- SIGCHLD {si_signo=SIGCHLD, si_code=CLD_EXITED} ---
9830  +++ killed by SIGKILL +++
`.trimStart();

describe("strace", () => {
  test("becomes address spaces, calls in the order of their returns, forks before their children act", async () => {
    expect(await strace(straceLog)).toEqual([
      'event {"op":"start","thread":9830,"process":9830,"abi":"x86-64","regions":[],"brk":0}',
      'event {"op":"exec","abi":"x86-64","name":"/bin/p","regions":[],"brk":0}',
      call("brk", [0], 0x55db2ee43000),
      call("mmap", [0, 12288, 1, 0x802, 3, 4096], 0x7f186718c000, { file: { path: "/lib/c.so", sizeBytes: 9000 } }),
      call("mprotect", [0x7f186718c000, 4096, 0], 0),
      assumed(0x400000, 4096),
      call("mprotect", [0x400000, 4096, 1], 0),
      call("mlock", [0, 4096], -12),
      'event {"op":"fork","child":9831,"process":9831,"shares":"nothing"}',
      'event {"op":"switch","thread":9831}',
      call("munmap", [0x7f186718c000, 4096], 0),
      'event {"op":"exit","thread":9831,"status":1,"scope":"process"}',
      'event {"op":"switch","thread":9830}',
      'event {"op":"exit","thread":9830,"status":128,"scope":"process"}',
    ]);
  });

  test("damaged says which line", async () => {
    await expect(strace("1 brk(NULL) = 0x1000\n1 mmap(NULL, 81")).rejects.toThrow(
      'p.log: line 2: expected a line of strace -f -y, found "1 mmap(NULL, 81"',
    );
    await expect(strace("1 brk(NULL) = 0x1000\n1 mmap(NULL, WHAT, PROT_READ, 2, -1, 0) = 0x1000")).rejects.toThrow(
      "line 2",
    );
    await expect(strace("1 <... brk resumed>) = 0x1000")).rejects.toThrow("line 1");
  });

  test("arguments are split where no string, bracket or path stands", () => {
    expect(splitArguments('3</a,b>, "x, \\"y", {a=1, b=[2, 3]}, 0')).toEqual([
      "3</a,b>",
      '"x, \\"y"',
      "{a=1, b=[2, 3]}",
      "0",
    ]);
    expect(splitArguments("")).toEqual([]);
    expect(["PROT_READ|PROT_WRITE", "0600", "0x10", "-1", "4</x>", "WHAT"].map(numberOf)).toEqual([
      3,
      0o600,
      16,
      -1,
      4,
      undefined,
    ]);
  });
});
