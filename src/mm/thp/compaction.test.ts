import { expect, test } from "vitest";
import { requireClean } from "../../check/audit/audit.ts";
import { MADV_DONTNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE } from "../advise.ts";
import { WANT_KERNEL } from "../allocator.ts";
import { NO_FRAME } from "../frames.ts";
import { MAP_SHARED, READ } from "../test-kernel.ts";
import { OWNER_BOOT } from "../zone.ts";
import { makeBlock } from "./compaction.ts";
import { isMovable, migrate } from "./migrate.ts";
import { byteOf, HUGE, PLACE, ThpWorld } from "./test-world.ts";

const ORDER = 9;

/** All memory but a little is small pages of the process, of which it then gives back every second one. */
function fragmented(machine: ConstructorParameters<typeof ThpWorld>[0] = {}): ThpWorld {
  const world = new ThpWorld({ frames: 6144, ...machine, tunables: { mobility: "grouped", ...machine.tunables } });
  const { allocator } = world.kernel;
  const pages = allocator.freePages - 450;
  world.area(pages, PLACE);
  world.advise(PLACE, pages, MADV_NOHUGEPAGE);
  world.fill(PLACE, PLACE + pages);
  // Two pages in three stay.
  for (let page = PLACE; page < PLACE + pages; page += 3) world.advise(page, 1, MADV_DONTNEED);
  return world;
}

const clean = ({ kernel }: ThpWorld, when: string) => requireClean({ kernel, processes: kernel.processes }, when);

function expectKept(world: ThpWorld): void {
  for (const { start, end } of world.thread.mm.vmas) {
    if (start < PLACE || start >= PLACE + 6144) continue;
    for (let page = start; page < end; page++)
      expect(world.byteAt(page)).toBe((page - PLACE) % 3 === 0 ? 0 : byteOf(page));
  }
}

const holdsBlock = ({ kernel }: ThpWorld) => kernel.allocator.zones.some((zone) => zone.buddy.holds(ORDER));

test("where the kernel's frames lie among the others, no block can be made", () => {
  const world = fragmented({ tunables: { mobility: "mixed" } });
  expect(world.run(makeBlock(world.kernel, ORDER))).toBe(false);
  expect(world.kernel.counters.compactFail).toBe(1);
  clean(world, "after compaction");
});

test("a page moves to another frame, and everybody who maps it maps that one", () => {
  const world = new ThpWorld({ transparentPages: "madvise" });
  world.area(8);
  world.fill(PLACE, PLACE + 8);
  const child = world.fork()!;
  const { kernel } = world;
  const from = world.entry(PLACE + 3).frame;
  const to = kernel.allocator.tryAllocate(0, WANT_KERNEL, kernel.frames.owner.read(from));
  expect(world.run(migrate(kernel, from, to))).toBe(true);
  expect([world.entry(PLACE + 3).frame, world.entry(PLACE + 3, child).frame]).toEqual([to, to]);
  expect([world.byteAt(PLACE + 3), world.byteAt(PLACE + 3, child)]).toEqual([byteOf(PLACE + 3), byteOf(PLACE + 3)]);
  expect(kernel.counters.pgmigrateSuccess).toBe(1);
  clean(world, "after the move");
});

test("a page of a file moves with its place in the cache", () => {
  const world = new ThpWorld({ transparentPages: "madvise" });
  const file = world.file(4);
  world.map(PLACE, 4, READ, MAP_SHARED, file);
  world.load(PLACE + 1);
  const { kernel } = world;
  const from = file.pages.find(1);
  const to = kernel.allocator.tryAllocate(0, WANT_KERNEL, kernel.frames.owner.read(from));
  expect(world.run(migrate(kernel, from, to))).toBe(true);
  expect([file.pages.find(1), world.entry(PLACE + 1).frame]).toEqual([to, to]);
  clean(world, "after the move");
});

test("a page that somebody holds stays", () => {
  const world = new ThpWorld();
  world.area(8);
  world.fill(PLACE, PLACE + 1);
  const { kernel } = world;
  const { frame } = world.entry(PLACE);
  kernel.frames.addReference(frame);
  expect(isMovable(kernel.frames, frame)).toBe(false);
  const to = kernel.allocator.tryAllocate(0, WANT_KERNEL, kernel.frames.owner.read(frame));
  expect(world.run(migrate(kernel, frame, to))).toBe(false);
  expect([world.entry(PLACE).frame, kernel.counters.pgmigrateFail]).toEqual([frame, 1]);
});

test("a block is made by moving what lies in its way", () => {
  const world = fragmented();
  expect(holdsBlock(world)).toBe(false);
  expect(world.run(makeBlock(world.kernel, ORDER))).toBe(true);
  expect(holdsBlock(world)).toBe(true);
  const { counters } = world.kernel;
  expect(counters.pgmigrateSuccess).toBeGreaterThan(0);
  expect([counters.compactStall, counters.compactSuccess, counters.compactFail]).toEqual([1, 1, 0]);
  clean(world, "after compaction");
  expectKept(world);
});

test("with a frame of the kernel's in each block there is none to be had", () => {
  const world = new ThpWorld({ frames: 8192 });
  const { allocator } = world.kernel;
  const taken: number[] = [];
  for (let frame = 0; frame !== NO_FRAME; ) {
    frame = allocator.tryAllocate(0, WANT_KERNEL, OWNER_BOOT);
    if (frame !== NO_FRAME) taken.push(frame);
  }
  for (const frame of taken) if (frame % 256 !== 7) allocator.release(frame);
  expect(world.run(makeBlock(world.kernel, ORDER))).toBe(false);
  expect(world.kernel.counters.compactFail).toBe(1);
});

test.each([
  ["always", false, "512+0", 0],
  ["madvise", true, "512+0", 0],
  ["madvise", false, "0+1", 0],
  ["never", true, "0+1", 0],
  ["defer", true, "0+1", 1],
  ["defer+madvise", true, "512+0", 0],
  ["defer+madvise", false, "0+1", 1],
] as const)("defrag %s, advised %s: a write on a fragmented machine maps %s", (thpDefrag, advised, mapped, later) => {
  const world = fragmented({ tunables: { thpDefrag } });
  const at = PLACE + 40 * HUGE;
  world.area(HUGE, at);
  if (advised) world.advise(at, HUGE, MADV_HUGEPAGE);
  world.write(at, 1);
  expect(world.mapped(at, at + HUGE)).toBe(mapped);
  expect(Number(world.kernel.transparent.wantsBlocks)).toBe(later);
  expect(world.kernel.counters.thpFaultFallback).toBe(mapped === "0+1" ? 1 : 0);
  clean(world, "after the write");
  if (later === 0) return;
  world.run(world.kernel.transparent.attend(world.kernel));
  expect(holdsBlock(world)).toBe(true);
  expect(world.kernel.counters.compactDaemonWake).toBe(1);
  clean(world, "after the thread's turn");
});
