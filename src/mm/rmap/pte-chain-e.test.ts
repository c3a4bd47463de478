import { describe, expect, test } from "vitest";
import { ENOMEM } from "../../base/errno.ts";
import { Rng } from "../../base/rng.ts";
import { OWNER_REVERSE_MAP } from "../zone.ts";
import { blocksFor, type ChainShape, PteChainE, slotsPerBlock } from "./pte-chain-e.ts";
import { TestWorld } from "./test-world.ts";

const KIB = 2 ** 10;
const GIB = 2 ** 30;
const PROCESSES = 5000;
/** Pages of the shared segment of 2 GiB that each of them maps. */
const SEGMENT_PAGES = (2 * GIB) / (4 * KIB);

const shape = (lineBytes: number, slotBytes: 4 | 8): ChainShape => ({ lineBytes, pointerBytes: 4, slotBytes });

function chains(lineBytes = 32, slotBytes: 4 | 8 = 4) {
  const world = new TestWorld("i386");
  const cut = shape(lineBytes, slotBytes);
  const slab = world.slabs.create("pte_chain", lineBytes, OWNER_REVERSE_MAP);
  return { world, slab, rmap: new PteChainE(world.frames, slab, cut) };
}

const slotsOf = (rmap: PteChainE, frame: number): number[] => {
  const slots: number[] = [];
  rmap.forEach(frame, (slot) => {
    slots.push(slot);
    return true;
  });
  return slots;
};

describe("a block of a chain", () => {
  test.each([
    [32, 4, 7],
    [64, 4, 15],
    [128, 4, 31],
    [32, 8, 3],
    [64, 8, 7],
    [128, 8, 15],
  ] as const)("of a %i-byte line holds, of %i-byte entries, %i", (line, slot, entries) => {
    expect(slotsPerBlock(shape(line, slot))).toBe(entries);
  });

  test.each([
    [32, 4, 715, 22_880, 11.172],
    [64, 4, 334, 21_376, 10.4375],
    [128, 4, 162, 20_736, 10.125],
    [32, 8, 1667, 53_344, 26.047],
    [64, 8, 715, 45_760, 22.344],
    [128, 8, 334, 42_752, 20.875],
  ] as const)(
    "of %i bytes with %i-byte entries makes %i blocks for a page that 5000 processes map",
    (line, slot, blocks, bytes, gib) => {
      const { rmap, world } = chains(line, slot);
      for (let process = 0; process < PROCESSES; process++) expect(rmap.add(7, process)).toBe(0);
      expect([rmap.blocks, rmap.bytes]).toEqual([blocks, bytes]);
      expect(blocksFor(PROCESSES, shape(line, slot))).toBe(blocks);
      expect((SEGMENT_PAGES * rmap.bytes) / GIB).toBeCloseTo(gib, 3);
      expect(world.allocator.ownedBy(OWNER_REVERSE_MAP)).toBeGreaterThanOrEqual(Math.ceil(bytes / 4096));
    },
  );

  test.each([
    [0, 0],
    [1, 0],
    [7, 32],
    [8, 64],
    [14, 64],
    [15, 96],
    [100, 480],
  ])("of 32 bytes: %i mappings take %i bytes", (mappings, bytes) => {
    const { rmap } = chains();
    for (let slot = 0; slot < mappings; slot++) rmap.add(7, slot);
    expect(rmap.bytes).toBe(bytes);
  });
});

describe("a chain of entries", () => {
  test("is walked from its newest entry", () => {
    const { rmap } = chains();
    for (let slot = 0; slot < 10; slot++) rmap.add(7, slot);
    expect(slotsOf(rmap, 7)).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  });

  test("fills the hole that a removed entry leaves with its newest entry", () => {
    //   [ . . . . 9 8 7 ] -> [ 6 5 4 3 2 1 0 ]     remove 3
    //   [ . . . . . 8 7 ] -> [ 6 5 4 9 2 1 0 ]
    const { rmap } = chains();
    for (let slot = 0; slot < 10; slot++) rmap.add(7, slot);
    rmap.remove(7, 3);
    expect(slotsOf(rmap, 7)).toEqual([8, 7, 6, 5, 4, 9, 2, 1, 0]);
  });

  test("gives a block back with its last entry, and stays a chain down to one entry", () => {
    const { rmap, slab } = chains();
    for (let slot = 0; slot < 8; slot++) rmap.add(7, slot);
    expect(slab.objects).toBe(2);
    rmap.remove(7, 0);
    expect(slab.objects).toBe(1);
    for (let slot = 1; slot < 7; slot++) rmap.remove(7, slot);
    expect([slotsOf(rmap, 7), slab.objects]).toEqual([[7], 1]);
    rmap.remove(7, 7);
    expect([slotsOf(rmap, 7), slab.objects, rmap.bytes]).toEqual([[], 0, 0]);
  });

  test("takes no memory for a page with one mapping", () => {
    const { rmap } = chains();
    for (let frame = 0; frame < 1000; frame++) rmap.add(frame, frame * 1024);
    expect(rmap.bytes).toBe(0);
    expect(slotsOf(rmap, 5)).toEqual([5120]);
  });

  test("refuses an entry and stays as it was when there is no memory", () => {
    const { world, rmap } = chains();
    rmap.add(7, 1);
    world.allocator.failAt(1, 1);
    expect(rmap.reserve()).toBe(-ENOMEM);
    expect(rmap.add(7, 2)).toBe(-ENOMEM);
    expect([slotsOf(rmap, 7), world.frames.mapCount.read(7)]).toEqual([[1], 1]);
  });

  test("cannot run out of memory while a block is in reserve", () => {
    const { world, rmap } = chains();
    rmap.add(7, 1);
    expect(rmap.reserve()).toBe(0);
    world.allocator.failAt(1, 1);
    expect(rmap.reserve()).toBe(0);
    expect(rmap.add(7, 2)).toBe(0);
    expect(slotsOf(rmap, 7)).toEqual([2, 1]);
  });

  test("complains of an entry that it does not hold", () => {
    const { rmap } = chains();
    rmap.add(7, 1);
    expect(() => rmap.remove(7, 2)).toThrow(/not on the chain/);
    expect(() => rmap.remove(8, 1)).toThrow(/not on the chain/);
  });

  test("holds no more blocks than full ones and a head, whatever is added and removed", () => {
    const rng = new Rng(5);
    const { rmap, slab } = chains(32, 8);
    // Frames that nothing else of this machine uses.
    const first = 9000;
    const truth = Array.from({ length: 8 }, () => new Set<number>());
    for (let step = 1; step < 20_000; step++) {
      const at = rng.below(truth.length);
      const frame = first + at;
      const slots = truth[at]!;
      if (rng.chance(step % 4000 < 2000 ? 0.6 : 0.4)) {
        rmap.add(frame, step);
        slots.add(step);
      } else if (slots.size > 0) {
        const slot = rng.pick([...slots]);
        rmap.remove(frame, slot);
        slots.delete(slot);
      }
      if (step % 500 === 0) {
        for (let each = 0; each < truth.length; each++)
          expect(new Set(slotsOf(rmap, first + each))).toEqual(truth[each]);
        const most = truth.reduce((sum, entries) => sum + Math.ceil(entries.size / 3), 0);
        expect(rmap.blocks).toBeLessThanOrEqual(most);
        expect(slab.objects).toBe(rmap.blocks);
      }
    }
  });
});
