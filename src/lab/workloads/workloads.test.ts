import { describe, expect, test } from "vitest";
import { UsageError } from "../../base/errors.ts";
import { traceInfo } from "../trace/info.ts";
import { workloads } from "./definitions.ts";
import { isWorkload, workloadSource } from "./generator.ts";

/** Each made small. */
const smaller: Readonly<Record<string, string>> = {
  "random-updates": "size=1M&updates=5000",
  "shared-segment": "size=256K&processes=3",
  "fork-storm": "size=256K&processes=5",
  "mmap-churn": "rounds=200&most=64K",
  "file-scan": "size=256K&scans=3",
  "working-set": "size=1M&touches=5000",
  "execute-in-place": "size=256K&processes=3",
};

describe.each([...workloads.keys()])("%s", (name) => {
  const open = () => workloadSource(`workload:${name}?${smaller[name]}`);

  test("is a whole trace: the same each time, of processes that start and exit", async () => {
    const [once, again] = [await traceInfo(open()), await traceInfo(open())];
    expect(again).toEqual(once);
    expect(once.accesses).toBeGreaterThan(70);
    expect(once.events.exit).toBe(once.processes);
  });

  test("has another hash with another seed or size", () => {
    const other = workloadSource(`workload:${name}?${smaller[name]}&seed=2`);
    expect(other.hash).not.toBe(open().hash);
  });
});

test("touches as many pages as its parameters say", async () => {
  const info = await traceInfo(workloadSource("workload:shared-segment?size=1M&processes=4&touched=50%"));
  // The parent writes all 256 pages, its stack and its image one each; each child reads half.
  expect(info.distinctPages).toBe(256 + 2 + 4 * 128);
  expect(info.processes).toBe(5);
});

test("names that are wrong are refused with the nearest", () => {
  expect(isWorkload("sort.bmt")).toBe(false);
  expect(() => workloadSource("workload:fork-strom")).toThrow('did you mean "fork-storm"?');
  expect(() => workloadSource("workload:fork-storm?proceses=3")).toThrow('did you mean "processes"?');
  for (const bad of ["processes=-1", "processes=1.5", "processes", "written=2", "size=lots", "seed=x"]) {
    expect(() => workloadSource(`workload:fork-storm?${bad}`), bad).toThrow(UsageError);
  }
});
