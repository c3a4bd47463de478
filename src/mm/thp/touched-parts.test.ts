import { expect, test } from "vitest";
import { audit, requireClean } from "../../check/audit/audit.ts";
import { MADV_COLLAPSE, MADV_DONTNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_POPULATE_WRITE } from "../advise.ts";
import { HUGE, PLACE, ThpWorld } from "./test-world.ts";

const untouched = ({ kernel }: ThpWorld) => kernel.transparent.pages.untouchedFrames;
const clean = ({ kernel }: ThpWorld, when: string) => requireClean({ kernel, processes: kernel.processes }, when);

/** An area of one huge page, of which these pages were written. */
function touchedArea(...pages: number[]): ThpWorld {
  const world = new ThpWorld();
  world.area(HUGE);
  for (const page of pages) world.write(PLACE + page, 1);
  return world;
}

test("all of a huge page is resident, and what was accessed is touched, once", () => {
  const world = touchedArea(0, 31, 32, 511, 31);
  expect(world.thread.mm.resident.anon).toBe(HUGE);
  expect(untouched(world)).toBe(HUGE - 4);
  world.byteAt(PLACE + 33);
  expect(untouched(world)).toBe(HUGE - 5);
  clean(world, "after accesses");
});

test("what the kernel fills for a program is not touched", () => {
  const world = new ThpWorld();
  world.area(HUGE);
  expect(world.advise(PLACE, HUGE, MADV_POPULATE_WRITE)).toBe(0);
  expect(untouched(world)).toBe(HUGE);
});

test("what is given up is not resident, touched or not, and what is mapped anew is not touched", () => {
  const world = touchedArea(0, 1, 2, 3);
  world.unmap(PLACE + 2, 10);
  expect(untouched(world)).toBe(HUGE - 10 - 2);
  clean(world, "after munmap of a part");
  world.unmap(PLACE, HUGE);
  expect(untouched(world)).toBe(0);
  world.area(HUGE);
  world.write(PLACE, 1);
  expect(untouched(world)).toBe(HUGE - 1);
  clean(world, "after another fault");
});

test("a part is touched by whoever reaches it, through an entry of either size", () => {
  const world = touchedArea(0);
  const child = world.fork(world.thread)!;
  world.unmap(PLACE + 9, 1, child);
  world.byteAt(PLACE + 5, child);
  world.byteAt(PLACE + 6);
  expect(untouched(world)).toBe(HUGE - 3);
  // The child gets a page of its own, and what it left is not touched by that.
  world.write(PLACE + 7, 1, child);
  expect(untouched(world)).toBe(HUGE - 3);
});

test("what was small before it became huge was touched, and what was not there was not", () => {
  const world = new ThpWorld();
  world.area(HUGE);
  world.advise(PLACE, HUGE, MADV_NOHUGEPAGE);
  for (let page = 0; page < 10; page++) world.write(PLACE + page, 1);
  expect(untouched(world)).toBe(0);
  world.advise(PLACE, HUGE, MADV_HUGEPAGE);
  expect(world.advise(PLACE, HUGE, MADV_COLLAPSE)).toBe(0);
  expect(untouched(world)).toBe(HUGE - 10);
  clean(world, "after the collapse");
});

test("parts of a huge page that become parts of another are what they were", () => {
  const world = touchedArea(0, 1, 2);
  world.advise(PLACE + 2, 8, MADV_DONTNEED);
  expect(world.advise(PLACE, HUGE, MADV_COLLAPSE)).toBe(0);
  expect(world.mapped(PLACE, PLACE + HUGE)).toBe("512+0");
  expect(untouched(world)).toBe(HUGE - 2);
  clean(world, "after the collapse");
});

test.each([
  ["a touched frame that nobody has", 2],
  ["one that is not counted", 3],
])("the law sees %s", (_name, at) => {
  const world = touchedArea(0);
  world.unmap(PLACE + 2, 1);
  const { touched } = world.kernel.transparent.pages;
  const [head] = touched.heads;
  touched.mark(head!, head! + at);
  if (at === 3) touched.count--;
  const { kernel } = world;
  const broken = audit({ kernel, processes: kernel.processes }).map(({ law }) => law);
  expect(broken).toEqual(["touched-frames-are-of-huge-pages"]);
});
