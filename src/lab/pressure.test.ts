/** Comparisons on machines that are short of memory: what reports say of reclaim, and what becomes of who dies of it. */
import { describe, expect, test } from "vitest";
import { specOf } from "../presets.ts";
import { cellsOf, compareCells, parseVariation } from "./compare.ts";
import { measures } from "./measures.ts";
import type { CompletedRun } from "./report.ts";
import { reportCsv, reportTable } from "./report-text.ts";
import type { TraceInput } from "./trace-input.ts";
import { workloadSource } from "./workloads/generator.ts";

const workload: TraceInput = {
  name: "shared-segment",
  open: () => workloadSource("workload:shared-segment?size=8M&processes=3"),
};
const every =
  "none,pte-chain-a,pte-chain-b,pte-chain-e,object-chain-convert,object-chain-incremental,object-anon,anonmm";

const compare = (settings: readonly string[], variation: string) => {
  const base = specOf("piii-4g", "linux-2.6.11", ["geometry.cpus=1", ...settings]);
  return compareCells(workload, cellsOf(base, [parseVariation(variation)]), { version: "test" });
};
const measure = (run: CompletedRun, key: string): number | undefined =>
  measures.find((each) => each.key === key)?.of(run);
const reclaimKeys = measures.filter(({ group }) => group === "reclaim").map(({ key }) => key);

describe("a machine that is short of memory", async () => {
  const report = await compare(["geometry.memory=12M", "geometry.swap=32M"], `reverseMap=${every}`);
  const runs = report.runs as CompletedRun[];
  const of = (name: string) => runs.find((run) => run.name.startsWith(`reverseMap=${name}`))!;

  test("runs the trace to its end on every reverse map, with reclaim that suits it", () => {
    expect(runs.map(({ outcome }) => outcome.status)).toEqual(every.split(",").map(() => "done"));
    expect(runs.map(({ outcome }) => outcome.signalCount)).toEqual(runs.map(() => 0));
    expect(of("none").name).toBe("reverseMap=none, reclaim=linux-2.4 (coupled)");
    expect(of("none").spec.design.reclaim).toBe("linux-2.4");
    expect(of("pte-chain-a").spec.design.reclaim).toBe("linux-2.6");
  });

  test("says what reclaim did, under keys that are the same for all", () => {
    for (const run of runs) {
      for (const key of ["kswapdTurns", "pagesScanned", "pagesFreed", "reclaimEntriesVisited", "pagesSwappedOut"])
        expect(measure(run, key), `${run.name}: ${key}`).toBeGreaterThan(0);
      const { reclaimEntriesVisited, reclaimPagesFreed } = run.counters as Record<string, number>;
      expect(measure(run, "entriesVisitedPerPageFreed")).toBe(reclaimEntriesVisited! / reclaimPagesFreed!);
      expect(measure(run, "oomKills")).toBe(0);
    }
    const table = reportTable(report);
    for (const name of ["pages scanned", "pages freed", "PTEs visited", "  per page freed", "pages swapped out"])
      expect(table).toContain(`\n${name} `);
    expect(table).not.toContain("OOM kills");
    expect(reportCsv(report).split("\n")[0]).toContain(reclaimKeys.join(","));
  });

  test("charges chains to faults and forks, and searches to questions", () => {
    expect(measure(of("pte-chain-e"), "lowmemReverseMapBytes")).toBeGreaterThan(0);
    expect(measure(of("pte-chain-e"), "reverseMapLinksPerFault")).toBeGreaterThan(0);
    expect(measure(of("object-anon"), "lowmemReverseMapBytes")).toBe(0);
    expect(measure(of("object-anon"), "reverseMapAreasVisited")).toBeGreaterThan(0);
    expect(measure(of("pte-chain-e"), "reverseMapAreasVisited")).toBe(0);
    for (const run of runs) expect(measure(run, "ptesCopiedPerFork")).toBeGreaterThan(0);
    expect(measure(of("none"), "entriesVisitedPerPageFreed")).toBeGreaterThan(
      measure(of("pte-chain-e"), "entriesVisitedPerPageFreed")!,
    );
  });
});

test("whoever is killed for memory is told of, and the rest goes on", async () => {
  const report = await compare(
    ["geometry.memory=12M", "tunables.overcommitMode=1"],
    "reverseMap=none,pte-chain-e,object-anon",
  );
  for (const run of report.runs as CompletedRun[]) {
    expect(run.outcome.status).toBe("done");
    expect(run.counters.oomKills).toBeGreaterThan(0);
    const [first] = run.outcome.signals;
    expect(first).toMatchObject({
      signal: "SIGKILL",
      why: expect.stringMatching(/^killed for its memory, \d+ pages$/),
    });
    expect(run.outcome.skippedAccesses).toBeGreaterThan(0);
  }
  expect(reportTable(report)).toContain("\nOOM kills ");
});

test("where memory is plenty, no word of reclaim", async () => {
  const report = await compare(["geometry.memory=256M"], "reverseMap=pte-chain-e,object-anon");
  const table = reportTable(report);
  for (const { name } of measures.filter(({ group }) => group === "reclaim")) expect(table).not.toContain(`\n${name} `);
});
