import { expect, test } from "vitest";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { requireClean } from "../../check/audit/audit.ts";
import { smapsOf } from "../../check/smaps.ts";
import { MADV_DONTNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_SEQUENTIAL } from "../advise.ts";
import { meminfo } from "../meminfo.ts";
import { PROT_NONE, READ, READ_WRITE } from "../test-kernel.ts";
import { freeIdle, splitPage } from "./huge-reclaim.ts";
import { byteOf, HUGE, PLACE, ThpWorld } from "./test-world.ts";

const END = PLACE + HUGE;

/** One huge page, every page of it written. */
function written(machine: ConstructorParameters<typeof ThpWorld>[0] = {}): ThpWorld {
  const world = new ThpWorld(machine);
  world.area(HUGE);
  world.fill(PLACE, END);
  return world;
}

const clean = ({ kernel }: ThpWorld, when: string) => requireClean({ kernel, processes: kernel.processes }, when);

/** Every page of `[first, end)` holds what `fill` wrote. */
function expectFilled(world: ThpWorld, first = PLACE, end = END, thread = world.thread): void {
  for (let page = first; page < end; page++) expect(world.byteAt(page, thread)).toBe(byteOf(page));
}

test("one fault maps a whole huge page, with a leaf table in reserve", () => {
  const world = written();
  const { counters } = world.kernel;
  expect(world.mapped(PLACE, END)).toBe("512+0");
  expect([counters.thpFaultAlloc, counters.anonymousFaults, world.thread.mm.resident.anon]).toEqual([1, 1, HUGE]);
  expect([world.thread.mm.reservedLeaves.length, world.tables()[0]]).toEqual([1, 1]);
  expectFilled(world);
  clean(world, "after the fault");
});

test("an area that does not reach around a huge page gets small ones", () => {
  const world = new ThpWorld();
  world.area(HUGE, PLACE + 1);
  world.write(PLACE + 1, 1);
  expect(world.mapped(PLACE, PLACE + 2 * HUGE)).toBe("0+1");
  expect(world.kernel.counters.thpFaultFallback).toBe(0);
});

test.each([
  ["never", MADV_HUGEPAGE, "0+1"],
  ["madvise", undefined, "0+1"],
  ["madvise", MADV_HUGEPAGE, "512+0"],
  ["always", undefined, "512+0"],
  ["always", MADV_NOHUGEPAGE, "0+1"],
] as const)("with %s and advice %s a write maps %s", (transparentPages, advice, mapped) => {
  const world = new ThpWorld({ transparentPages });
  world.area(HUGE);
  if (advice !== undefined) expect(world.advise(PLACE, HUGE, advice)).toBe(0);
  world.write(PLACE + 7, 1);
  expect(world.mapped(PLACE, END)).toBe(mapped);
  clean(world, "after the write");
});

test("a read maps the huge page of zeros, which a write splits for one page of its own", () => {
  const world = new ThpWorld();
  world.area(HUGE);
  expect(world.byteAt(PLACE + 3)).toBe(0);
  expect(world.thread.mm.resident.anon).toBe(0);
  clean(world, "after the read");
  world.write(PLACE + 3, 9);
  expect([world.byteAt(PLACE + 3), world.byteAt(PLACE + 4), world.thread.mm.resident.anon]).toEqual([9, 0, 1]);
  expect([world.kernel.counters.thpSplitPmd, world.kernel.counters.thpZeroPageAlloc]).toEqual([1, 1]);
  clean(world, "after the write");
});

test("without a block of its size a small page is given, and the fault is counted", () => {
  const world = new ThpWorld({ frames: 1000 });
  world.area(HUGE);
  world.write(PLACE, 1);
  expect(world.mapped(PLACE, END)).toBe("0+1");
  expect(world.kernel.counters.thpFaultFallback).toBe(1);
  clean(world, "after the fault");
});

test("whole areas give whole blocks back", () => {
  const world = written();
  const free = world.kernel.allocator.freePages;
  expect(world.unmap(PLACE, HUGE)).toBe(0);
  expect(world.kernel.allocator.freePages - free).toBeGreaterThanOrEqual(HUGE);
  expect(world.kernel.counters.thpSplitPmd).toBe(0);
  clean(world, "after munmap");
});

test("unmapping a part splits the entry; its frames are free when the page is split, or the rest goes", () => {
  const world = written();
  const { allocator, transparent, counters } = world.kernel;
  const free = allocator.freePages;
  expect(world.unmap(PLACE + 100, 50)).toBe(0);
  expect(world.mapped(PLACE, END)).toBe("0+462");
  expect([transparent.pages.idleFrames, counters.thpSplitPmd, counters.thpDeferredSplitPage]).toEqual([50, 1, 1]);
  clean(world, "after munmap");
  expect(freeIdle(world.kernel)).toBe(50);
  expect(allocator.freePages - free).toBe(50);
  expectFilled(world, PLACE, PLACE + 100);
  clean(world, "after the split");
  expect(world.unmap(PLACE, HUGE)).toBe(0);
  clean(world, "after the rest");
});

test("a page of which all parts go one after the other is one block again", () => {
  const world = written();
  const free = world.kernel.allocator.freePages;
  for (const at of [300, 0, 100, 200, 400]) expect(world.unmap(PLACE + at, at === 400 ? 112 : 100)).toBe(0);
  expect(world.kernel.allocator.freePages - free).toBeGreaterThanOrEqual(HUGE);
  expect([world.kernel.transparent.pages.count, world.kernel.counters.thpSplitPage]).toEqual([0, 0]);
  clean(world, "after the last");
});

test("MADV_DONTNEED of a part reads zeros there", () => {
  const world = written();
  expect(world.advise(PLACE + 10, 10, MADV_DONTNEED)).toBe(0);
  expect([world.byteAt(PLACE + 9), world.byteAt(PLACE + 10)]).toEqual([byteOf(PLACE + 9), 0]);
  clean(world, "after the advice");
});

test("fork shares the huge page; who writes first splits his entry and copies one page", () => {
  const world = written();
  const child = world.fork()!;
  expect(world.mapped(PLACE, END, child)).toBe("512+0");
  clean(world, "after fork");
  world.write(PLACE + 5, 77, child);
  expect(world.mapped(PLACE, END, child)).toBe("0+512");
  expect([world.byteAt(PLACE + 5), world.byteAt(PLACE + 5, child)]).toEqual([byteOf(PLACE + 5), 77]);
  expect(world.byteAt(PLACE + 6, child)).toBe(byteOf(PLACE + 6));
  clean(world, "after the write");
  world.exit(child);
  clean(world, "after the child's exit");
  world.write(PLACE + 6, 78);
  expect(world.mapped(PLACE, END)).toBe("512+0");
  clean(world, "after the parent's write");
});

test("fork and exit leave the page to the parent, who writes to it without a copy", () => {
  const world = written();
  world.exit(world.fork()!);
  world.write(PLACE + 6, 78);
  const { counters } = world.kernel;
  expect([world.mapped(PLACE, END), counters.reusedPages, counters.copyOnWriteFaults]).toEqual(["512+0", 1, 0]);
});

test("mprotect of all keeps the entry large, of a part splits it", () => {
  const world = written();
  expect(world.protect(PLACE, HUGE, READ)).toBe(0);
  expect(world.mapped(PLACE, END)).toBe("512+0");
  expect(world.store(PLACE)).not.toBe(0);
  expect(world.protect(PLACE, HUGE, READ_WRITE)).toBe(0);
  world.write(PLACE + 1, 5);
  expect(world.mapped(PLACE, END)).toBe("512+0");
  clean(world, "after mprotect");
  expect(world.protect(PLACE + 8, 8, READ)).toBe(0);
  expect(world.mapped(PLACE, END)).toBe("0+512");
  clean(world, "after mprotect of a part");
});

test.each(["x86-64", "pae", "i386"] as const)("PROT_NONE keeps a huge page that nobody can reach: %s", (format) => {
  const world = new ThpWorld({ format });
  const span = world.kernel.transparent.pages.pages;
  world.area(span, 8 * span);
  world.fill(8 * span, 9 * span);
  expect(world.protect(8 * span, span, PROT_NONE)).toBe(0);
  expect(world.load(8 * span)).not.toBe(0);
  clean(world, "without rights");
  expect(world.protect(8 * span, span, READ_WRITE)).toBe(0);
  expectFilled(world, 8 * span, 9 * span);
  expect(world.mapped(8 * span, 9 * span)).toBe(`${span}+0`);
  expect(world.protect(8 * span + 1, 1, PROT_NONE)).toBe(0);
  expect(world.protect(8 * span + 1, 1, READ)).toBe(0);
  expectFilled(world, 8 * span, 9 * span);
  clean(world, "after a part");
});

const MREMAP_TO = 3;

test.each([
  ["to an aligned place moves the large entry", 60 * HUGE, "512+0"],
  ["to another place splits it", 60 * HUGE + 1, "0+512"],
])("mremap %s", (_name, to, mapped) => {
  const world = written();
  const bytes = HUGE * PAGE_SIZE;
  expect(world.call("mremap", [addressOf(PLACE), bytes, bytes, MREMAP_TO, addressOf(to)])).toBe(addressOf(to));
  expect(world.mapped(to, to + HUGE)).toBe(mapped);
  for (let at = 0; at < HUGE; at += 37) expect(world.byteAt(to + at)).toBe(byteOf(PLACE + at));
  clean(world, "after mremap");
});

test("advice for a part that changes no page splits the entry: no large entry is in two areas", () => {
  const world = written();
  expect(world.advise(PLACE + 256, 256, MADV_SEQUENTIAL)).toBe(0);
  expect(world.mapped(PLACE, END)).toBe("0+512");
  expectFilled(world);
  clean(world, "after the advice");
});

test("mincore, smaps and meminfo know of huge pages", () => {
  const world = written();
  const vector = new Uint8Array(HUGE);
  expect(world.call("mincore", [addressOf(PLACE), HUGE * PAGE_SIZE, vector])).toBe(0);
  expect(vector.every((byte) => byte === 1)).toBe(true);
  const vma = world.thread.mm.vmas.find(PLACE)!;
  const { rss, anonHugePages, privateDirty } = smapsOf(world.kernel, world.thread.mm, vma);
  expect([rss, anonHugePages, privateDirty]).toEqual([2048, 2048, 2048]);
  const line = () => meminfo(world.kernel).find(({ key }) => key === "AnonHugePages")?.pages;
  expect(line()).toBe(HUGE);
  world.unmap(PLACE, 1);
  expect(line()).toBe(0);
});

test("a page that many share is split in all of them", () => {
  const world = written();
  const children = [world.fork()!, world.fork()!, world.fork()!];
  const entry = world.kernel.tables.largeAt(world.thread.mm, PLACE)!;
  const head = world.kernel.entries.frame(entry.table as never, entry.index);
  expect(splitPage(world.kernel, head)).toBe(true);
  for (const child of children) expect(world.mapped(PLACE, END, child)).toBe("0+512");
  expect(world.kernel.counters.thpSplitPmd).toBe(4);
  for (const child of children) expectFilled(world, PLACE, END, child);
  clean(world, "after the split");
});

test("under pressure a huge page is split and swapped, and comes back as small pages", () => {
  const world = new ThpWorld({ frames: 3000, swap: [6000] });
  world.area(8 * HUGE);
  world.fill(PLACE, PLACE + 8 * HUGE);
  expect(world.kernel.counters.thpSplitPage).toBeGreaterThan(0);
  expect(world.kernel.reclaim.costs.pagesSwapped).toBeGreaterThan(0);
  clean(world, "under pressure");
  expectFilled(world, PLACE, PLACE + 8 * HUGE);
  clean(world, "after reading all");
});

test("pages locked in memory stay whole under pressure", () => {
  const world = new ThpWorld({ frames: 3000, swap: [6000] });
  world.area(HUGE);
  expect(world.call("mlock", [addressOf(PLACE), HUGE * PAGE_SIZE])).toBe(0);
  expect(world.mapped(PLACE, END)).toBe("512+0");
  world.area(8 * HUGE, PLACE + 10 * HUGE);
  world.fill(PLACE + 10 * HUGE, PLACE + 18 * HUGE);
  expect(world.mapped(PLACE, END)).toBe("512+0");
  clean(world, "under pressure");
});
