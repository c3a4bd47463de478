import { describe, expect, test } from "vitest";
import { Rng } from "../../base/rng.ts";
import { MISS, TlbArray } from "../../hw/tlb-array.ts";
import { Absorber } from "./absorb.ts";
import { type AccessKind, COUNT_ONE, FETCH, MAX_RUN, recordCount, STORE } from "./format.ts";

type Access = readonly [AccessKind, number];

/** What is left of a stream after absorption, as (kind, page, count). */
function absorbed(stream: readonly Access[], sets: number): [AccessKind, number, number][] {
  const words = new Uint32Array(stream.length);
  const records: [AccessKind, number, number][] = [];
  const absorber = new Absorber(sets);
  for (const [kind, page] of stream) {
    if (absorber.absorb(words, kind, page, 1) === 0) continue;
    absorber.open(kind, page, records.length);
    words[records.length] = 0;
    records.push([kind, page, 0]);
  }
  return records.map(([kind, page], i) => [kind, page, recordCount(words[i])]);
}

/** The rule as design states it for one slot, with nothing clever. */
function byRule(stream: readonly Access[]): [AccessKind, number, number][] {
  const records: [AccessKind, number, number][] = [];
  const lastOf = (kinds: readonly AccessKind[], until: number): number | undefined => {
    for (let i = until - 1; i >= 0; i--) if (kinds.includes(stream[i][0])) return stream[i][1];
    return undefined;
  };
  stream.forEach(([kind, page], i) => {
    const hit = kind === FETCH ? lastOf([FETCH], i) === page : lastOf([1, 2], i) === page && lastOf([kind], i) === page;
    const open = records.findLast((record) => record[0] === kind);
    if (hit && open !== undefined && open[2] < MAX_RUN) open[2]++;
    else records.push([kind, page, 1]);
  });
  return records;
}

const randomStream = (seed: number, length: number, pages: number): Access[] => {
  const rng = new Rng(seed);
  let page = 0;
  return Array.from({ length }, () => {
    if (rng.chance(0.4)) page = rng.below(pages);
    return [rng.below(3) as AccessKind, page] as const;
  });
};

/** First-level misses by kind, and what each array holds at the end, of the whole stream or of its records. */
function simulate(
  stream: readonly Access[],
  shape: { entries: number; ways: number | "full" },
  replacement: "lru" | "tree-plru",
  arrays: "shared" | "split",
) {
  const fetch = new TlbArray(shape, replacement);
  const load = new TlbArray(shape, replacement);
  const store = arrays === "split" ? new TlbArray(shape, replacement) : load;
  const misses = [0, 0, 0];
  for (const [kind, page] of stream) {
    const array = [fetch, load, store][kind];
    if (array.find(page) !== MISS) continue;
    misses[kind]++;
    array.insert(page, page, 0, array.ways);
  }
  const pages = [...new Set(stream.map(([, page]) => page))].sort((a, b) => a - b);
  return { misses, held: [fetch, load, store].map((array) => pages.filter((page) => array.peek(page) !== MISS)) };
}

describe("absorption with one slot", () => {
  test.each([1, 2, 3, 4, 5])("is the rule, no more and no less (stream %i)", (seed) => {
    const stream = randomStream(seed, 3000, 5);
    expect(absorbed(stream, 1)).toEqual(byRule(stream));
  });

  test("ends a run at 4096 accesses", () => {
    const stream = Array.from({ length: 2 * MAX_RUN + 1 }, (): Access => [STORE, 3]);
    expect(absorbed(stream, 1)).toEqual([
      [STORE, 3, MAX_RUN],
      [STORE, 3, MAX_RUN],
      [STORE, 3, 1],
    ]);
    expect(COUNT_ONE * MAX_RUN).toBe(1 << 14);
  });

  test("absorbs nothing with no slot", () => {
    const stream = randomStream(7, 100, 1);
    expect(absorbed(stream, 0).length).toBe(100);
  });
});

describe.each([
  [1, { entries: 8, ways: "full" as const }],
  [1, { entries: 16, ways: 4 }],
  [4, { entries: 16, ways: 4 }],
  [4, { entries: 32, ways: 4 }],
  [16, { entries: 64, ways: 4 }],
])("stripped at %i sets, for a TLB of %o", (sets, shape) => {
  test.each([
    ["lru", "shared"],
    ["lru", "split"],
    ["tree-plru", "shared"],
    ["tree-plru", "split"],
  ] as const)("%s, loads and stores %s: misses and contents are those of the whole stream", (replacement, arrays) => {
    for (const seed of [11, 12, 13]) {
      const stream = randomStream(seed, 20_000, 150);
      const records = absorbed(stream, sets);
      expect(records.length).toBeLessThan(stream.length);
      const whole = simulate(stream, shape, replacement, arrays);
      const stripped = simulate(
        records.map(([kind, page]) => [kind, page]),
        shape,
        replacement,
        arrays,
      );
      expect(stripped).toEqual(whole);
    }
  });
});

test("stripping at more sets than a TLB has is not exact: the check above can fail", () => {
  const stream = randomStream(11, 20_000, 150);
  const records = absorbed(stream, 64).map(([kind, page]): Access => [kind, page]);
  const shape = { entries: 16, ways: 4 };
  expect(simulate(records, shape, "lru", "shared").misses).not.toEqual(simulate(stream, shape, "lru", "shared").misses);
});
