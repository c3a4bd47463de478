/** Files as programs use them: through calls and through mappings at once. */
import { describe, expect, test } from "vitest";
import { EBADF, EFBIG, EINVAL, ENOMEM, EOPNOTSUPP } from "../base/errno.ts";
import { FETCH, LOAD, STORE } from "../hw/access.ts";
import { Machine } from "../machine.ts";
import { applySettings, specOf } from "../presets.ts";
import { point, runToCompletion, type Wait } from "../sync/path.ts";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE } from "./fallocate-modes.ts";
import { type ContentSource, type FileKind, type FileObject, OpenFile } from "./file.ts";
import { unlinkFile } from "./file-lifetime.ts";
import { readPages } from "./file-pages.ts";
import { NO_FRAME, PG_DIRTY, PG_LOCKED } from "./frames.ts";
import { NOT_CACHED } from "./page-cache.ts";
import type { Thread } from "./process.ts";
import { BUS_ADRERR, FAULT_MINOR } from "./verdict.ts";

const PAGE = 4096;
const PROT_READ = 1;
const PROT_WRITE = 2;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;
const TRUNCATED = Number.POSITIVE_INFINITY;

/** A machine with one process and one file. */
class Bench {
  readonly machine: Machine;
  readonly thread: Thread;
  readonly file: FileObject;
  readonly open: OpenFile;

  constructor(kind: FileKind, sizeBytes: number, settings: readonly string[] = [], content?: ContentSource) {
    this.machine = new Machine(applySettings(specOf("amd64-8g"), ["geometry.memory=64M", ...settings]));
    this.thread = this.machine.spawn("test").threads[0]!;
    this.file = this.machine.kernel.files.create({ name: "f", kind, sizeBytes, ...(content && { content }) });
    this.open = new OpenFile(this.file, "read-write");
  }

  call(name: string, ...args: (number | OpenFile | Uint8Array | null)[]): number {
    return this.machine.call(this.thread, name, args);
  }

  write(offset: number, text: string): number {
    return this.call(
      "pwrite",
      this.open,
      Uint8Array.from(text, (letter) => letter.charCodeAt(0)),
      offset,
    );
  }

  /** Zero bytes as dots. */
  read(offset: number, length: number): string {
    const bytes = new Uint8Array(length);
    const count = this.call("pread", this.open, bytes, offset);
    return count < 0
      ? String(count)
      : Array.from(bytes.subarray(0, count), (byte) => (byte === 0 ? "." : String.fromCharCode(byte))).join("");
  }

  map(pages: number, prot: number, flags: number, file: OpenFile | null = this.open): number {
    return this.call("mmap", 0, pages * PAGE, prot, flags, file, 0);
  }

  load(address: number): string {
    const verdict = this.machine.access(this.thread, address, LOAD);
    return verdict === FAULT_MINOR
      ? String.fromCharCode(this.machine.readByte(this.thread, address))
      : `verdict ${verdict}`;
  }

  store(address: number, letter: string): number {
    const verdict = this.machine.access(this.thread, address, STORE);
    if (verdict === FAULT_MINOR) this.machine.writeByte(this.thread, address, letter.charCodeAt(0));
    return verdict;
  }

  get cached(): number[] {
    const found: number[] = [];
    this.file.pages.forEach(0, TRUNCATED, (index) => {
      found.push(index);
      return true;
    });
    return found;
  }

  isDirty(index: number): boolean {
    const frame = this.file.pages.find(index);
    return frame !== NOT_CACHED && this.machine.kernel.frames.has(frame, PG_DIRTY);
  }

  get costs() {
    return this.machine.kernel.files.costs;
  }
}

const KINDS: FileKind[] = ["shmem", "regular"];

describe.each(KINDS)("a %s file", (kind) => {
  test("gives back what was written, grows with it, and has zeros where nothing was", () => {
    const bench = new Bench(kind, 10);
    expect(bench.write(PAGE - 2, "abcd")).toBe(4);
    expect(bench.file.sizeBytes).toBe(PAGE + 2);
    expect(bench.read(PAGE - 4, 100)).toBe("..abcd");
    expect(bench.read(PAGE + 2, 1)).toBe("");
    expect(bench.write(5 * PAGE, "z")).toBe(1);
    expect(bench.read(3 * PAGE, 3)).toBe("...");
  });

  test("shows writes through a shared mapping to readers, and those of write calls to the mapping", () => {
    const bench = new Bench(kind, 2 * PAGE);
    const address = bench.map(2, PROT_READ | PROT_WRITE, MAP_SHARED);
    bench.store(address + PAGE + 1, "x");
    expect(bench.read(PAGE, 3)).toBe(".x.");
    bench.write(0, "hello");
    expect(bench.load(address + 4)).toBe("o");
  });

  test("does not see writes through a private mapping", () => {
    const bench = new Bench(kind, PAGE);
    bench.write(0, "abc");
    const address = bench.map(1, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    bench.store(address, "x");
    expect([bench.read(0, 3), bench.load(address), bench.load(address + 1)]).toEqual(["abc", "x", "b"]);
  });

  test("gives a bus error beyond its end, and none any more once it has grown", () => {
    const bench = new Bench(kind, PAGE + 1);
    const address = bench.map(3, PROT_READ, MAP_SHARED);
    expect(bench.load(address + 2 * PAGE - 1)).toBe("\0");
    expect(bench.load(address + 2 * PAGE)).toBe(`verdict ${BUS_ADRERR}`);
    expect(bench.call("ftruncate", bench.open, 3 * PAGE)).toBe(0);
    expect(bench.load(address + 2 * PAGE)).toBe("\0");
  });

  test("that is truncated loses its pages, private copies too, and has zeros behind its end when it grows again", () => {
    const bench = new Bench(kind, 4 * PAGE);
    bench.write(PAGE, "abcdef");
    bench.write(2 * PAGE, "gone");
    const shared = bench.map(4, PROT_READ, MAP_SHARED);
    const copy = bench.map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    bench.load(shared + 2 * PAGE);
    bench.store(copy + 2 * PAGE, "x");
    expect(bench.call("ftruncate", bench.open, PAGE + 3)).toBe(0);
    expect(bench.load(shared + 2 * PAGE)).toBe(`verdict ${BUS_ADRERR}`);
    expect(bench.load(copy + 2 * PAGE)).toBe(`verdict ${BUS_ADRERR}`);
    expect(bench.load(shared + PAGE + 2)).toBe("c");
    bench.call("ftruncate", bench.open, 4 * PAGE);
    expect([bench.read(PAGE, 6), bench.read(2 * PAGE, 4)]).toEqual(["abc...", "...."]);
  });

  test("that is punched has zeros in the hole, keeps its size and what private mappings copied", () => {
    const bench = new Bench(kind, 4 * PAGE);
    for (let index = 0; index < 4; index++) bench.write(index * PAGE, "abcd");
    const shared = bench.map(4, PROT_READ, MAP_SHARED);
    const copy = bench.map(4, PROT_READ | PROT_WRITE, MAP_PRIVATE);
    bench.load(shared + PAGE);
    bench.store(copy + PAGE, "x");
    expect(bench.call("fallocate", bench.open, 3, 2, 2 * PAGE)).toBe(0);
    expect([0, 1, 2, 3].map((index) => bench.read(index * PAGE, 4))).toEqual(["ab..", "....", "..cd", "abcd"]);
    expect([bench.load(shared + PAGE), bench.load(copy + PAGE)]).toEqual(["\0", "x"]);
    expect(bench.file.sizeBytes).toBe(4 * PAGE);
  });

  test("can be punched within one page", () => {
    const bench = new Bench(kind, PAGE);
    bench.write(0, "abcdef");
    expect(bench.call("fallocate", bench.open, 3, 2, 2)).toBe(0);
    expect(bench.read(0, 6)).toBe("ab..ef");
    expect(bench.call("fallocate", bench.open, 3, 0, 1)).toBe(0);
    expect(bench.read(0, 6)).toBe(".b..ef");
  });

  test("refuses calls in the order in which the kernel checks them", () => {
    const bench = new Bench(kind, PAGE);
    const readOnly = new OpenFile(bench.file, "read");
    const writeOnly = new OpenFile(bench.file, "write");
    const byte = new Uint8Array(1);
    expect(bench.call("pread", null, byte, 0)).toBe(-EBADF);
    expect(bench.call("pread", writeOnly, byte, 0)).toBe(-EBADF);
    expect(bench.call("pread", readOnly, byte, -1)).toBe(-EINVAL);
    expect(bench.call("pwrite", readOnly, byte, 0)).toBe(-EBADF);
    expect(bench.call("ftruncate", null, -1)).toBe(-EINVAL);
    expect(bench.call("ftruncate", null, 0)).toBe(-EBADF);
    expect(bench.call("ftruncate", readOnly, 0)).toBe(-EINVAL);
    expect(bench.call("fallocate", readOnly, 0, 0, 0)).toBe(-EINVAL);
    expect(bench.call("fallocate", readOnly, 0x80, 0, 1)).toBe(-EOPNOTSUPP);
    expect(bench.call("fallocate", readOnly, 2, 0, 1)).toBe(-EOPNOTSUPP);
    expect(bench.call("fallocate", readOnly, 0x09, 0, 1)).toBe(-EINVAL);
    expect(bench.call("fallocate", readOnly, 0, 0, 1)).toBe(-EBADF);
    expect(bench.call("fallocate", bench.open, 0, 2 ** 53, 1)).toBe(-EFBIG);
    expect(bench.call("fallocate", bench.open, 0x08, 0, PAGE)).toBe(-EOPNOTSUPP);
    expect(bench.call("fadvise", null, 0, 0, 9)).toBe(-EBADF);
    expect(bench.call("fadvise", bench.open, 0, -1, 9)).toBe(-EINVAL);
    expect(bench.call("fadvise", bench.open, 0, 0, 6)).toBe(-EINVAL);
    expect(bench.call("fsync", null)).toBe(-EBADF);
  });

  test("leaves no memory behind when nothing maps it and it is empty", () => {
    const bench = new Bench(kind, 8 * PAGE);
    const { kernel } = bench.machine;
    const before = kernel.allocator.freePages;
    const address = bench.map(8, PROT_READ, MAP_SHARED);
    bench.write(0, "kept");
    bench.load(address);
    bench.call("munmap", address, 8 * PAGE);
    expect(bench.read(0, 4)).toBe("kept");
    bench.call("ftruncate", bench.open, 0);
    expect(bench.cached).toEqual([]);
    expect(before - kernel.allocator.freePages).toBeLessThanOrEqual(4);
  });
});

test("a file without a name lives as long as it is mapped, and gives back its memory then", () => {
  const bench = new Bench("shmem", 8 * PAGE);
  const { kernel } = bench.machine;
  const address = bench.map(8, PROT_READ, MAP_SHARED);
  const promised = kernel.commitment.pages;
  const files = kernel.files.count;
  bench.write(0, "kept");
  unlinkFile(kernel, bench.file);
  expect([bench.load(address), kernel.files.count]).toEqual(["k", files]);
  bench.call("munmap", address, 8 * PAGE);
  expect([bench.cached, kernel.files.count, kernel.commitment.pages]).toEqual([[], files - 1, promised]);
});

describe("a shmem file", () => {
  test("has no pages where it is read, one where it is touched, and all that fallocate reserves", () => {
    const bench = new Bench("shmem", 64 * PAGE);
    bench.read(0, 64 * PAGE);
    expect(bench.cached).toEqual([]);
    const address = bench.map(64, PROT_READ, MAP_SHARED);
    bench.load(address + 9 * PAGE);
    expect(bench.cached).toEqual([9]);
    expect(bench.call("fallocate", bench.open, 1, 62 * PAGE, 4 * PAGE)).toBe(0);
    expect([bench.cached, bench.file.sizeBytes]).toEqual([[9, 62, 63, 64, 65], 64 * PAGE]);
    expect(bench.call("fallocate", bench.open, 0, 66 * PAGE, 1)).toBe(0);
    expect(bench.file.sizeBytes).toBe(66 * PAGE + 1);
  });

  test("is left as it was when fallocate finds no memory", () => {
    const bench = new Bench("shmem", 0);
    const { allocator } = bench.machine.kernel;
    bench.write(PAGE, "mine");
    allocator.failAt(4, 1);
    expect(bench.call("fallocate", bench.open, 0, 0, 32 * PAGE)).toBe(-ENOMEM);
    allocator.neverFail();
    expect([bench.cached, bench.read(PAGE, 4), bench.file.sizeBytes]).toEqual([[1], "mine", PAGE + 4]);
  });

  test("promises memory page by page, shared anonymous memory as a whole unless it is told not to", () => {
    const bench = new Bench("shmem", 16 * PAGE);
    const { commitment } = bench.machine.kernel;
    const before = commitment.pages;
    bench.write(0, "x");
    expect(commitment.pages - before).toBe(1);
    const whole = bench.map(10, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, null);
    expect(commitment.pages - before).toBe(11);
    const lazy = bench.map(10, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE, null);
    bench.store(lazy, "x");
    expect(commitment.pages - before).toBe(12);
    bench.call("munmap", whole, 10 * PAGE);
    bench.call("munmap", lazy, 10 * PAGE);
    expect(commitment.pages - before).toBe(1);
  });

  test("unmaps everything that follows when a hole ends within its first page", () => {
    const bench = new Bench("shmem", 4 * PAGE);
    const address = bench.map(4, PROT_READ | PROT_WRITE, MAP_SHARED);
    for (let index = 0; index < 4; index++) bench.store(address + index * PAGE, "x");
    const faults = bench.thread.process.minorFaults;
    bench.call("fallocate", bench.open, 3, 8, 8);
    bench.load(address);
    expect(bench.thread.process.minorFaults).toBe(faults);
    bench.load(address + 3 * PAGE);
    expect(bench.thread.process.minorFaults).toBe(faults + 1);
    expect(bench.load(address + 3 * PAGE)).toBe("x");
  });
});

describe("a regular file", () => {
  const letters: ContentSource = (memory, frame, index) => memory.writeByte(frame, 0, 65 + index);

  test("costs a major fault where it is not cached, and brings its neighbours", () => {
    const bench = new Bench("regular", 100 * PAGE, [], letters);
    const address = bench.map(100, PROT_READ, MAP_SHARED);
    expect(bench.load(address + 40 * PAGE)).toBe("i");
    expect(bench.thread.process.majorFaults).toBe(1);
    expect([bench.cached[0], bench.cached.length]).toEqual([24, 32]);
    expect([bench.costs.diskReads, bench.costs.pagesRead]).toEqual([1, 32]);
    bench.load(address + 24 * PAGE);
    expect(bench.thread.process.majorFaults).toBe(1);
  });

  test("brings no neighbours to an area that is read at random", () => {
    const bench = new Bench("regular", 100 * PAGE, [], letters);
    const address = bench.map(100, PROT_READ, MAP_SHARED);
    bench.call("madvise", address, 100 * PAGE, 1);
    bench.machine.access(bench.thread, address + 40 * PAGE, FETCH);
    bench.load(address + 40 * PAGE);
    expect(bench.cached).toEqual([40]);
  });

  test("is read further and further ahead of a reader who reads on", () => {
    const bench = new Bench("regular", 100 * PAGE, [], letters);
    bench.read(0, 1);
    expect(bench.cached.length).toBe(4);
    for (let index = 1; index < 100; index++) bench.read(index * PAGE, 1);
    expect(bench.costs.diskReads).toBeLessThan(8);
    expect(bench.read(57 * PAGE, 1)).toBe("z");
  });

  test("has what was written, from disk too", () => {
    const bench = new Bench("regular", 4 * PAGE, [], letters);
    bench.write(PAGE + 1, "new");
    expect(bench.isDirty(1)).toBe(true);
    expect(bench.call("fsync", bench.open)).toBe(0);
    expect([bench.isDirty(1), bench.costs.pagesWritten]).toEqual([false, 1]);
    bench.call("fadvise", bench.open, 0, 0, 4);
    expect(bench.cached).toEqual([]);
    expect([bench.read(PAGE, 5), bench.read(2 * PAGE, 1)]).toEqual(["Bnew.", "C"]);
  });

  test("keeps pages that are mapped, and parts of pages, when told to drop them", () => {
    const bench = new Bench("regular", 8 * PAGE, ["tunables.readaheadPages=1"], letters);
    const address = bench.map(8, PROT_READ, MAP_SHARED);
    bench.read(0, 8 * PAGE);
    bench.load(address + 5 * PAGE);
    // The fault has mapped what is cached around it: only unmapped pages go.
    bench.call("munmap", address, 5 * PAGE);
    bench.call("fadvise", bench.open, 1, 4 * PAGE, 4);
    expect(bench.cached).toEqual([0, 4, 5, 6, 7]);
  });

  test("notices a write through a mapping again after each write-back", () => {
    const bench = new Bench("regular", PAGE);
    const address = bench.map(1, PROT_READ | PROT_WRITE, MAP_SHARED);
    bench.store(address, "a");
    bench.store(address, "b");
    bench.call("fsync", bench.open);
    const faults = bench.thread.process.minorFaults;
    bench.store(address, "c");
    expect(bench.thread.process.minorFaults).toBe(faults + 1);
    expect(bench.isDirty(0)).toBe(true);
    bench.call("fsync", bench.open);
    expect(bench.costs.pagesWritten).toBe(2);
  });

  test("that is cut within a page has zeros behind the cut, from disk too", () => {
    const all: ContentSource = (memory, frame) => {
      for (let at = 0; at < 8; at++) memory.writeByte(frame, at, 97 + at);
    };
    const bench = new Bench("regular", 2 * PAGE, [], all);
    bench.call("ftruncate", bench.open, PAGE + 3);
    bench.call("ftruncate", bench.open, 3 * PAGE);
    bench.call("fsync", bench.open);
    bench.call("fadvise", bench.open, 0, 0, 4);
    expect([bench.read(PAGE, 5), bench.read(2 * PAGE, 5), bench.read(0, 8)]).toEqual(["abc..", ".....", "abcdefgh"]);
  });
});

describe("a page that another task reads from disk meanwhile", () => {
  const letters: ContentSource = (memory, frame) => {
    for (let at = 0; at < 8; at++) memory.writeByte(frame, at, 97 + at);
  };

  /** A machine on which a task has sent for the file's page, and waits for the disk; and what goes on when it has come. */
  function reading(): { bench: Bench; comes: () => void } {
    const bench = new Bench("regular", PAGE, [], letters);
    const path = readPages(bench.machine.kernel, bench.file, 0, 0, 1);
    path.next();
    expect(bench.machine.kernel.frames.has(bench.file.pages.find(0), PG_LOCKED)).toBe(true);
    return { bench, comes: () => expect(path.next()).toEqual({ done: true, value: 0 }) };
  }

  /** The call waits until the page has come, and then is done. */
  function waits(name: string, args: (number | Uint8Array)[]): string {
    const { bench, comes } = reading();
    const { kernel } = bench.machine;
    const path = kernel.personality.calls[name]!.path(kernel, bench.thread, [bench.open, ...args]);
    const wait = path.next().value as Wait;
    expect(wait.ready()).toBe(false);
    comes();
    expect(wait.ready()).toBe(true);
    runToCompletion(path);
    return bench.read(0, 8);
  }

  test("is written to when it has come", () => {
    expect(waits("pwrite", [Uint8Array.of(88, 89), 2])).toBe("abXYefgh");
  });

  test("loses what a hole takes of it when it has come", () => {
    expect(waits("fallocate", [FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE, 2, 3])).toBe("ab...fgh");
  });

  test("is not read again by who had to wait for memory for it", () => {
    const bench = new Bench("regular", PAGE, [], letters);
    const { kernel } = bench.machine;
    const { allocator } = kernel;
    const tryAllocate = allocator.tryAllocate.bind(allocator);
    allocator.tryAllocate = () => NO_FRAME;
    allocator.allocate = function* (...request) {
      yield point("memory");
      return tryAllocate(...request);
    };
    const late = readPages(kernel, bench.file, 0, 0, 1);
    late.next();
    allocator.tryAllocate = tryAllocate;
    bench.write(2, "XY");
    runToCompletion(late);
    expect([bench.read(0, 8), bench.costs.diskReads]).toEqual(["abXYefgh", 1]);
  });
});
