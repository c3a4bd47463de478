/** Leaf tables that several address spaces have: who shares them, who gets his own, and what every one of them counts. */
import { beforeEach, describe, expect, test } from "vitest";
import { audit } from "../../../check/audit/audit.ts";
import { LOAD, STORE } from "../../../hw/access.ts";
import { DONE, Machine } from "../../../machine.ts";
import { applySettings, specOf } from "../../../presets.ts";
import { parseDesign, settleDesign } from "../../../settle-design.ts";
import { runToCompletion } from "../../../sync/path.ts";
import { OpenFile } from "../../file.ts";
import { LEAF } from "../../page-table.ts";
import type { Process, Thread } from "../../process.ts";
import { type Fate, shrinkPage } from "../../reclaim/shrink-page.ts";
import type { ReverseMapName } from "../../rmap/reverse-maps.ts";
import { reverseMaps } from "../../rmap/reverse-maps.ts";
import type { Argument } from "../../syscalls.ts";
import { unshareTable } from "./unshare.ts";

const PAGE = 4096;
/** What one leaf table covers, in bytes: PAE and x86-64. */
const SPAN = 2 ** 21;
const BASE = 2 ** 30;
const RW = 3;
const SHARED_FIXED = 0x11;
const PRIVATE_FIXED = 0x12;
const ANONYMOUS_FIXED = 0x32;
const DONTNEED = 4;
const FREE = 8;

const worlds = {
  "PAE, 2.6.11": ["piii-4g", undefined, ["geometry.memory=64M", "geometry.swap=16M"]],
  "x86-64, 6.1": ["opteron-32g", "linux-6.1", ["geometry.memory=96M", "geometry.swap=16M"]],
} as const;

class World {
  readonly machine: Machine;
  readonly parent: Process;

  constructor([machine, kernel, settings]: (typeof worlds)[keyof typeof worlds], more: readonly string[] = []) {
    const design = ["pageTableSharing=fork-shared", ...settings, ...more];
    this.machine = new Machine(applySettings(specOf(machine, kernel), design));
    this.parent = this.machine.spawn("parent");
  }

  call(process: Process, name: string, ...args: readonly Argument[]): number {
    return this.machine.call(threadOf(process), name, args);
  }

  /** Maps private memory of so many tables, and writes `value` to the first page of each. */
  private(process: Process, tables: number, value: number): void {
    expect(this.call(process, "mmap", BASE, tables * SPAN, RW, ANONYMOUS_FIXED, null, 0)).toBe(BASE);
    for (let at = 0; at < tables; at++) this.write(process, BASE + at * SPAN, value);
  }

  file(pages: number): OpenFile {
    const file = this.machine.kernel.files.create({ name: "f", kind: "shmem", sizeBytes: pages * PAGE });
    return new OpenFile(file, "read-write");
  }

  write(process: Process, address: number, value: number): void {
    expect(this.machine.access(threadOf(process), address, STORE)).toBe(DONE);
    this.machine.writeByte(threadOf(process), address, value);
  }

  read(process: Process, address: number): number {
    expect(this.machine.access(threadOf(process), address, LOAD)).toBe(DONE);
    return this.machine.readByte(threadOf(process), address);
  }

  fork(process: Process): Process {
    const child = this.machine.fork(threadOf(process));
    if (typeof child === "number") throw new Error("no memory to fork");
    return child;
  }

  /** The table of the leaves at an address, and in how many places it hangs. */
  table({ mm }: Process, address: number): { readonly frame: number; readonly places: number } {
    const { tables, frames } = this.machine.kernel;
    const frame = tables.tableAt(mm, address / PAGE, LEAF);
    return { frame, places: frame < 0 ? 0 : frames.refs.read(frame) };
  }

  clean(): void {
    expect(audit(this.machine)).toEqual([]);
  }
}

const threadOf = (process: Process): Thread => process.threads[0]!;

describe.each(Object.entries(worlds))("%s", (_name, of) => {
  let world: World;
  beforeEach(() => {
    world = new World(of);
  });

  describe("fork", () => {
    test("hangs the parent's tables in the child's tree and copies no entry", () => {
      world.private(world.parent, 3, 1);
      const before = { ...world.machine.kernel.counters };
      const child = world.fork(world.parent);
      const { counters } = world.machine.kernel;
      expect(counters.ptesCopied - before.ptesCopied).toBe(0);
      expect(counters.tablesShared - before.tablesShared).toBe(3);
      for (let at = 0; at < 3; at++) {
        expect(world.table(child, BASE + at * SPAN)).toEqual({
          ...world.table(world.parent, BASE + at * SPAN),
          places: 2,
        });
        expect(world.read(child, BASE + at * SPAN)).toBe(1);
      }
      expect(child.mm.resident).toEqual(world.parent.mm.resident);
      world.clean();
    });

    test("a write gets a copy of the table and then of the page; the other keeps both", () => {
      world.private(world.parent, 1, 1);
      const child = world.fork(world.parent);
      const { counters } = world.machine.kernel;
      const before = { ...counters };
      world.write(child, BASE, 2);
      expect(counters.tablesUnshared - before.tablesUnshared).toBe(1);
      expect(counters.copyOnWriteFaults - before.copyOnWriteFaults).toBe(1);
      expect([world.read(world.parent, BASE), world.read(child, BASE)]).toEqual([1, 2]);
      expect(world.table(child, BASE).frame).not.toBe(world.table(world.parent, BASE).frame);
      world.clean();
    });

    test("whoever is left alone writes without a copy of anything", () => {
      world.private(world.parent, 1, 1);
      const child = world.fork(world.parent);
      world.machine.exit(child, 0);
      const { counters } = world.machine.kernel;
      const before = { ...counters };
      world.write(world.parent, BASE, 2);
      const copied = ["tablesUnshared", "copyOnWriteFaults", "ptesCopied"] as const;
      expect(copied.map((name) => counters[name] - before[name])).toEqual([0, 0, 0]);
      expect(world.table(world.parent, BASE).places).toBe(1);
      world.clean();
    });

    test("children of children share, and each that ends only gives up its place", () => {
      world.private(world.parent, 2, 1);
      const child = world.fork(world.parent);
      const grandchild = world.fork(child);
      expect(world.table(world.parent, BASE).places).toBe(3);
      world.machine.exit(world.parent, 0);
      expect(world.table(child, BASE).places).toBe(2);
      expect([world.read(child, BASE), world.read(grandchild, BASE + SPAN)]).toEqual([1, 1]);
      world.clean();
      world.machine.exit(child, 0);
      world.write(grandchild, BASE, 5);
      expect(world.read(grandchild, BASE)).toBe(5);
      world.clean();
    });

    test.each([
      ["locked", (w: World) => w.call(w.parent, "mlock", BASE, PAGE)],
      ["not forked", (w: World) => w.call(w.parent, "madvise", BASE + 8 * PAGE, PAGE, 10)],
    ])("a table with an area that is %s is copied", (what, change) => {
      world.private(world.parent, 1, 1);
      const changed = change(world);
      // 2.6.11 does not know MADV_DONTFORK.
      if (changed !== 0) return expect(what).toBe("not forked");
      const child = world.fork(world.parent);
      expect([world.table(world.parent, BASE).places, world.table(child, BASE).places]).toEqual([1, 1]);
      world.clean();
    });
  });

  describe("who must change entries alone gets a table of its own first", () => {
    const half = SPAN / 2;
    const changes: readonly (readonly [string, (w: World, process: Process) => number])[] = [
      ["mprotect of a part", (w, p) => w.call(p, "mprotect", BASE, half, 1)],
      ["munmap of a part", (w, p) => w.call(p, "munmap", BASE, half)],
      ["mlock of a part", (w, p) => w.call(p, "mlock", BASE, PAGE)],
      ["MADV_DONTNEED of a part", (w, p) => w.call(p, "madvise", BASE, half, DONTNEED)],
      ["mremap of a part", (w, p) => w.call(p, "mremap", BASE, PAGE, PAGE, 3, BASE + 64 * SPAN) - (BASE + 64 * SPAN)],
      ["mmap over a part", (w, p) => w.call(p, "mmap", BASE, PAGE, RW, ANONYMOUS_FIXED, null, 0) - BASE],
      ["a write", (w, p) => w.machine.access(threadOf(p), BASE, STORE)],
      ["a read of a page that nobody has, beside others' areas", (w, p) => readBeside(w, p)],
    ];

    /** A new area in the span of a table that others have, who have nothing there. */
    function readBeside(w: World, process: Process): number {
      const at = BASE + SPAN + 16 * PAGE;
      expect(w.call(process, "mmap", at, PAGE, RW, ANONYMOUS_FIXED, null, 0)).toBe(at);
      return w.machine.access(threadOf(process), at, LOAD);
    }

    test.each(changes)("%s", (_what, change) => {
      world.private(world.parent, 1, 1);
      world.call(world.parent, "mmap", BASE + SPAN, 8 * PAGE, RW, ANONYMOUS_FIXED, null, 0);
      world.write(world.parent, BASE + SPAN, 1);
      world.write(world.parent, BASE + SPAN - PAGE, 3);
      const child = world.fork(world.parent);
      const { counters } = world.machine.kernel;
      const before = counters.tablesUnshared;
      expect(change(world, child)).toBe(DONE);
      expect(counters.tablesUnshared - before).toBe(1);
      world.clean();
      expect(world.read(world.parent, BASE)).toBe(1);
      expect(world.read(world.parent, BASE + SPAN - PAGE)).toBe(3);
      expect(world.machine.access(threadOf(world.parent), BASE, STORE)).toBe(DONE);
      world.clean();
    });

    test("MADV_FREE", () => {
      world.private(world.parent, 1, 1);
      const child = world.fork(world.parent);
      const freed = world.call(child, "madvise", BASE, SPAN, FREE);
      const isKnown = freed === 0;
      expect(world.table(child, BASE).places).toBe(isKnown ? 1 : 2);
      expect(world.read(world.parent, BASE)).toBe(1);
      world.clean();
    });

    test("a page that comes back from swap", () => {
      world.private(world.parent, 1, 9);
      const child = world.fork(world.parent);
      swapOut(world, BASE);
      expect([world.parent.mm.resident.swap, child.mm.resident.swap]).toEqual([1, 1]);
      world.clean();
      expect(world.read(child, BASE)).toBe(9);
      expect(world.table(child, BASE).places).toBe(1);
      expect(world.parent.mm.resident.swap).toBe(1);
      world.clean();
      expect(world.read(world.parent, BASE)).toBe(9);
      world.clean();
    });

    test("where there is no memory the call fails and changes nothing", () => {
      world.private(world.parent, 1, 1);
      const child = world.fork(world.parent);
      const { kernel } = world.machine;
      const before = { table: world.table(child, BASE), resident: { ...child.mm.resident } };
      const { waitForMemory } = kernel.allocator;
      kernel.allocator.tryAllocate = () => -1;
      // biome-ignore lint/correctness/useYield: nothing is to be had
      kernel.allocator.waitForMemory = function* () {
        return false;
      };
      expect(runToCompletion(unshareTable(kernel, child.mm, BASE / PAGE))).toBe(-12);
      Reflect.deleteProperty(kernel.allocator, "tryAllocate");
      kernel.allocator.waitForMemory = waitForMemory;
      expect({ table: world.table(child, BASE), resident: { ...child.mm.resident } }).toEqual(before);
      world.clean();
    });
  });

  describe("who has no use for it any more leaves it, and copies nothing", () => {
    test.each([
      ["munmap of all that lies in it", (w: World, p: Process) => w.call(p, "munmap", BASE, SPAN)],
      ["MADV_DONTNEED of all that lies in it", (w: World, p: Process) => w.call(p, "madvise", BASE, SPAN, DONTNEED)],
      [
        "mmap over all that lies in it",
        (w: World, p: Process) => w.call(p, "mmap", BASE, SPAN, RW, ANONYMOUS_FIXED, null, 0),
      ],
    ])("%s", (_what, leave) => {
      world.private(world.parent, 2, 1);
      const child = world.fork(world.parent);
      const { counters } = world.machine.kernel;
      const before = { ...counters };
      expect([0, BASE]).toContain(leave(world, child));
      expect([counters.tablesLeft - before.tablesLeft, counters.tablesUnshared - before.tablesUnshared]).toEqual([
        1, 0,
      ]);
      expect(world.table(child, BASE).places).toBe(0);
      expect(world.table(child, BASE + SPAN).places).toBe(2);
      expect(world.read(world.parent, BASE)).toBe(1);
      world.clean();
    });

    test("two areas in one table that end together", () => {
      world.call(world.parent, "mmap", BASE, 8 * PAGE, RW, ANONYMOUS_FIXED, null, 0);
      world.call(world.parent, "mmap", BASE + 16 * PAGE, 8 * PAGE, 1, ANONYMOUS_FIXED, null, 0);
      world.write(world.parent, BASE, 1);
      world.read(world.parent, BASE + 16 * PAGE);
      const child = world.fork(world.parent);
      const before = world.machine.kernel.counters.tablesUnshared;
      expect(world.call(child, "munmap", BASE, SPAN)).toBe(0);
      expect(world.machine.kernel.counters.tablesUnshared).toBe(before);
      expect(world.table(world.parent, BASE).places).toBe(1);
      world.clean();
    });
  });

  describe("mappings of one file", () => {
    let open: OpenFile;
    beforeEach(() => {
      open = world.file(1024);
    });

    const map = (process: Process, at: number, rights = RW, flags = SHARED_FIXED): number =>
      world.call(process, "mmap", at, 2 * SPAN, rights, flags, open, 0);

    test("find each other's tables, wherever they are mapped, if they lie alike in them", () => {
      const other = world.machine.spawn("other");
      map(world.parent, BASE);
      map(other, BASE + 10 * SPAN);
      world.write(world.parent, BASE, 4);
      expect(world.read(other, BASE + 10 * SPAN)).toBe(4);
      expect(world.table(other, BASE + 10 * SPAN)).toEqual({ ...world.table(world.parent, BASE), places: 2 });
      world.clean();
    });

    test("a fault of one is everybody's: each counts the page, and faults no more", () => {
      const other = world.machine.spawn("other");
      map(world.parent, BASE);
      map(other, BASE);
      world.write(world.parent, BASE, 4);
      world.read(other, BASE);
      const before = other.minorFaults;
      world.write(world.parent, BASE + 40 * PAGE, 5);
      expect(world.read(other, BASE + 40 * PAGE)).toBe(5);
      expect(other.minorFaults).toBe(before);
      expect(other.mm.resident.shmem).toBe(world.parent.mm.resident.shmem);
      world.clean();
    });

    test("twice in one address space", () => {
      map(world.parent, BASE);
      map(world.parent, BASE + 4 * SPAN);
      world.write(world.parent, BASE, 4);
      expect(world.read(world.parent, BASE + 4 * SPAN)).toBe(4);
      expect(world.table(world.parent, BASE).places).toBe(2);
      world.clean();
      expect(world.call(world.parent, "munmap", BASE, 2 * SPAN)).toBe(0);
      expect(world.read(world.parent, BASE + 4 * SPAN)).toBe(4);
      world.clean();
    });

    test.each([
      ["other rights", BASE, 1, SHARED_FIXED],
      ["another place in their tables", BASE + PAGE, RW, SHARED_FIXED],
      ["copies of their own", BASE, RW, PRIVATE_FIXED],
    ])("that have %s keep to themselves", (_what, at, rights, flags) => {
      const other = world.machine.spawn("other");
      map(world.parent, BASE);
      map(other, at, rights, flags);
      world.write(world.parent, BASE, 4);
      expect(world.read(other, at)).toBe(4);
      expect([world.table(world.parent, BASE).places, world.table(other, at).places]).toEqual([1, 1]);
      world.clean();
    });

    test("truncation clears the entries of all at once", () => {
      const other = world.machine.spawn("other");
      map(world.parent, BASE);
      map(other, BASE);
      for (let at = 0; at < 8; at++) world.write(world.parent, BASE + at * PAGE, at);
      world.read(other, BASE);
      const { counters } = world.machine.kernel;
      const before = counters.ptesZapped;
      expect(world.call(other, "ftruncate", open, 3 * PAGE)).toBe(0);
      expect(counters.ptesZapped - before).toBe(5);
      expect([world.parent.mm.resident.shmem, other.mm.resident.shmem]).toEqual([3, 3]);
      world.clean();
    });

    test("mprotect gives one of them a table of its own, with what is in it", () => {
      const other = world.machine.spawn("other");
      map(world.parent, BASE);
      map(other, BASE);
      world.write(world.parent, BASE, 4);
      world.read(other, BASE);
      expect(world.call(other, "mprotect", BASE, 2 * SPAN, 1)).toBe(0);
      expect(world.table(other, BASE).places).toBe(1);
      expect(world.read(other, BASE)).toBe(4);
      world.write(world.parent, BASE, 5);
      expect(world.read(other, BASE)).toBe(5);
      world.clean();
    });

    test("a page that reclaim takes is gone for all, and comes back for all", () => {
      const other = world.machine.spawn("other");
      map(world.parent, BASE);
      map(other, BASE);
      world.write(world.parent, BASE, 4);
      world.read(other, BASE);
      swapOut(world, BASE);
      expect([world.parent.mm.resident.shmem, other.mm.resident.shmem]).toEqual([0, 0]);
      world.clean();
      expect(world.read(other, BASE)).toBe(4);
      expect([world.parent.mm.resident.shmem, other.mm.resident.shmem]).toEqual([1, 1]);
      world.clean();
    });
  });
});

/** Takes the page that the first process has at an address from all who map it, and out of memory. */
function swapOut(world: World, address: number): void {
  const { kernel } = world.machine;
  const { tables, entries } = kernel;
  const table = tables.openLeaf(world.parent.mm, address / PAGE);
  const frame = entries.frame(table as never, tables.indexAt(address / PAGE, LEAF));
  tables.close(table as never);
  kernel.current.task = threadOf(world.parent);
  kernel.reclaim.forget(frame);
  kernel.frames.addReference(frame);
  let fate: Fate = "kept";
  for (let tries = 0; fate !== "freed" && tries < 4; tries++) {
    fate = runToCompletion(shrinkPage(kernel, frame, { used: "go", dirty: "written" }));
  }
  expect(fate).toBe("freed");
  kernel.allocator.release(frame);
}

describe.each(Object.keys(reverseMaps) as ReverseMapName[])("with reverse map %s", (reverseMap) => {
  const design = reverseMap === "none" ? ["reclaim=linux-2.4"] : ["reclaim=linux-2.6"];
  const settings = [`reverseMap=${reverseMap}`, ...design, "nonlinear=emulated"];

  test("the entry of a shared table is found once, whoever has it", () => {
    const world = new World(worlds["PAE, 2.6.11"], settings);
    world.private(world.parent, 1, 1);
    const children = [world.fork(world.parent), world.fork(world.parent), world.fork(world.parent)];
    world.write(children[0]!, BASE + PAGE, 2);
    const { kernel } = world.machine;
    const table = kernel.tables.openLeaf(world.parent.mm, BASE / PAGE);
    const frame = kernel.entries.frame(table as never, 0);
    kernel.tables.close(table as never);
    const found: number[] = [];
    kernel.reverseMap.forEach(frame, (slot) => found.push(slot) > 0);
    // The table of three, and the copy of the one that wrote beside it.
    expect([new Set(found).size, found.length, kernel.frames.mapCount.read(frame)]).toEqual([2, 2, 2]);
    world.clean();
  });
});

test("chains hold one link for all who share: nothing beside the struct pages, whatever their number", () => {
  const bytes = (sharing: string): number => {
    const settings = ["geometry.memory=64M", "reverseMap=pte-chain-e", `pageTableSharing=${sharing}`];
    const machine = new Machine(applySettings(specOf("piii-4g", "linux-2.6.0"), settings));
    const file = machine.kernel.files.create({ name: "f", kind: "shmem", sizeBytes: SPAN });
    const open = new OpenFile(file, "read-write");
    for (let at = 0; at < 10; at++) {
      const thread = machine.spawn("p").threads[0]!;
      machine.call(thread, "mmap", [BASE, SPAN, RW, SHARED_FIXED, open, 0]);
      for (let page = 0; page < 512; page++) machine.access(thread, BASE + page * PAGE, STORE);
    }
    expect(audit(machine)).toEqual([]);
    return machine.kernel.reverseMap.bytes;
  };
  // Ten entries a page: two blocks of 32 bytes for each of the 512.
  expect([bytes("none"), bytes("fork-shared")]).toEqual([512 * 64, 0]);
});

test("is illegal where a table's references count its entries", () => {
  const cell = { pageTableSharing: "fork-shared", pageTableFreeing: "when-empty" } as const;
  const { design } = specOf("piii-4g");
  expect(settleDesign({ ...design, ...cell }, new Set(["pageTableSharing", "pageTableFreeing"])).illegal).toMatch(
    /pageTableFreeing=when-empty.*cannot count its entries/,
  );
  expect(parseDesign({ pageTableSharing: "fork-shared" }, { ...design, pageTableFreeing: "when-empty" })).toMatchObject(
    {
      pageTableFreeing: "pmd-ranges",
    },
  );
});
