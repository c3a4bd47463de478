/** remap_file_pages with nonlinear areas, option by option: what it refuses, and what becomes of the entries. */
import { describe, expect, test } from "vitest";
import { EINVAL, ENOSYS } from "../../base/errno.ts";
import { PAGE_SIZE, type Vpn } from "../../base/units.ts";
import type { PagingFormatName } from "../../hw/paging-format.ts";
import { type OpenTable, PTE_DIRTY, PTE_FILE, PTE_WRITE } from "../../hw/pte.ts";
import { MADV_DONTNEED } from "../advise.ts";
import { type FileObject, OpenFile } from "../file.ts";
import { LEAF } from "../page-table.ts";
import type { Thread } from "../process.ts";
import { MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE, TestKernel, type TestMachine } from "../test-kernel.ts";
import { BUS_ADRERR } from "../verdict.ts";
import { VM_NONLINEAR } from "../vma.ts";
import type { NonlinearName } from "./nonlinears.ts";

const AT: Vpn = 0x1000;
const MAP_NONBLOCK = 0x1_0000;
const MS_SYNC = 4;
const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;

/** The options that make areas nonlinear. */
const nonlinear: readonly NonlinearName[] = [
  "remap-2.5",
  "tagged-search",
  "cleanup-pass",
  "cleanup-tolerant",
  "unmap-each",
  "locked-only",
];
/** Of these, those that keep their promises. */
const sound = ["tagged-search", "cleanup-pass", "cleanup-tolerant", "unmap-each"] as const;

/** A process that maps a file of eight pages, whose entries' pages say which they are. */
class Program extends TestKernel {
  readonly shared: FileObject;
  readonly open: OpenFile;

  constructor(machine: TestMachine) {
    super({ kernel: "linux-2.6.11", ...machine });
    this.shared = this.file(8);
    this.open = new OpenFile(this.shared, "read-write");
    this.map(AT, 8, READ_WRITE, MAP_SHARED, this.shared);
    if (machine.nonlinear === "locked-only") this.call("mlock", [AT * PAGE_SIZE, 8 * PAGE_SIZE]);
  }

  remap(page: Vpn, pages: number, index: number, flags = 0): number {
    return this.call("remap_file_pages", [page * PAGE_SIZE, pages * PAGE_SIZE, 0, index, flags]);
  }

  /** What eight entries say: the index of the page they map, `(index)` of one that they remember, `.` for none. */
  layout(thread: Thread = this.thread, first: Vpn = AT): string {
    return Array.from({ length: 8 }, (_, at) => this.wordAt(first + at, thread)).join(" ");
  }

  private wordAt(page: Vpn, thread: Thread): string {
    const { kernel } = this;
    const { flags, frame } = this.entry(page, thread);
    if (flags === 0) return ".";
    if (flags !== PTE_FILE) return String(kernel.frames.index.read(frame));
    const table = kernel.tables.tableAt(thread.mm, page, LEAF) as OpenTable;
    return `(${kernel.entries.fileIndex(table, kernel.tables.indexAt(page, LEAF))})`;
  }

  get areas(): number {
    return this.thread.mm.vmas.count;
  }
}

const programs = nonlinear.map((name) => ({ name }));

describe.each(programs)("$name", ({ name }) => {
  test("puts pages where they are wanted, within one area", () => {
    const program = new Program({ nonlinear: name });
    expect(program.remap(AT + 2, 2, 6)).toBe(0);
    expect(program.layout().split(" ").slice(2, 4)).toEqual(["6", "7"]);
    expect(program.areas).toBe(1);
    expect(program.thread.mm.vmas.first!.flags & VM_NONLINEAR).not.toBe(0);
    expect([...program.shared.mappings.nonlinear]).toEqual([program.thread.mm.vmas.first]);
  });

  test("pages that are put at their place make no area nonlinear", () => {
    const program = new Program({ nonlinear: name });
    expect(program.remap(AT, 8, 0)).toBe(0);
    expect(program.layout()).toBe("0 1 2 3 4 5 6 7");
    expect(program.shared.mappings.nonlinear.size).toBe(0);
  });

  test("what was there before goes, once", () => {
    const program = new Program({ nonlinear: name });
    program.store(AT + 1);
    const before = program.thread.mm.residentPages;
    program.remap(AT + 1, 1, 5);
    program.remap(AT + 1, 1, 5);
    const there = program.entry(AT + 1).frame;
    const { mapCount } = program.kernel.frames;
    expect(mapCount.read(there)).toBe(name === "locked-only" ? 2 : 1);
    expect(mapCount.read(program.shared.pages.find(1))).toBe(0);
    expect(program.thread.mm.residentPages).toBe(Math.max(before, 1));
  });

  test("refuses rights, emptiness, private areas, holes, other areas, and pages beyond the end", () => {
    const program = new Program({ nonlinear: name });
    const page = AT * PAGE_SIZE;
    expect(program.call("remap_file_pages", [page, PAGE_SIZE, READ, 1, 0])).toBe(-EINVAL);
    expect(program.remap(AT, 0, 1)).toBe(-EINVAL);
    expect(program.remap(AT + 8, 1, 1)).toBe(-EINVAL);
    expect(program.remap(AT + 7, 2, 1)).toBe(-EINVAL);
    expect(program.remap(AT, 1, 8)).toBe(-EINVAL);
    expect(program.remap(AT, 2, 7)).toBe(-EINVAL);
    program.map(AT + 16, 2, READ_WRITE, MAP_PRIVATE, program.shared);
    program.map(AT + 20, 2, READ_WRITE, MAP_SHARED);
    program.call("mlock", [(AT + 16) * PAGE_SIZE, 2 * PAGE_SIZE]);
    expect(program.remap(AT + 16, 1, 1)).toBe(-EINVAL);
    expect(program.remap(AT + 20, 1, 1)).toBe(name === "locked-only" ? -EINVAL : 0);
  });

  test("whoever cannot write to the file cannot move its pages either", () => {
    const program = new Program({ nonlinear: name });
    program.call("mprotect", [AT * PAGE_SIZE, 8 * PAGE_SIZE, READ]);
    expect(program.remap(AT + 1, 1, 5)).toBe(0);
    expect(program.entry(AT + 1).flags & PTE_WRITE).toBe(0);
  });
});

describe("rounding", () => {
  const unaligned = (program: Program, first: number, start: number, size: number): number =>
    program.call("remap_file_pages", [(AT + first) * PAGE_SIZE + start, size, 0, 5, 0]);

  test("2.6 rounds down, but adds start and size up first", () => {
    const program = new Program({ nonlinear: "tagged-search" });
    expect(unaligned(program, 0, 5, PAGE_SIZE + 7)).toBe(0);
    expect(program.layout()).toBe("5 . . . . . . .");
    expect(unaligned(program, 7, 1, PAGE_SIZE)).toBe(-EINVAL);
    expect(unaligned(program, 0, 0, PAGE_SIZE - 1)).toBe(-EINVAL);
  });

  test("2.5 rounds up", () => {
    const program = new Program({ nonlinear: "remap-2.5" });
    expect(unaligned(program, 0, 5, PAGE_SIZE - 7)).toBe(0);
    expect(program.layout()).toBe(". 5 . . . . . .");
    expect(unaligned(program, 7, 1, PAGE_SIZE)).toBe(-EINVAL);
  });

  test("RHEL 3 does not round, and wants locked memory", () => {
    const program = new Program({ nonlinear: "locked-only" });
    expect(unaligned(program, 0, 5, PAGE_SIZE)).toBe(-EINVAL);
    expect(unaligned(program, 0, 0, PAGE_SIZE + 1)).toBe(-EINVAL);
    expect(unaligned(program, 0, 0, PAGE_SIZE)).toBe(0);
    program.call("munlock", [AT * PAGE_SIZE, 8 * PAGE_SIZE]);
    expect(unaligned(program, 0, 0, PAGE_SIZE)).toBe(-EINVAL);
  });

  test("what wraps is refused", () => {
    const program = new Program({ nonlinear: "tagged-search" });
    expect(program.call("remap_file_pages", [2 ** 64 - PAGE_SIZE, 2 * PAGE_SIZE, 0, 0, 0])).toBe(-EINVAL);
  });
});

describe("what an entry can remember bounds the call", () => {
  const bits: [PagingFormatName, number][] = [
    ["i386", 29],
    ["pae", 32],
    ["x86-64", 32],
  ];
  test.each(bits)("%s: %i bits", (format, width) => {
    const program = new Program({ nonlinear: "tagged-search", format });
    program.shared.sizeBytes = 2 ** (width + 1) * PAGE_SIZE;
    expect(program.remap(AT, 1, 2 ** width - 1)).toBe(-EINVAL);
    expect(program.remap(AT, 1, 2 ** width - 2, MAP_NONBLOCK)).toBe(0);
    expect(program.layout().split(" ")[0]).toBe(`(${2 ** width - 2})`);
  });
});

describe.each(sound.map((name) => ({ name })))("$name", ({ name }) => {
  test("with MAP_NONBLOCK pages that are not cached are remembered, and a fault brings them", () => {
    const program = new Program({ nonlinear: name });
    program.store(AT + 6);
    expect(program.remap(AT, 3, 5, MAP_NONBLOCK)).toBe(0);
    expect(program.layout()).toBe("(5) 6 (7) . . . 6 .");
    expect(program.kernel.counters.fileEntriesWritten).toBe(2);
    const { majorFaults } = program.kernel.counters;
    expect(program.load(AT + 2)).toBe(0);
    expect(program.layout()).toBe("(5) 6 7 . . . 6 .");
    expect(program.kernel.counters.majorFaults).toBe(majorFaults + 1);
  });

  test("a linear page is remembered too, in a nonlinear area, over another that is mapped", () => {
    const program = new Program({ nonlinear: name });
    program.remap(AT, 1, 5);
    expect(program.remap(AT, 1, 0, MAP_NONBLOCK)).toBe(0);
    expect(program.layout()).toBe("(0) . . . . . . .");
    expect(program.load(AT)).toBe(0);
    expect(program.layout()).toBe("0 . . . . . . .");
  });

  test("MADV_DONTNEED takes pages, and leaves where they were", () => {
    const program = new Program({ nonlinear: name });
    program.remap(AT, 4, 4);
    program.store(AT + 6);
    expect(program.call("madvise", [AT * PAGE_SIZE, 8 * PAGE_SIZE, MADV_DONTNEED])).toBe(0);
    expect(program.layout()).toBe("(4) (5) (6) (7) . . . .");
    expect(program.thread.mm.residentPages).toBe(0);
    expect(program.load(AT + 1)).toBe(0);
    expect(program.layout()).toBe("(4) 5 (6) (7) . . . .");
  });

  test("fork copies pages and memories; what the child does to its own stays its own", () => {
    const program = new Program({ nonlinear: name });
    program.remap(AT, 2, 6);
    program.remap(AT + 2, 1, 4, MAP_NONBLOCK);
    const child = program.fork()!;
    expect(program.layout(child)).toBe("6 7 (4) . . . . .");
    expect(program.shared.mappings.nonlinear.size).toBe(2);
    expect(program.load(AT + 2, child)).toBe(0);
    expect(program.layout()).toBe("6 7 (4) . . . . .");
    program.exit(child);
    expect(program.shared.mappings.nonlinear.size).toBe(1);
  });

  test("mremap moves entries as they are", () => {
    const program = new Program({ nonlinear: name });
    program.remap(AT, 2, 6);
    program.remap(AT + 2, 1, 4, MAP_NONBLOCK);
    const to = AT + 0x400;
    const moved = program.call("mremap", [
      AT * PAGE_SIZE,
      8 * PAGE_SIZE,
      8 * PAGE_SIZE,
      MREMAP_MAYMOVE | MREMAP_FIXED,
      to * PAGE_SIZE,
    ]);
    expect(moved).toBe(to * PAGE_SIZE);
    expect(program.layout(program.thread, to)).toBe("6 7 (4) . . . . .");
    expect(program.load(to + 2)).toBe(0);
    expect(program.layout(program.thread, to)).toBe("6 7 4 . . . . .");
  });

  test("areas split and join again by their flags: nonlinear ones with nonlinear ones", () => {
    const program = new Program({ nonlinear: name });
    program.remap(AT, 2, 6);
    const rights = (prot: number) => program.call("mprotect", [(AT + 2) * PAGE_SIZE, 2 * PAGE_SIZE, prot]);
    rights(READ);
    expect([program.areas, program.shared.mappings.nonlinear.size]).toEqual([3, 3]);
    rights(READ_WRITE);
    expect([program.areas, program.shared.mappings.nonlinear.size]).toEqual([1, 1]);
    program.map(AT + 8, 2, READ_WRITE, MAP_SHARED, program.shared, 8);
    expect(program.areas).toBe(2);
  });

  test("unmapping forgets everything", () => {
    const program = new Program({ nonlinear: name });
    program.remap(AT, 2, 6);
    program.remap(AT + 2, 1, 4, MAP_NONBLOCK);
    expect(program.call("munmap", [AT * PAGE_SIZE, 8 * PAGE_SIZE])).toBe(0);
    expect(program.layout()).toBe(". . . . . . . .");
    expect(program.shared.mappings.count).toBe(0);
    expect(program.thread.mm.residentPages).toBe(0);
  });

  test("a write through a moved page reaches the file", () => {
    const program = new Program({ nonlinear: name });
    program.remap(AT, 1, 6);
    program.store(AT);
    expect(program.entry(AT).flags & (PTE_WRITE | PTE_DIRTY)).toBe(PTE_WRITE | PTE_DIRTY);
    expect(program.entry(AT).frame).toBe(program.shared.pages.find(6));
  });

  test("msync writes what was written through moved pages, and asks entries for it each time", () => {
    const program = new Program({ nonlinear: name });
    const onDisk = program.file(8, "regular");
    const { files, counters } = program.kernel;
    program.map(AT + 16, 8, READ_WRITE, MAP_SHARED, onDisk);
    program.remap(AT + 16, 1, 6);
    const sync = () => program.call("msync", [(AT + 16) * PAGE_SIZE, 8 * PAGE_SIZE, MS_SYNC]);
    for (const written of [1, 2]) {
      program.store(AT + 16);
      expect(sync()).toBe(0);
      expect(files.costs.pagesWritten).toBe(written);
    }
    expect(program.entry(AT + 16).flags & PTE_DIRTY).toBe(0);
    expect(sync()).toBe(0);
    expect([files.costs.pagesWritten, counters.nonlinearPagesInstalled]).toEqual([2, 1]);
  });

  test("truncation takes what lies beyond the end, wherever it lies, and nothing else", () => {
    const program = new Program({ nonlinear: name });
    for (let page = 0; page < 8; page++) program.store(AT + page);
    program.remap(AT, 1, 7);
    program.remap(AT + 7, 1, 0);
    program.call("mlock", [AT * PAGE_SIZE, 8 * PAGE_SIZE]);
    const before = program.entry(AT + 7).frame;
    expect(program.call("ftruncate", [program.open, 4 * PAGE_SIZE])).toBe(0);
    expect(program.layout()).toBe("(7) 1 2 3 . . . 0");
    expect(program.entry(AT + 7).frame).toBe(before);
    for (const gone of [0, 4, 5, 6]) expect(program.load(AT + gone)).toBe(BUS_ADRERR);
    expect(program.load(AT + 7)).toBe(0);
    // When the file grows again the places are there as they were.
    expect(program.call("ftruncate", [program.open, 8 * PAGE_SIZE])).toBe(0);
    for (let page = 0; page < 8; page++) expect(program.load(AT + page)).toBe(0);
    expect(program.layout()).toBe("7 1 2 3 4 5 6 0");
  });
});

test("a kernel of 2.5 forgets with MADV_DONTNEED where pages were", () => {
  const program = new Program({ nonlinear: "remap-2.5" });
  program.remap(AT, 4, 4);
  program.call("madvise", [AT * PAGE_SIZE, 8 * PAGE_SIZE, MADV_DONTNEED]);
  expect(program.load(AT)).toBe(0);
  expect(program.layout()).toBe("0 . . . . . . .");
});

test("RHEL 3 leaves what is there if a page is not cached, with MAP_NONBLOCK", () => {
  const program = new Program({ nonlinear: "locked-only" });
  const sparse = program.file(8);
  program.map(AT + 16, 8, READ_WRITE, MAP_SHARED, sparse);
  program.call("mlock", [(AT + 16) * PAGE_SIZE, PAGE_SIZE]);
  expect(program.call("remap_file_pages", [(AT + 16) * PAGE_SIZE, PAGE_SIZE, 0, 5, MAP_NONBLOCK])).toBe(0);
  expect(program.layout(program.thread, AT + 16)).toBe("0 . . . . . . .");
});

test("a kernel without nonlinear areas has no such call", () => {
  const program = new Program({ nonlinear: "unsupported" });
  expect(program.remap(AT, 1, 2)).toBe(-ENOSYS);
});
