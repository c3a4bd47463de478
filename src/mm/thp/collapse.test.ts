import { expect, test } from "vitest";
import { EAGAIN, EINVAL, ENOMEM } from "../../base/errno.ts";
import { requireClean } from "../../check/audit/audit.ts";
import { MADV_COLLAPSE, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_PAGEOUT } from "../advise.ts";
import { READ, READ_WRITE } from "../test-kernel.ts";
import { byteOf, HUGE, PLACE, ThpWorld } from "./test-world.ts";

const END = PLACE + HUGE;

/** An area of small pages, of which each `step`-th was written. */
function small(step: number, machine: ConstructorParameters<typeof ThpWorld>[0] = {}): ThpWorld {
  const world = new ThpWorld(machine);
  world.area(HUGE);
  world.advise(PLACE, HUGE, MADV_NOHUGEPAGE);
  for (let page = PLACE; page < END; page += step) world.write(page, byteOf(page));
  world.advise(PLACE, HUGE, MADV_HUGEPAGE);
  return world;
}

const turn = (world: ThpWorld) => world.run(world.kernel.transparent.khugepaged.turn(world.kernel));
const clean = ({ kernel }: ThpWorld, when: string) => requireClean({ kernel, processes: kernel.processes }, when);

function expectContents(world: ThpWorld, step: number): void {
  for (let page = PLACE; page < END; page++) {
    expect(world.byteAt(page)).toBe((page - PLACE) % step === 0 ? byteOf(page) : 0);
  }
}

test("khugepaged makes a huge page of small ones, and the table is kept in reserve", () => {
  const world = small(64);
  expect(world.mapped(PLACE, END)).toBe("0+8");
  turn(world);
  expect(world.mapped(PLACE, END)).toBe("512+0");
  const { counters } = world.kernel;
  expect([counters.thpCollapseAlloc, counters.pagesCopied, world.thread.mm.resident.anon]).toEqual([1, 8, HUGE]);
  clean(world, "after khugepaged's turn");
  expectContents(world, 64);
  expect(world.unmap(PLACE, HUGE)).toBe(0);
  clean(world, "after munmap");
});

test.each([
  ["one page of 512 is enough", 511, HUGE, "512+0"],
  ["with as many empty entries as it may have", 504, 64, "512+0"],
  ["not with one more", 503, 64, "0+8"],
  ["a table that is full, where none may be empty", 0, 1, "512+0"],
])("max_ptes_none: %s", (_name, khugepagedMostNone, step, mapped) => {
  const world = small(step, { tunables: { khugepagedMostNone } });
  turn(world);
  expect(world.mapped(PLACE, END)).toBe(mapped);
});

test("pages in swap are brought in, if there are few enough", () => {
  const swapped = (khugepagedMostSwapped: number) => {
    const world = small(1, { swap: [2000], tunables: { khugepagedMostSwapped } });
    expect(world.advise(PLACE + 100, 10, MADV_PAGEOUT)).toBe(0);
    expect(world.thread.mm.resident.swap).toBe(10);
    turn(world);
    clean(world, "after khugepaged's turn");
    expectContents(world, 1);
    return world.mapped(PLACE, END);
  };
  expect(swapped(10)).toBe("512+0");
  expect(swapped(9)).toBe("0+512");
});

test("pages that others map count against max_ptes_shared, and are copied", () => {
  const shared = (khugepagedMostShared: number) => {
    const world = small(32, { tunables: { khugepagedMostShared } });
    const child = world.fork()!;
    // One page that may be written makes the table worth it.
    world.write(PLACE, byteOf(PLACE));
    turn(world);
    const mapped = world.mapped(PLACE, END);
    clean(world, "after khugepaged's turn");
    expectContents(world, 32);
    expect(world.byteAt(PLACE + 32, child)).toBe(byteOf(PLACE + 32));
    return mapped;
  };
  expect(shared(15)).toBe("512+0");
  expect(shared(14)).toBe("0+16");
});

test("a table that nobody may write, or that was not used since the last look, stays", () => {
  const readOnly = small(64);
  readOnly.protect(PLACE, HUGE, READ);
  turn(readOnly);
  expect(readOnly.mapped(PLACE, END)).toBe("0+8");
  const { kernel } = readOnly;
  readOnly.protect(PLACE, HUGE, READ_WRITE);
  // Nothing writable until somebody writes.
  readOnly.write(PLACE, byteOf(PLACE));
  turn(readOnly);
  expect(readOnly.mapped(PLACE, END)).toBe("512+0");
  expect(kernel.transparent.khugepaged.turns).toBe(2);
});

test("a turn looks at so many pages, and the next goes on", () => {
  const world = new ThpWorld({ tunables: { khugepagedPages: 2 * HUGE } });
  world.area(6 * HUGE);
  world.advise(PLACE, 6 * HUGE, MADV_NOHUGEPAGE);
  for (let at = 0; at < 6; at++) world.write(PLACE + at * HUGE, 1);
  world.advise(PLACE, 6 * HUGE, MADV_HUGEPAGE);
  const coverage = () => world.mapped(PLACE, PLACE + 6 * HUGE);
  turn(world);
  expect(coverage()).toBe("1024+4");
  turn(world);
  expect(coverage()).toBe("2048+2");
  turn(world);
  expect(coverage()).toBe("3072+0");
  clean(world, "after three turns");
});

test("MADV_COLLAPSE makes a huge page whatever the table looks like, where there is one", () => {
  const world = small(64, { transparentPages: "madvise", tunables: { khugepagedMostNone: 0 } });
  turn(world);
  expect(world.mapped(PLACE, END)).toBe("0+8");
  expect(world.advise(PLACE, HUGE, MADV_COLLAPSE)).toBe(0);
  expect(world.mapped(PLACE, END)).toBe("512+0");
  expect(world.advise(PLACE, HUGE, MADV_COLLAPSE)).toBe(0);
  expectContents(world, 64);
  clean(world, "after the advice");
});

test("MADV_COLLAPSE says why it cannot", () => {
  const untouched = new ThpWorld();
  untouched.area(2 * HUGE);
  untouched.write(PLACE, 1);
  expect(untouched.advise(PLACE + HUGE, HUGE, MADV_COLLAPSE)).toBe(-EINVAL);
  const noBlock = small(64, { frames: 1000 });
  expect(noBlock.advise(PLACE, HUGE, MADV_COLLAPSE)).toBe(-ENOMEM);
  expect(noBlock.kernel.counters.thpCollapseAllocFailed).toBe(1);
  const held = small(64);
  held.kernel.frames.addReference(held.entry(PLACE).frame);
  expect(held.advise(PLACE, HUGE, MADV_COLLAPSE)).toBe(-EAGAIN);
});
