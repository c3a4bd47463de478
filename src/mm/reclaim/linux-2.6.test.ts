import { beforeEach, describe, expect, test } from "vitest";
import { ENOMEM } from "../../base/errno.ts";
import { addressOf, type Pfn, type Vpn } from "../../base/units.ts";
import { PTE_ACCESSED, PTE_PRESENT, PTE_SWAP } from "../../hw/pte.ts";
import { WANT_KERNEL } from "../allocator.ts";
import { FAULT_OOM } from "../fault.ts";
import { PG_ACTIVE, PG_DIRTY, PG_LOCKED, PG_LRU, PG_REFERENCED, PG_SWAPCACHE } from "../frames.ts";
import { LEAF } from "../page-table.ts";
import type { Thread } from "../process.ts";
import { MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { OWNER_SLAB } from "../zone.ts";
import { runKswapd } from "./make-room.ts";
import { type Round, shrinkZone, swapTendency } from "./shrink-zone.ts";
import { EASY, ZonePages } from "./zone-pages.ts";

const MAP_NORESERVE = 0x4000;
const AREA = 0x1000;

/** By frame: the page's place in the area. */
function namesOf(machine: TestKernel, first: Vpn, pages: number): Map<Pfn, number> {
  return new Map(Array.from({ length: pages }, (_, at) => [machine.entry(first + at).frame, at]));
}

const range = (first: number, end: number): number[] => Array.from({ length: end - first }, (_, at) => first + at);

describe("mapped pages are taken", () => {
  test.each([
    // mapped part of memory, priority that the last turns came down to, swappiness
    ["an idle system, below 80 % mapped", 79, 12, 60, false],
    ["an idle system, from 80 % on", 80, 12, 60, true],
    ["priority 2, below 30 %", 29, 2, 60, false],
    ["priority 2, from 30 % on", 30, 2, 60, true],
    ["priority 1, always", 0, 1, 60, true],
    ["no swappiness, priority 1", 99, 1, 0, false],
    ["no swappiness, priority 0, always", 0, 0, 0, true],
  ] as const)("%s", (_, mapped, priority, swappiness, taken) => {
    expect(swapTendency(mapped, 100 >> priority, swappiness) >= 100).toBe(taken);
  });
});

describe("pages come on the lists", () => {
  test("anonymous ones active, those of files inactive; used twice, active too", () => {
    const machine = new TestKernel();
    const { kernel } = machine;
    machine.map(AREA, 2, READ_WRITE, MAP_PRIVATE);
    machine.store(AREA);
    expect(kernel.frames.has(machine.entry(AREA).frame, PG_LRU | PG_ACTIVE)).toBe(true);

    machine.map(AREA + 0x100, 2, READ, MAP_SHARED, machine.file(2));
    machine.load(AREA + 0x100);
    const { frame } = machine.entry(AREA + 0x100);
    const state = () => kernel.frames.flags.read(frame) & (PG_LRU | PG_ACTIVE | PG_REFERENCED);
    expect(state()).toBe(PG_LRU);
    kernel.reclaim.touched(frame);
    expect(state()).toBe(PG_LRU | PG_REFERENCED);
    kernel.reclaim.touched(frame);
    expect(state()).toBe(PG_LRU | PG_ACTIVE);
    kernel.reclaim.touched(frame);
    expect(state()).toBe(PG_LRU | PG_ACTIVE | PG_REFERENCED);
    kernel.reclaim.deactivate(frame);
    expect(state()).toBe(PG_LRU);
  });
});

describe("one look at a zone of 96 anonymous pages", () => {
  let machine: TestKernel;
  let pages: ZonePages;
  let names: Map<Pfn, number>;

  beforeEach(() => {
    machine = new TestKernel({ swap: [1024], format: "i386", kernel: "linux-2.6.11" });
    const { frames, allocator, reclaim } = machine.kernel;
    machine.map(AREA, 96, READ_WRITE, MAP_PRIVATE);
    for (let page = AREA; page < AREA + 96; page++) machine.store(page);
    names = namesOf(machine, AREA, 96);
    // Lists of the test's own, so that batches can be looked at one by one.
    pages = new ZonePages(allocator.zones[0]!, frames);
    for (const frame of names.keys()) {
      reclaim.forget(frame);
      pages.active.addHead(frame);
      frames.setFlag(frame, PG_LRU | PG_ACTIVE);
    }
  });

  const look = (priority: number): Round => {
    const round = { priority, freed: 0 };
    machine.run(shrinkZone(machine.kernel, pages, round));
    return round;
  };
  const active = () => [...pages.active].map((frame) => names.get(frame));
  const inactive = () => [...pages.inactive].map((frame) => names.get(frame));

  /** Nobody has used the page since the last look. */
  const age = (at: number) => {
    const { entries, tables, tlbFlush } = machine.kernel;
    const page = AREA + at;
    const table = tables.open(tables.tableAt(machine.thread.mm, page, LEAF));
    const index = tables.indexAt(page, LEAF);
    entries.setFlags(table, index, entries.flags(table, index) & ~PTE_ACCESSED);
    tables.close(table);
    tlbFlush.page(machine.thread.mm, page);
  };

  test("happens once a batch is due", () => {
    expect(active()).toEqual(range(0, 96));
    look(2); // 96 / 4 + 1
    expect(pages.activeDue).toBe(25);
    expect(machine.kernel.reclaim.costs.pagesScanned).toBe(0);
    look(2);
    expect(pages.activeDue).toBe(0);
    expect(machine.kernel.reclaim.costs.pagesScanned).toBe(50);
  });

  test("leaves mapped pages active while memory is easy to find, used or not", () => {
    for (const at of range(0, 32)) age(at);
    pages.activeDue = 31;
    look(EASY);
    expect(active()).toEqual([...range(32, 96), ...range(0, 32)]);
    expect(inactive()).toEqual([]);
  });

  test("takes mapped pages that are not used when it is hard; the others have until the next look", () => {
    const idle = [0, 2, 4];
    const used = range(0, 32).filter((at) => !idle.includes(at));
    pages.lastPriority = 1;
    idle.forEach(age);
    pages.activeDue = 31;
    look(EASY);
    expect(active()).toEqual([...range(32, 96), ...used]);
    expect(inactive()).toEqual(idle);

    machine.store(AREA + 5);
    pages.activeDue = 92;
    look(EASY);
    expect(active()).toEqual([...range(32, 96), 5]);
    expect(inactive()).toEqual([...idle, ...used.filter((at) => at !== 5)]);
  });

  test("frees inactive pages that are not used, the oldest first, once they are in swap", () => {
    const { kernel } = machine;
    pages.lastPriority = 1;
    for (const at of range(0, 64)) age(at);
    pages.activeDue = 63;
    look(EASY);
    expect(inactive()).toEqual(range(0, 64));

    machine.store(AREA + 3);
    pages.inactiveDue = 31;
    expect(look(EASY)).toMatchObject({ freed: 31 });
    expect(inactive()).toEqual(range(32, 64));
    expect(active()).toEqual([...range(64, 96), 3]);
    expect(kernel.swap.costs.pagesOut).toBe(31);
    expect(machine.thread.mm.resident).toMatchObject({ anon: 65, swap: 31 });
  });

  test("keeps a page that somebody holds, and one that is locked", () => {
    const { frames } = machine.kernel;
    const [held, locked] = [machine.entry(AREA + 1).frame, machine.entry(AREA + 2).frame];
    pages.lastPriority = 1;
    for (const at of range(0, 32)) age(at);
    pages.activeDue = 31;
    look(EASY);
    frames.addReference(held);
    frames.setFlag(locked, PG_LOCKED);
    pages.inactiveDue = 31;
    expect(look(EASY).freed).toBe(30);
    expect(inactive()).toEqual([1, 2]);
    // What is held has no entry any more: its holder may write to it, and does not lose that.
    expect(machine.entry(AREA + 1).flags & PTE_SWAP).toBe(PTE_SWAP);
    expect(frames.has(held, PG_SWAPCACHE | PG_DIRTY)).toBe(true);
    expect(machine.entry(AREA + 2).flags & PTE_PRESENT).toBe(PTE_PRESENT);
  });
});

describe("who is killed when nothing can be freed", () => {
  const LIMITLESS = MAP_PRIVATE | MAP_NORESERVE;

  /** Stores to page after page until that fails: how many could be had. */
  const exhaust = (machine: TestKernel, thread: Thread): number => {
    let at = 0;
    while (at < 4096 && machine.store(AREA + at, thread) === 0) at++;
    return at;
  };

  test("the one who asks, if nobody else is there: its fault fails", () => {
    const machine = new TestKernel({ frames: 512 });
    machine.map(AREA, 4096, READ_WRITE, LIMITLESS);
    expect(exhaust(machine, machine.thread)).toBeGreaterThan(300);
    expect(machine.kernel.oomVictims.map(({ pid }) => pid)).toEqual([1]);
    expect(machine.thread.process).toMatchObject({ isDoomed: true, state: "alive" });
  });

  test("the one who has most in memory; who asks goes on with that", () => {
    const machine = new TestKernel({ frames: 512 });
    const parent = machine.thread;
    machine.map(AREA, 4096, READ_WRITE, LIMITLESS);
    const child = machine.fork()!;
    for (let at = 0; at < 250; at++) machine.store(AREA + at, parent);
    expect(exhaust(machine, child)).toBeGreaterThan(300);
    expect(machine.kernel.oomVictims.map(({ pid }) => pid)).toEqual([1, 2]);
    expect(parent.process.state).toBe("killed");
    expect(child.process.isDoomed).toBe(true);
  });

  test("2.6.11 adds up what is mapped, of children too, and kills a child rather than its parent", () => {
    const machine = new TestKernel({ frames: 512, kernel: "linux-2.6.11" });
    const parent = machine.thread;
    machine.map(AREA, 4096, READ_WRITE, LIMITLESS);
    const child = machine.fork()!;
    for (let at = 0; at < 250; at++) machine.store(AREA + at, child);
    exhaust(machine, parent);
    expect(machine.kernel.oomVictims[0]).toMatchObject({ pid: child.process.pid, points: 2 * 4096 });
  });

  test("nobody, for a large block", () => {
    const machine = new TestKernel({ frames: 512 });
    expect(machine.run(machine.kernel.allocator.allocate(9, WANT_KERNEL, OWNER_SLAB))).toBe(-ENOMEM);
    expect(machine.kernel.oomVictims).toEqual([]);
  });

  test("nobody, for an attempt that was made to fail", () => {
    const machine = new TestKernel({ frames: 512 });
    machine.map(AREA, 16, READ_WRITE, MAP_PRIVATE);
    machine.store(AREA);
    machine.kernel.allocator.failAt(1);
    expect(machine.store(AREA + 1)).toBe(FAULT_OOM);
    expect(machine.kernel.oomVictims).toEqual([]);
    expect(machine.kernel.reclaim.costs.directTurns).toBe(0);
  });
});

test("who frees memory may have the last there is, and frees none for itself", () => {
  const machine = new TestKernel({ frames: 512, swap: [2048] });
  const { allocator, current, reclaim } = machine.kernel;
  while (allocator.tryAllocate(0, WANT_KERNEL, OWNER_SLAB) >= 0);
  expect(allocator.freePages).toBeGreaterThan(0);
  current.task.freesMemory = true;
  for (let left = allocator.freePages; left > 0; left--) {
    expect(allocator.tryAllocate(0, WANT_KERNEL, OWNER_SLAB)).toBeGreaterThanOrEqual(0);
  }
  expect(machine.run(allocator.allocate(0, WANT_KERNEL, OWNER_SLAB))).toBe(-ENOMEM);
  expect(reclaim.costs.directTurns).toBe(0);
});

test("a call that lacks a small object is made again once memory is freed", () => {
  const machine = new TestKernel({ frames: 512, swap: [2048] });
  const { allocator, reclaim, slabs } = machine.kernel;
  machine.map(AREA, 1000, READ_WRITE, MAP_PRIVATE);
  let at = 0;
  while (!reclaim.wake) machine.store(AREA + at++);
  // One area a page, until the slab of areas needs a frame that only reclaim can find.
  while (allocator.tryAllocate(0, WANT_KERNEL, OWNER_SLAB) >= 0);
  const { failures } = allocator;
  for (let page = 0; page < 200; page += 2) {
    expect(machine.call("mprotect", [addressOf(AREA + page), addressOf(1), READ])).toBe(0);
  }
  expect(slabs.vmas.objects).toBeGreaterThan(190);
  expect(allocator.failures).toBeGreaterThan(failures);
  expect(reclaim.costs.directTurns).toBeGreaterThan(0);
  expect(machine.kernel.oomVictims).toEqual([]);
});

describe("when memory is hard to find", () => {
  /** Stores to all pages of the area, kswapd having its turns. */
  const fill = (machine: TestKernel, first: Vpn, pages: number) => {
    for (let page = first; page < first + pages; page++) {
      expect(machine.store(page)).toBe(0);
      if (machine.kernel.reclaim.wake) machine.run(runKswapd(machine.kernel));
    }
  };

  test("kswapd keeps zones above their high marks, so that nobody has to free memory himself", () => {
    const machine = new TestKernel({ frames: 512, swap: [2048] });
    const { allocator, reclaim } = machine.kernel;
    machine.map(AREA, 1000, READ_WRITE, MAP_PRIVATE);
    fill(machine, AREA, 1000);
    machine.run(runKswapd(machine.kernel));
    const [zone] = allocator.zones;
    expect(zone!.free).toBeGreaterThan(zone!.high);
    expect(reclaim.costs.directTurns).toBe(0);
  });

  test("a list of pages that are all used gives victims the second time that it is looked at", () => {
    const machine = new TestKernel({ frames: 512, swap: [2048] });
    const { reclaim } = machine.kernel;
    machine.map(AREA, 300, READ_WRITE, MAP_PRIVATE);
    fill(machine, AREA, 300);
    expect(reclaim.costs.pagesFreed).toBe(0);
    expect(machine.run(reclaim.freePages(machine.kernel, { order: 0, want: WANT_KERNEL }))).toBeGreaterThanOrEqual(32);
  });

  test("need of lowmem looks at no page of highmem", () => {
    const machine = new TestKernel({ frames: 1024, highmemFrom: 256, format: "i386", swap: [2048] });
    const { allocator, reclaim, frames } = machine.kernel;
    machine.map(AREA, 600, READ_WRITE, MAP_PRIVATE);
    fill(machine, AREA, 600);
    const [low, high] = allocator.zones.map((zone) => reclaim.listsOf(zone)[0]!);
    expect(high!.count).toBe(600);
    expect(low!.count).toBe(0);
    machine.run(reclaim.freePages(machine.kernel, { order: 0, want: WANT_KERNEL }));
    expect(reclaim.costs.pagesScanned).toBe(0);
    expect(frames.mapped).toBe(600);
  });

  test("kswapd gives a zone up where nothing is to be had, until something is freed there", () => {
    const machine = new TestKernel({ frames: 512 });
    const { kernel } = machine;
    const [zone] = kernel.allocator.zones;
    machine.map(AREA, 4096, READ_WRITE, MAP_PRIVATE | MAP_NORESERVE);
    let at = 0;
    while (!kernel.reclaim.wake) machine.store(AREA + at++);
    machine.run(runKswapd(kernel));
    expect(zone!.isHopeless).toBe(true);
    const { pagesScanned } = kernel.reclaim.costs;
    expect(pagesScanned).toBeLessThan(10 * at);
    machine.run(runKswapd(kernel));
    expect(kernel.reclaim.costs.pagesScanned - pagesScanned).toBeLessThanOrEqual(32);
    machine.call("munmap", [addressOf(AREA), addressOf(1)]);
    expect(zone!.isHopeless).toBe(false);
  });

  test("swap that is full leaves pages where they are, until somebody is killed", () => {
    const machine = new TestKernel({ frames: 512, swap: [65] });
    const { kernel } = machine;
    machine.map(AREA, 4096, READ_WRITE, MAP_PRIVATE | MAP_NORESERVE);
    let at = 0;
    while (machine.store(AREA + at) === 0) at++;
    expect(kernel.swap.freePages).toBe(0);
    expect(kernel.oomVictims).toHaveLength(1);
    expect(machine.thread.mm.resident).toMatchObject({ swap: 64, anon: at - 64 });
  });
});
