/** What reports say of huge pages that nobody asked for: how much they map, what of it nobody touched, and what is left free together. */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../base/units.ts";
import { specOf } from "../presets.ts";
import { cellsOf, compareCells, parseVariation } from "./compare.ts";
import { measures } from "./measures.ts";
import { freeContiguity } from "./memory-shape.ts";
import type { CompletedRun } from "./report.ts";
import { reportTable } from "./report-text.ts";
import { LOAD, STORE } from "./trace/format.ts";
import { mmap, type Step, start, traceOf } from "./trace/test-trace.ts";

const HUGE = 512;
/** An area's address: at the start of a huge page. */
const AREA = 0x10_0000_0000;
const FIRST = AREA / PAGE_SIZE;
const BYTES = HUGE * PAGE_SIZE;

const compare = async (steps: readonly Step[], variation = "transparentPages=never,always") => {
  const base = specOf("amd64-8g", undefined, ["geometry.cpus=1"]);
  return compareCells(await traceOf([start, ...steps]), cellsOf(base, [parseVariation(variation)]), {
    version: "test",
  });
};
const runs = async (steps: readonly Step[]): Promise<readonly [never: CompletedRun, always: CompletedRun]> => {
  const [never, always] = (await compare(steps)).runs as CompletedRun[];
  for (const { outcome } of [never!, always!])
    expect([outcome.differenceCount, outcome.signalCount, outcome.skippedAccesses]).toEqual([0, 0, 0]);
  return [never!, always!];
};
const measure = (run: CompletedRun, key: string): number | undefined =>
  measures.find((one) => one.key === key)!.of(run);
const untouchedPages = ({ end }: CompletedRun): number => end.anonHugeUntouchedBytes / PAGE_SIZE;

const munmap: Step = { op: "call", name: "munmap", args: [AREA, BYTES], result: 0 };
const stores = (...pages: number[]): Step[] => pages.map((page) => [STORE, FIRST + page]);

describe("a program that writes to one page in sixteen", () => {
  const steps = [mmap(AREA, 4 * BYTES), ...stores(...Array.from({ length: 128 }, (_, at) => 16 * at))];

  test("has all of its huge pages resident, and has touched as much as with small ones", async () => {
    const [never, always] = await runs(steps);
    expect(always.memory.anonHugeBytes).toBe(4 * BYTES);
    expect(untouchedPages(always)).toBe(4 * HUGE - 128);
    expect(measure(always, "anonHugeUntouchedBytes")).toBe((4 * HUGE - 128) * PAGE_SIZE);
    expect(always.end.residentBytes - never.end.residentBytes).toBe(always.end.anonHugeUntouchedBytes);
    expect(never.memory.anonymousByPageSize).toEqual([{ pageBytes: PAGE_SIZE, bytes: 128 * PAGE_SIZE }]);
    expect(always.memory.anonymousByPageSize).toEqual([
      { pageBytes: PAGE_SIZE, bytes: 0 },
      { pageBytes: BYTES, bytes: 4 * BYTES },
    ]);
    expect([measure(never, "anonHugeCoverage"), measure(always, "anonHugeCoverage")]).toEqual([0, 100]);
  });

  test("is told of where huge pages were wanted, and nowhere else", async () => {
    const shown = ["AnonHugePages", "  of anonymous RSS", "  never touched (bloat)", "  in blocks of a huge page"];
    const table = reportTable(await compare(steps));
    for (const name of shown) expect(table).toContain(`\n${name} `);
    expect(table).toMatch(/^ {2}of anonymous RSS +0 % +100 %$/m);
    expect(table).toMatch(/^ {2}never touched \(bloat\) +- +7.50 MiB$/m);
    const plain = reportTable(await compare(steps, "transparentPages=never,madvise"));
    for (const name of shown) expect(plain).not.toContain(name);
  });
});

describe("what is touched", () => {
  test("is what the records access, again after it was unmapped", async () => {
    const all = stores(...Array.from({ length: HUGE }, (_, at) => at));
    const [, always] = await runs([mmap(AREA, BYTES), ...all, munmap, mmap(AREA, BYTES), ...stores(7, 8, 7)]);
    expect(always.end.anonHugeBytes).toBe(BYTES);
    expect(untouchedPages(always)).toBe(HUGE - 2);
  });

  test("is what the kernel accesses for a program, too", async () => {
    const [, always] = await runs([
      mmap(AREA, BYTES),
      ...stores(0),
      { op: "kernel-access", address: AREA + 5 * PAGE_SIZE - 1, lengthBytes: 2, kind: "store" },
    ]);
    expect(untouchedPages(always)).toBe(HUGE - 3);
  });

  test("is what a child has read, before it writes and has a copy of its own", async () => {
    const [, always] = await runs([
      mmap(AREA, BYTES),
      ...stores(0),
      { op: "fork", child: 2, process: 2, shares: "nothing" },
      { op: "switch", thread: 2 },
      [LOAD, FIRST + 5],
      ...stores(5, 6),
      { op: "exit", thread: 2, scope: "process", status: 0 },
      { op: "switch", thread: 1 },
      [LOAD, FIRST],
    ]);
    expect(untouchedPages(always)).toBe(HUGE - 2);
  });

  test("does not hold what a signal came for", async () => {
    const [never, always] = (await compare([mmap(AREA, BYTES), ...stores(1, 2), [STORE, 0x123], ...stores(3)]))
      .runs as CompletedRun[];
    for (const { outcome } of [never!, always!]) expect([outcome.signalCount, outcome.skippedAccesses]).toEqual([1, 2]);
    expect(always!.memory.anonHugeUntouchedBytes).toBe((HUGE - 2) * PAGE_SIZE);
  });
});

test("what is free together is what lies in large blocks", () => {
  expect(freeContiguity([], 9)).toBeUndefined();
  expect(freeContiguity([512, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 9)).toBe(0);
  expect(freeContiguity([512, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], 9)).toBe(75);
  expect(freeContiguity([512, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1], 10)).toBe(50);
});
