import { expect, test } from "vitest";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { requireClean } from "../../check/audit/audit.ts";
import { OpenFile } from "../file.ts";
import { meminfo } from "../meminfo.ts";
import type { Thread } from "../process.ts";
import { MAP_FIXED, MAP_SHARED, READ, READ_WRITE } from "../test-kernel.ts";
import { createHugeFile } from "./huge-pages.ts";
import { HUGE, HugeWorld } from "./test-world.ts";

/** Pages of a gigabyte: what one table of the second level maps. */
const GIB = 512 * HUGE;
const bytes = (pages: number) => pages * PAGE_SIZE;

const check = ({ kernel }: HugeWorld, when: string): void =>
  requireClean({ kernel, processes: kernel.processes }, when);

/** Two processes map a gigabyte and one huge page more of a file; the pool has only two of its pages. */
function start(tableFreeing: "pmd-ranges" | "when-empty" = "pmd-ranges") {
  const world = new HugeWorld(2, { hugePages: "hugetlbfs-shared-pmd", tableFreeing });
  const file = createHugeFile(world.kernel, "segment", world.pool, GIB + HUGE);
  const open = new OpenFile(file, "read-write");
  const map = (page: number, prot: number, thread: Thread) =>
    world.call("mmap", [addressOf(page), bytes(GIB + HUGE), prot, MAP_SHARED | MAP_FIXED | 0x4000, open, 0], thread);
  const other = world.fork()!;
  return { world, other, map };
}

test.each(["pmd-ranges", "when-empty"] as const)(
  "who maps the same gigabyte finds the other's table (%s)",
  (freeing) => {
    const { world, other, map } = start(freeing);
    map(GIB, READ_WRITE, world.thread);
    map(5 * GIB, READ_WRITE, other);
    world.write(GIB + 3 * HUGE, 7);
    expect(world.byteAt(5 * GIB + 3 * HUGE, other)).toBe(7);
    expect(world.kernel.counters).toMatchObject({ hugeTablesShared: 1, hugePagesZeroed: 1, hugeFaults: 1 });
    expect([world.tables(), world.tables(other)]).toEqual([
      [0, 1, 1],
      [0, 1, 1],
    ]);
    expect(world.kernel.bigPages.tablesInCommon).toBe(1);
    expect(meminfo(world.kernel).find(({ key }) => key === "PageTables")!.pages).toBe(1);
    check(world, "with a shared table");

    // What one adds, the other has at once.
    world.write(5 * GIB + 4 * HUGE, 8, other);
    expect(world.byteAt(GIB + 4 * HUGE)).toBe(8);
    check(world, "after the other has added a page");
    world.exit(other);
    check(world, "when the other is gone");
    expect(world.kernel.bigPages.tablesInCommon).toBe(0);
    expect(world.byteAt(GIB + 4 * HUGE)).toBe(8);
    world.call("munmap", [addressOf(GIB), bytes(GIB + HUGE)]);
    expect(world.tables()).toEqual([0, 0, 0]);
    check(world, "at the end");
  },
);

test("nothing is shared across rights, or where the gigabyte is not aligned", () => {
  const { world, other, map } = start();
  map(GIB, READ_WRITE, world.thread);
  world.write(GIB, 1);
  map(5 * GIB, READ, other);
  world.load(5 * GIB, other);
  expect(world.kernel.bigPages.tablesInCommon).toBe(0);
  map(9 * GIB + HUGE, READ_WRITE, other);
  world.load(9 * GIB + HUGE, other);
  expect(world.kernel.bigPages.tablesInCommon).toBe(0);
  check(world, "with tables of their own");
});

test("who gets other rights, or unmaps a part, leaves the table, and comes by the pages again", () => {
  const { world, other, map } = start();
  map(GIB, READ_WRITE, world.thread);
  map(5 * GIB, READ_WRITE, other);
  world.write(GIB, 1);
  world.write(GIB + HUGE, 2);
  world.load(5 * GIB, other);
  expect(world.call("mprotect", [addressOf(5 * GIB), bytes(HUGE), READ], other)).toBe(0);
  check(world, "after mprotect");
  expect(world.kernel.counters.hugeTablesUnshared).toBe(1);
  expect(world.byteAt(GIB)).toBe(1);
  expect(world.write(GIB, 3)).toBe(0);
  expect(world.byteAt(5 * GIB, other)).toBe(3);
  expect(world.store(5 * GIB, other)).not.toBe(0);
  expect(world.byteAt(5 * GIB + HUGE, other)).toBe(2);
  check(world, "with tables of their own");
});

test("unmapping a part of a shared gigabyte leaves the other's part", () => {
  const { world, other, map } = start();
  map(GIB, READ_WRITE, world.thread);
  map(5 * GIB, READ_WRITE, other);
  world.write(GIB, 1);
  world.load(5 * GIB, other);
  expect(world.call("munmap", [addressOf(5 * GIB), bytes(HUGE)], other)).toBe(0);
  check(world, "after munmap");
  expect(world.load(5 * GIB, other)).not.toBe(0);
  expect(world.byteAt(GIB)).toBe(1);
});
