import { describe, expect, test } from "vitest";
import { Ranges } from "./import/ranges.ts";
import { rebase, type Survey, TraceDoesNotFit } from "./rebase.ts";

const SPAN = 512;
const TASK_END = 0xc0000;

const surveyOf = (ranges: [number, number][], stacks: number[] = []): Survey => {
  const used = new Ranges();
  for (const [start, end] of ranges) used.add(start, end);
  return { used, stacks };
};
const tables = (ranges: [number, number][]): number =>
  new Set(
    ranges.flatMap(([start, end]) => Array.from({ length: end - start }, (_, i) => Math.floor((start + i) / SPAN))),
  ).size;

describe("rebasing", () => {
  const ranges: [number, number][] = [
    [0x5555_5555_4, 0x5555_5555_4 + 7],
    [0x5555_5555_4 + 20, 0x5555_5555_4 + 600],
    [0x7fff_f000_0, 0x7fff_f000_0 + 3],
    [0x7fff_f000_0 + SPAN, 0x7fff_f000_0 + SPAN + 1],
    [0x7fff_ffff_0, 0x7fff_ffff_0 + 33],
  ];
  const map = rebase(surveyOf(ranges, [0x7fff_ffff_0]), TASK_END, SPAN, "t.bmt");
  const moved = ranges.map(([start, end]): [number, number] => [map.page(start), map.page(end - 1) + 1]);

  test("keeps order, lengths and offsets within leaf tables", () => {
    moved.forEach(([start, end], i) => {
      expect(end - start).toBe(ranges[i][1] - ranges[i][0]);
      expect(start % SPAN).toBe(ranges[i][0] % SPAN);
      if (i > 0) expect(start).toBeGreaterThan(moved[i - 1][1]);
      expect(end).toBeLessThanOrEqual(TASK_END);
    });
  });

  test("needs as many leaf tables as before", () => {
    expect(tables(moved)).toBe(tables(ranges));
  });

  test("leaves room below a stack", () => {
    expect(moved[4][0] - moved[3][1]).toBeGreaterThanOrEqual(256);
  });

  test("keeps the byte within a page, and sends what was never mapped nowhere", () => {
    expect(map.address(ranges[0][0] * 4096 + 123)).toBe(moved[0][0] * 4096 + 123);
    expect(map.page(0x1234_5678_9)).toBe(1);
    expect(map.address(0)).toBe(0);
  });

  test("changes nothing that fits", () => {
    expect(rebase(surveyOf([[0x8048, 0x9000]]), TASK_END, SPAN, "t.bmt").report).toBeNull();
  });

  test("refuses what is too large, and says how large", () => {
    const huge = surveyOf([[0x7000_0000_0, 0x7000_0000_0 + 0x100000]]);
    expect(() => rebase(huge, TASK_END, SPAN, "t.bmt")).toThrow(TraceDoesNotFit);
    expect(() => rebase(huge, TASK_END, SPAN, "t.bmt")).toThrow(
      /t\.bmt: its areas need 4\.\d+ GiB of address space, and a process here has 3\.00 GiB/,
    );
  });
});

test("ranges join, split and know their gaps", () => {
  const ranges = new Ranges();
  ranges.add(10, 20);
  ranges.add(30, 40);
  ranges.add(20, 25);
  expect(ranges.within(0, 100)).toEqual([
    [10, 25],
    [30, 40],
  ]);
  ranges.remove(15, 35);
  expect(ranges.within(0, 100)).toEqual([
    [10, 15],
    [35, 40],
  ]);
  expect(ranges.gaps(0, 50)).toEqual([
    [0, 10],
    [15, 35],
    [40, 50],
  ]);
  expect([9, 10, 14, 15, 39].map((value) => ranges.has(value))).toEqual([false, true, true, false, true]);
  ranges.add(0, 100);
  expect(ranges.count).toBe(1);
});
