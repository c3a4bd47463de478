import { describe, expect, test } from "vitest";
import { ENOMEM } from "../base/errno.ts";
import { Allocator } from "./allocator.ts";
import { Buddy } from "./buddy.ts";
import { Frames } from "./frames.ts";
import { Slab, Slabs, slabPacking, slubPacking } from "./slab.ts";
import { watermarkPolicies } from "./watermarks.ts";
import { OWNER_SLAB, OWNER_VMAS, ZONE_NORMAL, Zone } from "./zone.ts";

function allocatorOf(pages: number): Allocator {
  const frames = new Frames(pages);
  const zone = new Zone(ZONE_NORMAL, 0, pages, new Buddy(frames, 0, pages));
  zone.addFree(0, pages);
  const allocator = new Allocator(frames, [zone], watermarkPolicies["linux-6.1"], { forget() {}, forgetRun() {} });
  allocator.setMinFree(0);
  return allocator;
}

describe("how 2.6 packs objects", () => {
  const packing = slabPacking(4);

  test.each([
    // bytes, order, objects: the descriptor of 24 bytes and 2 an object are in the slab
    [88, 0, 45],
    [32, 0, 119],
    [8, 0, 407], // what describes them is a fifth of the page, and no waste
    [276, 0, 14],
    [1400, 1, 5], // off-slab: 2 of them would waste a third of one page
    [580, 0, 7],
  ])("objects of %d bytes: slabs of order %d with %d", (bytes, order, objects) => {
    expect(packing.orderFor(bytes)).toBe(order);
    expect(packing.objectsIn(order, bytes)).toBe(objects);
  });
});

describe("how SLUB packs objects", () => {
  test.each([
    [152, 26, 1],
    [64, 64, 1],
    [576, 14, 2],
    [104, 39, 1],
  ])("objects of %d bytes: %d in a slab of %d pages", (bytes, objects, pages) => {
    const packing = slubPacking(1, 8);
    const order = packing.orderFor(bytes);
    expect([packing.objectsIn(order, bytes), 1 << order]).toEqual([objects, pages]);
  });

  test("more CPUs want more objects in a slab: 28 tree nodes in four pages, as /proc/slabinfo shows", () => {
    const packing = slubPacking(8, 8);
    const order = packing.orderFor(576);
    expect([packing.objectsIn(order, 576), 1 << order]).toEqual([28, 4]);
  });

  test("an object larger than any usual slab still has one", () => {
    expect(slubPacking(1, 8).orderFor(70_000)).toBe(5);
  });
});

describe("a cache", () => {
  const cacheOf = (allocator: Allocator) => new Slab(allocator, "vm_area_struct", 152, OWNER_VMAS, slubPacking(1, 8));

  test("draws a page for each 26 objects and gives it back when they are gone", () => {
    const allocator = allocatorOf(16);
    const cache = cacheOf(allocator);
    for (let object = 0; object < 27; object++) expect(cache.allocate()).toBe(0);
    expect([cache.objects, cache.room, cache.pages, allocator.ownedBy(OWNER_VMAS)]).toEqual([27, 52, 2, 2]);
    cache.free();
    expect([cache.pages, cache.bytes]).toEqual([1, 26 * 152]);
    for (let object = 0; object < 26; object++) cache.free();
    expect([cache.pages, allocator.freePages]).toEqual([0, 16]);
    allocator.check();
  });

  test("fails with -ENOMEM and changes nothing when there is no page", () => {
    const allocator = allocatorOf(2);
    const cache = cacheOf(allocator);
    let result = 0;
    while (result === 0) result = cache.allocate();
    expect(result).toBe(-ENOMEM);
    expect([cache.objects, cache.pages]).toEqual([52, 2]);
  });

  test("takes a smaller slab when no large block is free", () => {
    const allocator = allocatorOf(8);
    const frames = Array.from({ length: 8 }, () => allocator.tryAllocate(0, ZONE_NORMAL, OWNER_SLAB));
    for (const frame of frames) if (frame % 2 === 0) allocator.free(frame, 0);
    const cache = new Slab(allocator, "radix_tree_node", 576, OWNER_SLAB, slubPacking(1, 8));
    expect(cache.allocate()).toBe(0);
    expect([cache.pages, cache.room]).toEqual([1, 7]);
    cache.free();
    expect(allocator.freePages).toBe(4);
  });

  test("never frees what it does not have", () => {
    expect(() => cacheOf(allocatorOf(1)).free()).toThrow("frees an object, and has none");
  });
});

test("a machine's caches add up to its Slab line", () => {
  const allocator = allocatorOf(64);
  const sizes = {
    vma: 152,
    mm: 1152,
    anonVma: 104,
    anonVmaChain: 64,
    task: 16_000,
    process: {},
    treeNode: 576,
    bufferHead: 0,
  };
  const slabs = new Slabs(allocator, sizes, slubPacking(1, 8));
  const chains = slabs.create("pte_chain", 64, OWNER_SLAB);
  for (const cache of [slabs.vmas, slabs.treeNodes, chains]) expect(cache.allocate()).toBe(0);
  expect(slabs.pages).toBe(1 + 2 + 1);
  expect(slabs.pages).toBe(allocator.ownedBy(OWNER_VMAS) + allocator.ownedBy(OWNER_SLAB));
  expect(slabs.all.map((cache) => cache.name)).toContain("pte_chain");
});
