import { describe, expect, test } from "vitest";
import { ENOMEM } from "../base/errno.ts";
import { Rng } from "../base/rng.ts";
import { NOT_CACHED, PageCache } from "./page-cache.ts";
import { smallAllocator } from "./rmap/test-world.ts";
import { Slab, slabPacking, slubPacking } from "./slab.ts";
import { OWNER_SLAB } from "./zone.ts";

const nodeSlab = (): Slab =>
  new Slab(smallAllocator(1024).allocator, "radix_tree_node", 576, OWNER_SLAB, slubPacking(1, 8));

const cached = (cache: PageCache, first = 0, end = Number.POSITIVE_INFINITY): number[] => {
  const found: number[] = [];
  cache.forEach(first, end, (index) => {
    found.push(index);
    return true;
  });
  return found;
};

const dirty = (cache: PageCache): number[] => {
  const found: number[] = [];
  cache.forEachDirty(0, Number.POSITIVE_INFINITY, (index) => {
    found.push(index);
    return true;
  });
  return found;
};

describe("a page cache", () => {
  test("needs as many levels of nodes as its greatest index has digits of six bits", () => {
    for (const [index, nodes] of [
      [0, 1],
      [63, 1],
      [64, 2],
      [4095, 2],
      [4096, 3],
      [262_143, 3],
      [262_144, 4],
    ] as const) {
      const cache = new PageCache(nodeSlab());
      cache.insert(index, 5);
      expect([index, cache.nodes]).toEqual([index, nodes]);
      expect(cache.find(index)).toBe(5);
    }
  });

  test("keeps every node in the slab, and gives each back once it is empty", () => {
    const slab = nodeSlab();
    const cache = new PageCache(slab);
    for (const index of [0, 100, 5000, 300_000]) cache.insert(index, 1 + index);
    expect(slab.objects).toBe(cache.nodes);
    //  height 4: root, one path for 300,000 (3 nodes), one for the others: 1 + 2 + 3 leaves
    expect(cache.nodes).toBe(1 + 3 + 1 + 2 + 3);
    cache.remove(300_000);
    expect(cache.nodes).toBe(1 + 2 + 3);
    cache.remove(5000);
    cache.remove(100);
    expect(cache.nodes).toBe(1);
    cache.remove(0);
    expect([slab.objects, cache.nodes, cache.count]).toEqual([0, 0, 0]);
  });

  test("refuses a page and stays as it was when there is no memory for its nodes", () => {
    const { allocator } = smallAllocator(1024);
    const cache = new PageCache(new Slab(allocator, "radix_tree_node", 4096, OWNER_SLAB, slabPacking(8)));
    cache.insert(3, 30);
    // Three nodes are missing: the third one fails.
    allocator.failAt(3);
    expect(cache.insert(5000, 50)).toBe(-ENOMEM);
    allocator.neverFail();
    expect([cache.nodes, cached(cache)]).toEqual([1, [3]]);
    expect(cache.insert(5000, 50)).toBe(0);
    expect(cached(cache)).toEqual([3, 5000]);
  });

  test("finds dirty pages without looking at clean ones", () => {
    const cache = new PageCache(nodeSlab());
    for (let index = 0; index < 5000; index++) cache.insert(index, index);
    for (const index of [31, 32, 63, 4999]) expect(cache.markDirty(index)).toBe(true);
    expect(cache.markDirty(31)).toBe(false);
    expect(dirty(cache)).toEqual([31, 32, 63, 4999]);
    cache.clearDirty(32);
    cache.remove(63);
    expect([dirty(cache), cache.dirtyCount]).toEqual([[31, 4999], 2]);
  });

  test("may lose the page that a visitor is shown", () => {
    const cache = new PageCache(nodeSlab());
    for (let index = 0; index < 200; index++) cache.insert(index * 50, index);
    cache.forEach(100, 9000, (index) => {
      cache.remove(index);
      return true;
    });
    expect(cached(cache)).toEqual([0, 50, ...Array.from({ length: 20 }, (_, at) => 9000 + at * 50)]);
  });

  test("says what a plain map says, whatever is inserted, dirtied and removed", () => {
    const rng = new Rng(11);
    const slab = nodeSlab();
    const cache = new PageCache(slab);
    const plain = new Map<number, { frame: number; dirty: boolean }>();
    for (let step = 0; step < 20_000; step++) {
      const index = rng.chance(0.3) ? rng.below(70) : rng.chance(0.5) ? rng.below(6000) : rng.below(300_000);
      const known = plain.get(index);
      expect(cache.find(index)).toBe(known?.frame ?? NOT_CACHED);
      if (known === undefined) {
        expect(cache.insert(index, step)).toBe(0);
        plain.set(index, { frame: step, dirty: false });
      } else if (rng.chance(0.6)) {
        expect(cache.remove(index)).toBe(known.frame);
        plain.delete(index);
      } else if (rng.chance(0.7)) {
        expect(cache.markDirty(index)).toBe(!known.dirty);
        known.dirty = true;
      } else {
        expect(cache.clearDirty(index)).toBe(known.dirty);
        known.dirty = false;
      }
    }
    const sorted = [...plain].sort(([one], [other]) => one - other);
    expect(cached(cache)).toEqual(sorted.map(([index]) => index));
    expect(dirty(cache)).toEqual(sorted.filter(([, page]) => page.dirty).map(([index]) => index));
    expect([cache.count, slab.objects]).toEqual([plain.size, cache.nodes]);
  });
});
