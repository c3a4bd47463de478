import { describe, expect, test } from "vitest";
import { KernelBug } from "../../base/errors.ts";
import { runToCompletion } from "../../sync/path.ts";
import { TestKernel } from "../test-kernel.ts";
import { OWNER_KMAP } from "../zone.ts";
import type { GlobalPool } from "./global-pool.ts";
import type { KmapName } from "./kmaps.ts";

const HIGH = 1024;

function bench(kmap: KmapName = "global", kmapSlots: number | null = 4, cpus = 2) {
  const test = new TestKernel({ format: "pae", highmemFrom: HIGH, cpus, tunables: { kmapSlots }, highmem: { kmap } });
  return { test, kernel: test.kernel, pool: test.kernel.kmap };
}

const countsOf = ({ pool }: ReturnType<typeof bench>) => [...(pool as GlobalPool).pool.counts];

describe("the global pool", () => {
  test("counts users and keeps what nobody uses", () => {
    const world = bench();
    const { pool } = world;
    pool.tryMap(HIGH);
    pool.tryMap(HIGH);
    pool.tryMap(HIGH + 1);
    expect(countsOf(world)).toEqual([0, 3, 2, 0]);
    pool.unmap(HIGH);
    pool.unmap(HIGH);
    expect(countsOf(world)).toEqual([0, 1, 2, 0]);
    pool.tryMap(HIGH);
    expect(pool.costs).toMatchObject({ maps: 4, found: 2, flushes: 0 });
  });

  test("takes slots in a round, and flushes only when it comes back to slot 0", () => {
    const world = bench();
    const { pool, kernel } = world;
    for (let frame = HIGH; frame < HIGH + 3; frame++) {
      pool.tryMap(frame);
      pool.unmap(frame);
    }
    expect(countsOf(world)).toEqual([0, 1, 1, 1]);
    expect(kernel.counters.tlbFlushesKernel).toBe(0);
    pool.tryMap(HIGH + 3);
    expect(countsOf(world)).toEqual([2, 0, 0, 0]);
    expect(kernel.counters).toMatchObject({ tlbFlushesKernel: 1, tlbShootdowns: 1, tlbReloads: 2 });
  });

  test("entries in memory say what the slots show", () => {
    const world = bench();
    for (const frame of [HIGH, HIGH + 5, HIGH + 9]) world.pool.tryMap(frame);
    expect([...(world.pool as GlobalPool).pool.disagreements()]).toEqual([]);
  });

  test("a slot held keeps its place over the wrap", () => {
    const world = bench();
    world.pool.tryMap(HIGH);
    for (let frame = HIGH + 1; frame < HIGH + 9; frame++) {
      world.pool.tryMap(frame);
      world.pool.unmap(frame);
    }
    expect(countsOf(world)[1]).toBe(2);
  });

  test("with every slot in use the mapper waits until one is given back, and takes the wrap", () => {
    const world = bench();
    const { pool } = world;
    for (let frame = HIGH; frame < HIGH + 4; frame++) pool.tryMap(frame);
    expect(pool.tryMap(HIGH + 9)).toBe(false);
    const path = pool.map(HIGH + 9);
    const wait = path.next().value;
    if (wait === undefined) throw new Error("it does not wait");
    expect(wait.on).toBe("a slot of kmap");
    expect(wait.ready()).toBe(false);
    pool.unmap(HIGH + 2);
    expect(wait.ready()).toBe(true);
    expect(path.next().done).toBe(true);
    expect(pool.costs.waits).toBe(1);
    expect((pool as GlobalPool).pool.find(HIGH + 9)).toBeGreaterThanOrEqual(0);
  });

  test("after a wait, a frame that somebody else has mapped meanwhile is shared", () => {
    const world = bench();
    const { pool } = world;
    for (let frame = HIGH; frame < HIGH + 4; frame++) pool.tryMap(frame);
    const one = pool.map(HIGH + 9);
    const other = pool.map(HIGH + 9);
    one.next();
    other.next();
    pool.unmap(HIGH);
    pool.unmap(HIGH + 1);
    expect(one.next().done).toBe(true);
    expect(other.next().done).toBe(true);
    expect(Math.max(...countsOf(world))).toBe(3);
  });

  test("tasks that hold what the others need wait for ever", () => {
    const world = bench();
    const { pool } = world;
    for (let task = 0; task < 4; task++) pool.tryMap(HIGH + task);
    const waits = [0, 1, 2, 3].map((task) => pool.map(HIGH + 10 + task).next().value);
    expect(waits.some((wait) => wait?.ready())).toBe(false);
    expect(() => runToCompletion(pool.map(HIGH + 20))).toThrow(KernelBug);
  });

  test("giving back more than was taken is a bug", () => {
    const { pool } = bench();
    pool.tryMap(HIGH);
    pool.unmap(HIGH);
    expect(() => pool.unmap(HIGH)).toThrow("more often than it was taken");
    expect(() => pool.unmap(HIGH + 7)).toThrow("has no slot");
  });

  test("mapping with an atomic slot held is a bug", () => {
    const { pool, kernel } = bench();
    kernel.atomicMaps.map(HIGH, 3);
    expect(() => pool.tryMap(HIGH + 1)).toThrow("kmap in atomic context: USER0 of CPU 0 is held");
  });

  test.each([
    { format: "i386" as const, slots: 1024 },
    { format: "pae" as const, slots: 512 },
  ])("on $format has $slots slots: what one table maps", ({ format, slots }) => {
    const { kernel } = new TestKernel({ format, highmemFrom: HIGH });
    expect([...kernel.kmap.pools()].map((pool) => pool.slots)).toEqual([slots]);
  });
});

describe("pools of tasks", () => {
  test("wrap without an interrupt to CPUs that run something else", () => {
    const { pool, kernel } = bench("per-task");
    for (let frame = HIGH; frame < HIGH + 20; frame++) {
      pool.tryMap(frame);
      pool.unmap(frame);
    }
    expect(pool.costs.flushes).toBe(5);
    expect(kernel.counters).toMatchObject({ tlbFlushesKernel: 0, tlbShootdowns: 0 });
  });

  test("cost a table and an index each, given back with the address space", () => {
    const { pool, kernel, test: machine } = bench("per-task");
    const shared = kernel.allocator.ownedBy(OWNER_KMAP);
    const child = machine.fork();
    if (child === null) throw new Error("no child");
    machine.runs(child);
    pool.tryMap(HIGH);
    pool.unmap(HIGH);
    expect(kernel.allocator.ownedBy(OWNER_KMAP)).toBeGreaterThan(shared + 1);
    machine.exit(child);
    expect(kernel.allocator.ownedBy(OWNER_KMAP)).toBe(shared);
  });

  test("one frame may have a window in each", () => {
    const { pool, test: machine } = bench("per-task");
    const child = machine.fork();
    if (child === null) throw new Error("no child");
    pool.tryMap(HIGH);
    machine.runs(child);
    pool.tryMap(HIGH);
    expect([...pool.pools()].map(({ users }) => users)).toEqual([0, 1, 1]);
  });
});
