/** Chains of every generation: what they take, how they lie in their blocks, and what they answer. */
import { describe, expect, test } from "vitest";
import { ENOMEM } from "../../base/errno.ts";
import { Rng } from "../../base/rng.ts";
import type { PagingFormatName } from "../../hw/paging-format.ts";
import { OWNER_REVERSE_MAP } from "../zone.ts";
import type { ChainedMap } from "./chained-map.ts";
import { blocksFor, slotsPerLine } from "./chains.ts";
import { chainShape, reverseMaps } from "./reverse-maps.ts";
import { type ChainParts, TestWorld } from "./test-world.ts";

const KIB = 2 ** 10;
const GIB = 2 ** 30;
const PROCESSES = 5000;
/** Pages of the shared segment of 2 GiB that each of them maps. */
const SEGMENT_PAGES = (2 * GIB) / (4 * KIB);
/** A frame that nothing else of the test's machine uses. */
const FRAME = 9000;

const generations = ["pte-chain-a", "pte-chain-b", "pte-chain-e"] as const;
const arrays = ["pte-chain-b", "pte-chain-e"] as const;
type Generation = (typeof generations)[number];

interface Machine extends ChainParts {
  readonly format?: PagingFormatName;
}

/** Chains as tests want them: an entry of no area in particular. */
class Chained {
  readonly world: TestWorld;
  readonly map: ChainedMap;

  constructor(generation: Generation, { format = "i386", ...parts }: Machine = {}) {
    this.world = new TestWorld(format, 16_384, parts);
    this.map = reverseMaps[generation](this.world);
  }

  add(slot: number, frame = FRAME): number {
    return this.map.add(frame, slot, this.world.noArea);
  }

  addAll(mappings: number): void {
    let refused = 0;
    for (let slot = 0; slot < mappings; slot++) refused += this.add(slot);
    expect(refused).toBe(0);
  }

  remove(slot: number, frame = FRAME): void {
    this.map.remove(frame, slot, this.world.noArea);
  }

  slots(frame = FRAME): number[] {
    const slots: number[] = [];
    this.map.forEach(frame, (slot) => {
      slots.push(slot);
      return true;
    });
    return slots;
  }
}

describe("a block", () => {
  test.each([
    ["i386", "lowmem", 32, 7],
    ["i386", "lowmem", 64, 15],
    ["i386", "lowmem", 128, 31],
    ["pae", "lowmem", 32, 7],
    ["i386", "highmem", 32, 7],
    ["pae", "highmem", 32, 3],
    ["pae", "highmem", 64, 7],
    ["pae", "highmem", 128, 15],
  ] as const)(
    "with %s and page tables in %s holds, in a line of %i bytes, %i entries",
    (format, tables, line, held) => {
      const shape = chainShape(new TestWorld(format, 16_384, { tablePlacement: tables, lineBytes: line }));
      expect(slotsPerLine(shape)).toBe(held);
      if (tables === "lowmem") expect(shape.slotBytes).toBe(4);
    },
  );

  test("in highmem is named by two words with PAE", () => {
    const parts = new TestWorld("pae", 16_384, { placement: "highmem" });
    expect(chainShape(parts)).toEqual({ lineBytes: 32, pointerBytes: 8, slotBytes: 4 });
    expect(slotsPerLine(chainShape(parts))).toBe(6);
  });
});

describe("a page that 5000 processes map", () => {
  test.each([
    ["pte-chain-a", "i386", "lowmem", 32, 5000, 40_000, 19.531],
    ["pte-chain-b", "i386", "lowmem", 32, 715, 22_880, 11.172],
    ["pte-chain-b", "i386", "lowmem", 64, 334, 21_376, 10.438],
    ["pte-chain-b", "i386", "lowmem", 128, 162, 20_736, 10.125],
    ["pte-chain-e", "i386", "lowmem", 32, 715, 22_880, 11.172],
    ["pte-chain-e", "i386", "lowmem", 64, 334, 21_376, 10.438],
    ["pte-chain-e", "i386", "lowmem", 128, 162, 20_736, 10.125],
    ["pte-chain-e", "pae", "lowmem", 32, 715, 22_880, 11.172],
    ["pte-chain-b", "pae", "highmem", 32, 1667, 53_344, 26.047],
    ["pte-chain-e", "pae", "highmem", 32, 1667, 53_344, 26.047],
    ["pte-chain-e", "pae", "highmem", 64, 715, 45_760, 22.344],
    ["pte-chain-e", "pae", "highmem", 128, 334, 42_752, 20.875],
  ] as const)(
    "costs %s with %s, tables in %s and lines of %i bytes %i blocks of %i bytes, and the segment %d GiB",
    (generation, format, tablePlacement, lineBytes, blocks, bytes, gib) => {
      const chained = new Chained(generation, { format, tablePlacement, lineBytes });
      const { map, world } = chained;
      chained.addAll(PROCESSES);
      expect([map.chains.memory.blocksInUse, map.bytes]).toEqual([blocks, bytes]);
      expect(blocksFor(PROCESSES, map.chains.width)).toBe(blocks);
      expect((SEGMENT_PAGES * map.bytes) / GIB).toBeCloseTo(gib, 2);
      expect(world.allocator.ownedBy(OWNER_REVERSE_MAP)).toBeGreaterThanOrEqual(Math.ceil(bytes / 4096));
    },
  );

  test.each(["object-anon", "none"] as const)("costs %s nothing", (name) => {
    const world = new TestWorld("i386");
    const map = reverseMaps[name](world);
    for (let slot = 0; slot < PROCESSES; slot++) map.add(FRAME, slot, world.noArea);
    expect([map.bytes, world.allocator.ownedBy(OWNER_REVERSE_MAP)]).toEqual([0, 0]);
  });
});

test.each([
  [0, 0, 0],
  [1, 0, 0],
  [2, 16, 32],
  [7, 56, 32],
  [8, 64, 64],
  [14, 112, 64],
  [15, 120, 96],
  [100, 800, 480],
])("%i mappings take %i bytes in links, and %i in lines of 32", (mappings, inLinks, inLines) => {
  for (const generation of generations) {
    const chained = new Chained(generation);
    chained.addAll(mappings);
    expect(chained.map.bytes).toBe(generation === "pte-chain-a" ? inLinks : inLines);
  }
});

describe.each(generations)("a chain of entries, %s", (generation) => {
  test("is walked from its newest entry", () => {
    const chained = new Chained(generation);
    chained.addAll(10);
    expect(chained.slots()).toEqual([9, 8, 7, 6, 5, 4, 3, 2, 1, 0]);
  });

  test("fills the hole that a removed entry leaves with its newest entry", () => {
    const chained = new Chained(generation);
    chained.addAll(10);
    chained.remove(3);
    expect(chained.slots()).toEqual([8, 7, 6, 5, 4, 9, 2, 1, 0]);
  });

  test("gives a block back with its last entry, and stays a chain down to one entry", () => {
    const chained = new Chained(generation);
    const { memory, width } = chained.map.chains;
    chained.addAll(width + 1);
    expect(memory.blocksInUse).toBe(2);
    for (let slot = 0; slot < width; slot++) chained.remove(slot);
    expect([chained.slots(), memory.blocksInUse]).toEqual([[width], 1]);
    chained.remove(width);
    expect([chained.slots(), memory.blocksInUse, memory.bytes]).toEqual([[], 0, 0]);
  });

  test("of one entry becomes that entry when it is collapsed, and longer ones stay", () => {
    const chained = new Chained(generation);
    chained.addAll(3);
    chained.map.collapse(FRAME);
    expect(chained.map.bytes).toBeGreaterThan(0);
    chained.remove(0);
    chained.remove(2);
    expect(chained.map.bytes).toBeGreaterThan(0);
    chained.map.collapse(FRAME);
    expect([chained.slots(), chained.map.bytes]).toEqual([[1], 0]);
    chained.map.collapse(FRAME);
    chained.remove(1);
    chained.map.collapse(FRAME);
    chained.addAll(4);
    expect(chained.slots()).toEqual([3, 2, 1, 0]);
  });

  test("takes no memory for pages with one mapping", () => {
    const chained = new Chained(generation);
    for (let frame = 0; frame < 1000; frame++) chained.add(frame * 1024, frame);
    expect([chained.map.bytes, chained.slots(5)]).toEqual([0, [5120]]);
  });

  test("refuses an entry and stays as it was when there is no memory", () => {
    const { width, blocksPerAdd } = new Chained(generation).map.chains;
    const cases = [[1, blocksPerAdd] as const, [2 * width, 1] as const];
    for (const [mappings, blocks] of cases) {
      for (let missing = 1; missing <= blocks; missing++) {
        const chained = new Chained(generation);
        const { map, world } = chained;
        chained.addAll(mappings);
        const before = [chained.slots(), map.bytes, world.frames.mapCount.read(FRAME)];
        world.allocator.failObjectAt(missing);
        expect(chained.add(99)).toBe(-ENOMEM);
        expect([chained.slots(), map.bytes, world.frames.mapCount.read(FRAME)]).toEqual(before);
        expect(chained.add(99)).toBe(0);
        expect(chained.slots()).toContain(99);
      }
    }
  });

  test("cannot run out of memory while blocks are in reserve, of each CPU its own", () => {
    const chained = new Chained(generation);
    const { map, world } = chained;
    chained.add(1);
    expect(map.reserve()).toBe(0);
    const { bytes } = map;
    expect(map.reserve()).toBe(0);
    expect(map.bytes).toBe(bytes);
    expect(map.chains.memory.blocksInUse).toBe(0);
    world.where.here = 1;
    world.allocator.failObjectAt(1);
    expect(chained.add(2)).toBe(-ENOMEM);
    world.where.here = 0;
    world.allocator.failObjectAt(1);
    expect(chained.add(2)).toBe(0);
    expect(chained.slots()).toEqual([2, 1]);
  });

  test("complains of an entry that it does not hold", () => {
    const chained = new Chained(generation);
    chained.add(1);
    expect(() => chained.remove(2)).toThrow(/not on the chain/);
    expect(() => chained.remove(1, FRAME + 1)).toThrow(/not on the chain/);
    expect(() => chained.map.move(FRAME, 2, 3)).toThrow(/not on the chain/);
  });

  test("keeps its invariants whatever is added, removed, moved and collapsed", () => {
    const rng = new Rng(5);
    const chained = new Chained(generation, { format: "pae", tablePlacement: "highmem", lineBytes: 64 });
    const { chains } = chained.map;
    const truth = Array.from({ length: 8 }, () => new Set<number>());
    for (let step = 1; step < 6000; step++) {
      const at = rng.below(truth.length);
      const frame = FRAME + at;
      const slots = truth[at]!;
      if (rng.chance(0.02)) chained.map.collapse(frame);
      if (rng.chance(step % 2000 < 1000 ? 0.6 : 0.4)) {
        chained.add(step, frame);
        slots.add(step);
      } else if (slots.size > 0) {
        const slot = rng.pick([...slots]);
        slots.delete(slot);
        if (rng.chance(0.3)) {
          chained.map.move(frame, slot, step);
          slots.add(step);
        } else chained.remove(slot, frame);
      }
      if (step % 20 > 0) continue;
      expect(chained.slots(frame).sort(ascending)).toEqual([...slots].sort(ascending));
      checkPicture(chains.picture(frame), slots, chains.width);
    }
    const blocks = truth.reduce((sum, _slots, at) => sum + chains.picture(FRAME + at).length, 0);
    expect(chains.memory.blocksInUse).toBe(blocks);
  });
});

const ascending = (one: number, other: number): number => one - other;

/** Only the head has free slots, which are its first ones; the others are full; what is unmapped has no blocks. */
function checkPicture(blocks: readonly number[][], slots: ReadonlySet<number>, width: number): void {
  if (slots.size === 0) expect(blocks).toEqual([]);
  if (blocks.length === 0) expect(slots.size).toBeLessThanOrEqual(1);
  const [head, ...others] = blocks;
  for (const block of others) expect(block).not.toContain(-1);
  if (head !== undefined) {
    const free = head.filter((slot) => slot === -1).length;
    expect(free).toBeLessThan(width);
    expect(head.slice(0, free)).toEqual(new Array(free).fill(-1));
    expect(others.length * width + width - free).toBe(slots.size);
  }
}

describe.each(arrays)("cache lines, %s", (generation) => {
  test("fill their head from its end on", () => {
    const chained = new Chained(generation);
    chained.addAll(9);
    expect(chained.map.chains.picture(FRAME)).toEqual([
      [-1, -1, -1, -1, -1, 8, 7],
      [6, 5, 4, 3, 2, 1, 0],
    ]);
  });
});

test("a line that says which slot is its first saves the looking for it", () => {
  const costs = arrays.map((generation) => {
    const chained = new Chained(generation);
    chained.addAll(8);
    const added = chained.map.costs.linksFollowed;
    chained.slots();
    const walked = chained.map.costs.linksFollowed - added;
    chained.remove(0);
    return [added, walked, chained.map.costs.linksFollowed - added - walked];
  });
  //  [ . . . . . . 7 ] -> [ 6 5 4 3 2 1 0 ]: one used slot of the head is visited, six free ones are passed over
  expect(costs).toEqual([
    [3 + 4 + 5 + 6 + 7 + 1, 6 + 8, 6 + 8 + 6],
    [0, 8, 8],
  ]);
});
