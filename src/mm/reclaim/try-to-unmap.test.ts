import { describe, expect, test } from "vitest";
import { addressOf, type Pfn } from "../../base/units.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_SWAP } from "../../hw/pte.ts";
import { Task } from "../../sync/task.ts";
import { PG_DIRTY, PG_LOCKED, PG_REFERENCED, PG_SWAPBACKED } from "../frames.ts";
import { tryLockPage } from "../page-lock.ts";
import { LEAF } from "../page-table.ts";
import type { Thread } from "../process.ts";
import { type ReverseMapName, reverseMaps } from "../rmap/reverse-maps.ts";
import { addToSwap } from "../swap/swap-cache.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel, type TestMachine } from "../test-kernel.ts";
import { referenced } from "./referenced.ts";
import { tryToUnmap } from "./try-to-unmap.ts";

const AT = 0x4000;
const MADV_FREE = 8;

/** A page of a program, locked by the test, which holds a reference to it. */
function heldPage(machine: TestKernel): Pfn {
  const { frame } = machine.entry(AT);
  machine.kernel.frames.addReference(frame);
  expect(tryLockPage(machine.kernel, frame)).toBe(true);
  return frame;
}

/** Takes bits off the page's entry, and out of TLBs. */
function clearBits(machine: TestKernel, bits: number, thread: Thread = machine.thread): void {
  const { tables, entries, tlbFlush } = machine.kernel;
  const table = tables.open(tables.tableAt(thread.mm, AT, LEAF));
  const index = tables.indexAt(AT, LEAF);
  entries.setFlags(table, index, entries.flags(table, index) & ~bits);
  tables.close(table);
  tlbFlush.page(thread.mm, AT);
}

/** A parent and its child that both map one anonymous page. */
function family(machine: TestMachine = {}): { machine: TestKernel; child: Thread; frame: Pfn } {
  const kernel = new TestKernel({ format: "pae", kernel: "linux-2.6.11", swap: [64], ...machine });
  kernel.map(AT, 1, READ_WRITE, MAP_PRIVATE);
  kernel.store(AT);
  const child = kernel.fork()!;
  clearBits(kernel, PTE_ACCESSED);
  return { machine: kernel, child, frame: heldPage(kernel) };
}

const respect = { locked: "respect" } as const;
const names = (Object.keys(reverseMaps) as ReverseMapName[]).filter((name) => name !== "none");

describe.each(names)("with the reverse map %s, an anonymous page", (reverseMap) => {
  test("leaves the name of its slot with everybody who mapped it", () => {
    const { machine, child, frame } = family({ reverseMap });
    const { kernel } = machine;
    expect(addToSwap(kernel, frame)).toBe(0);
    expect(machine.run(tryToUnmap(kernel, frame, respect))).toBe("all");
    for (const thread of [machine.thread, child]) {
      expect(machine.entry(AT, thread).flags).toBe(PTE_SWAP);
      expect(thread.mm.resident).toMatchObject({ anon: 0, swap: 1 });
    }
    // The two entries, and the swap cache; the frame has the cache's reference and the test's.
    expect(kernel.swap.usersOf(kernel.frames.swapSlot.read(frame))).toBe(3);
    expect([kernel.frames.refs.read(frame), kernel.frames.mapCount.read(frame)]).toEqual([2, 0]);
    expect(kernel.frames.has(frame, PG_DIRTY)).toBe(true);
  });

  test("stays with an address space whose tables are busy, and goes the next time", () => {
    const { machine, child, frame } = family({ reverseMap });
    const { kernel } = machine;
    const other = new Task(99, "other");
    expect(addToSwap(kernel, frame)).toBe(0);
    child.mm.pageTableLock.tryAcquire(other);
    expect(machine.run(tryToUnmap(kernel, frame, respect))).toBe("again");
    expect(kernel.reclaim.costs.trylocksFailed).toBe(1);
    expect(machine.thread.mm.resident).toMatchObject({ anon: 0, swap: 1 });
    expect(child.mm.resident).toMatchObject({ anon: 1, swap: 0 });
    expect([kernel.frames.refs.read(frame), kernel.frames.mapCount.read(frame)]).toEqual([3, 1]);

    child.mm.pageTableLock.release(other);
    expect(machine.run(tryToUnmap(kernel, frame, respect))).toBe("all");
    expect(child.mm.resident).toMatchObject({ anon: 0, swap: 1 });
  });

  test("stays if somebody has used it since, who has then been looked at", () => {
    const { machine, child, frame } = family({ reverseMap });
    const { kernel } = machine;
    machine.load(AT, child);
    expect(machine.run(tryToUnmap(kernel, frame, respect))).toBe("refused");
    expect(referenced(kernel, frame)).toBe(0);
    expect(machine.entry(AT, child).flags & PTE_ACCESSED).toBe(0);
  });

  test("stays with somebody who has locked it, unless it must go", () => {
    const { machine, child, frame } = family({ reverseMap });
    const { kernel } = machine;
    kernel.frames.clearFlag(frame, PG_LOCKED);
    expect(machine.call("mlock", [addressOf(AT), addressOf(1)], child)).toBe(0);
    const { frame: locked } = machine.entry(AT, child);
    clearBits(machine, PTE_ACCESSED, child);
    kernel.frames.addReference(locked);
    kernel.frames.setFlag(locked, PG_LOCKED);
    expect(machine.run(tryToUnmap(kernel, locked, respect))).toBe("refused");
    expect(machine.run(tryToUnmap(kernel, locked, { locked: "override" }))).toBe("all");
  });
});

describe("a page of a file", () => {
  const mapped = (): { machine: TestKernel; frame: Pfn } => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_SHARED, machine.file(1, "regular"));
    machine.store(AT);
    clearBits(machine, PTE_ACCESSED);
    return { machine, frame: heldPage(machine) };
  };

  test("takes along what its entry knew: that it was written", () => {
    const { machine, frame } = mapped();
    machine.kernel.frames.clearFlag(frame, PG_DIRTY);
    expect(machine.entry(AT).flags & PTE_DIRTY).toBe(PTE_DIRTY);
    expect(machine.run(tryToUnmap(machine.kernel, frame, respect))).toBe("all");
    expect(machine.picture(AT, 1)).toBe(".");
    expect(machine.kernel.frames.has(frame, PG_DIRTY)).toBe(true);
    expect(machine.thread.mm.resident.file).toBe(0);
  });

  test("was used as often as its entries and the kernel say; asking forgets it", () => {
    const { machine, frame } = mapped();
    const { kernel } = machine;
    machine.load(AT);
    clearBits(machine, 0);
    machine.load(AT);
    kernel.frames.setFlag(frame, PG_REFERENCED);
    expect(referenced(kernel, frame)).toBe(2);
    expect(referenced(kernel, frame)).toBe(0);
  });
});

describe("a page that MADV_FREE gave up", () => {
  const given = (): { machine: TestKernel; frame: Pfn } => {
    const machine = new TestKernel({ swap: [64] });
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    machine.call("madvise", [addressOf(AT), addressOf(1), MADV_FREE]);
    return { machine, frame: heldPage(machine) };
  };

  test("goes without a trace", () => {
    const { machine, frame } = given();
    expect(machine.run(tryToUnmap(machine.kernel, frame, respect))).toBe("all");
    expect(machine.picture(AT, 1)).toBe(".");
  });

  test("counts again if it was written since", () => {
    const { machine, frame } = given();
    machine.store(AT);
    clearBits(machine, PTE_ACCESSED);
    expect(machine.run(tryToUnmap(machine.kernel, frame, respect))).toBe("refused");
    expect(machine.kernel.frames.has(frame, PG_SWAPBACKED | PG_DIRTY)).toBe(true);
  });
});

test("2.6.11 flushes what it has looked at, so that the next use is seen; 6.1 does not", () => {
  for (const kernel of ["linux-2.6.11", "linux-6.1"] as const) {
    const machine = new TestKernel({ kernel });
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    const { frame } = machine.entry(AT);
    expect(referenced(machine.kernel, frame)).toBe(1);
    machine.load(AT);
    expect(referenced(machine.kernel, frame)).toBe(kernel === "linux-2.6.11" ? 1 : 0);
  }
});
