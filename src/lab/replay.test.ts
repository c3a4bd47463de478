import { describe, expect, test } from "vitest";
import { UsageError } from "../base/errors.ts";
import { Machine } from "../machine.ts";
import { type MachineSpec, specOf } from "../presets.ts";
import { cellsOf, compareCells, parseVariation, tellingCells } from "./compare.ts";
import { replay } from "./replay.ts";
import { type CompletedRun, parseReport } from "./report.ts";
import { reportCsv, reportTable } from "./report-text.ts";
import { runTrace, TraceStudy } from "./run.ts";
import { schemas } from "./schemas.ts";
import { countersOf } from "./snapshot.ts";
import type { TraceEventInput } from "./trace/event.ts";
import { type AccessKind, FETCH, LOAD, STORE } from "./trace/format.ts";
import { header, mmap, type Step, start, traceOf } from "./trace/test-trace.ts";
import type { TraceInput } from "./trace-input.ts";
import { workloadSource } from "./workloads/generator.ts";

const small = (settings: readonly string[] = []): MachineSpec => specOf("amd64-8g", undefined, settings);
const options = { version: "test" };

const run = async (steps: readonly Step[], settings: readonly string[] = []): Promise<CompletedRun> =>
  runTrace("run", small(settings), new TraceStudy(await traceOf(steps)), options);

describe("a replay", () => {
  test("puts mappings where the recorded kernel put them, and counts their faults", async () => {
    const { outcome, counters, memory, end } = await run([
      start,
      [FETCH, 0x400],
      [STORE, 0x600],
      mmap(0x1234_5000, 0x3000),
      [STORE, 0x12345],
      [STORE, 0x12347],
      { op: "exit", thread: 1, status: 0 },
    ]);
    expect(outcome).toMatchObject({ signalCount: 0, differenceCount: 0, calls: 1, skippedAccesses: 0 });
    expect(counters).toMatchObject({ accesses: 4, anonymousFaults: 3, tlbMissesInstruction: 2, signalFaults: 0 });
    // Leaf tables of the image, the heap with the mapping far above it; nothing is left at the end.
    expect(memory.pageTablesByLevelBytes[0]).toBeGreaterThanOrEqual(3 * 4096);
    expect(end.pageTablesBytes).toBe(0);
  });

  test("gives a task its SIGSEGV, ends it, and says where", async () => {
    const { outcome } = await run([start, [STORE, 0x600], [LOAD, 0x999], [STORE, 0x601], [STORE, 0x600]]);
    expect(outcome.signals).toEqual([
      { process: 1, thread: 1, signal: "SIGSEGV", why: "SEGV_MAPERR", address: 0x99_9000, record: 2 },
    ]);
    expect(outcome.skippedAccesses).toBe(3);
  });

  test("of a store to read-only memory says SEGV_ACCERR", async () => {
    const { outcome } = await run([start, [STORE, 0x400]]);
    expect(outcome.signals[0]).toMatchObject({ signal: "SIGSEGV", why: "SEGV_ACCERR" });
  });

  test("reports calls that end otherwise than in the recording", async () => {
    const { outcome } = await run([
      start,
      { op: "call", name: "munmap", args: [0x1000, 0], result: 0 },
      { op: "call", name: "mprotect", args: [0x600000, 4096, 1], result: -12 },
      { op: "call", name: "munmap", args: [0x1001, 4096], result: -22 },
    ]);
    expect(outcome.differences).toEqual([
      { record: 1, call: "munmap", recorded: "0", here: "EINVAL" },
      { record: 2, call: "mprotect", recorded: "ENOMEM", here: "0" },
    ]);
    expect(outcome.calls).toBe(3);
  });

  test("attaches a segment of shared memory for all who name it, whatever the limits of the kernel", async () => {
    const GIB = 2 ** 30;
    const file = { path: "sysv:7", sizeBytes: GIB };
    const shmat = (result: number, flags: number): TraceEventInput => ({
      op: "call",
      name: "shmat",
      args: [7, 0, flags],
      result,
      file,
    });
    const steps: readonly Step[] = [
      start,
      shmat(0x4000_0000, 0),
      [STORE, 0x40001],
      { op: "fork", child: 2, process: 2, shares: "nothing" },
      { op: "switch", thread: 2 },
      shmat(0x9000_0000, 0o10000),
      [LOAD, 0x90001],
      { op: "call", name: "shmdt", args: [0x4000_0000], result: 0 },
      [STORE, 0x90001],
      { op: "switch", thread: 1 },
      [LOAD, 0x40001],
    ];
    for (const kernel of ["linux-6.1", "linux-2.6.11"]) {
      const spec = specOf("opteron-32g", kernel);
      const { outcome, counters } = await runTrace("run", spec, new TraceStudy(await traceOf(steps)), options);
      expect(outcome).toMatchObject({ differenceCount: 0, calls: 3 });
      expect(outcome.signals).toMatchObject([{ process: 2, why: "SEGV_ACCERR", address: 0x9000_1000 }]);
      expect(counters).toMatchObject({ sharedWriteFaults: 1, signalFaults: 1 });
    }
  });

  test("follows forks: each process has its own pages and its own fate", async () => {
    const { outcome, counters } = await run([
      start,
      [STORE, 0x600],
      { op: "fork", child: 2, process: 2, shares: "nothing" },
      { op: "switch", thread: 2 },
      [STORE, 0x600],
      [LOAD, 0x999],
      { op: "switch", thread: 1 },
      [STORE, 0x600],
      { op: "exit", thread: 1, status: 0 },
    ]);
    expect(outcome.signals).toHaveLength(1);
    expect(outcome.signals[0]).toMatchObject({ process: 2 });
    expect(counters).toMatchObject({ forks: 1, exits: 2, copyOnWriteFaults: 1, pagesCopied: 1 });
  });

  test("lets threads share their memory", async () => {
    const { outcome, counters } = await run([
      start,
      { op: "fork", child: 2, process: 1, shares: "memory" },
      { op: "switch", thread: 2 },
      [STORE, 0x600],
      { op: "exit", thread: 2, status: 0, scope: "thread" },
      { op: "switch", thread: 1 },
      [STORE, 0x600],
    ]);
    expect(outcome.signalCount).toBe(0);
    expect(counters.anonymousFaults).toBe(1);
  });

  test.each(["linux-2.6.11", "linux-6.1"])(
    "learns where the break is from a program's first question (%s)",
    async (kernel) => {
      const brk = (address: number, result: number): Step => ({ op: "call", name: "brk", args: [address], result });
      const unknown: Step = { ...start, regions: [], brk: 0 };
      const study = new TraceStudy(
        await traceOf([
          unknown,
          brk(0, 0x700000),
          brk(0, 0x700000),
          brk(0x703000, 0x703000),
          [STORE, 0x702],
          [STORE, 0x703],
        ]),
      );
      const { outcome } = await runTrace("run", specOf("amd64-8g", kernel), study, options);
      expect(outcome).toMatchObject({ differenceCount: 0, signalCount: 1 });
      expect(outcome.signals[0]?.address).toBe(0x70_3000);
    },
  );

  test("touches pages for the kernel", async () => {
    const { counters } = await run([
      start,
      { op: "kernel-access", address: 0x600ff0, lengthBytes: 0x20, kind: "store" },
      [LOAD, 0x601],
    ]);
    expect(counters).toMatchObject({ kernelAccesses: 2, anonymousFaults: 2, accesses: 1 });
  });

  test("takes the peak of page tables, and the end beside it", async () => {
    const far = Array.from({ length: 10 }, (_, i) => 0x10_0000_0000 + i * 2 ** 21);
    const steps = far.flatMap((address): Step[] => [mmap(address, 4096), [STORE, address / 4096]]);
    const freed = far.map((address): Step => ({ op: "call", name: "munmap", args: [address, 4096], result: 0 }));
    const { memory, end, outcome } = await run([start, ...steps, ...freed]);
    expect(outcome.differenceCount).toBe(0);
    expect(memory.pageTablesByLevelBytes[0] - end.pageTablesByLevelBytes[0]).toBe(10 * 4096);
  });
});

describe("absorption and replay", () => {
  const loop = Array.from(
    { length: 30_000 },
    (_, i): Step => [(i % 3) as AccessKind, i % 3 === 0 ? 0x400 + ((i >> 9) & 1) : 0x600 + ((i >> 7) & 1)],
  );

  test.each(["skylake-sp", "p6", "k8", "zen4"])(
    "misses, faults and entries are the same with and without it (%s)",
    async (tlb) => {
      const whole = new Machine(small([`geometry.tlb=${tlb}`]));
      const absorbed = new Machine(small([`geometry.tlb=${tlb}`]));
      const full = await replay(whole, (await traceOf([start, ...loop], { sets: 0 })).open());
      const part = await replay(absorbed, (await traceOf([start, ...loop])).open());
      expect(part.records).toBeLessThan(full.records / 2);
      expect(part.accesses).toBe(full.accesses);
      expect(part.changesInOpenRuns).toBe(0);
      expect(countersOf(absorbed.kernel, absorbed.cpus)).toEqual(countersOf(whole.kernel, whole.cpus));
    },
  );

  test("says so where a stripped trace does not suit a TLB", async () => {
    const study = new TraceStudy(await traceOf([start, [FETCH, 0x400]], { sets: 64 }));
    const { outcome } = await runTrace("run", small(["geometry.tlb=p6"]), study, options);
    expect(outcome.absorption).toMatchObject({ sets: 64, identical: false });
    expect(outcome.absorption.sentence).toMatch(/stripped at 64 sets, and a first-level TLB of .* has \d+/);
  });
});

const source = (name: string): TraceInput => ({ name, open: () => workloadSource(name) });

describe("a comparison", () => {
  const workload = source("workload:shared-segment?size=1M&processes=3");

  test("runs the product of what is varied, the same each time", async () => {
    const cells = cellsOf(small(), ["reverseMap=none,pte-chain-e", "tlbFlush=per-page,whole-mm"].map(parseVariation));
    const report = await compareCells(workload, cells, options);
    expect(report.runs.map(({ name }) => name)).toEqual([
      "reverseMap=none, tlbFlush=per-page, reclaim=linux-2.4 (coupled), transparentPages=never (coupled)",
      "reverseMap=none, tlbFlush=whole-mm, reclaim=linux-2.4 (coupled), transparentPages=never (coupled)",
      "reverseMap=pte-chain-e, tlbFlush=per-page, transparentPages=never (coupled)",
      "reverseMap=pte-chain-e, tlbFlush=whole-mm, transparentPages=never (coupled)",
    ]);
    const again = await compareCells(workload, cells, options);
    expect(JSON.stringify(again)).toBe(JSON.stringify(report));
    expect(parseReport(JSON.parse(JSON.stringify(report)), "r.json")).toEqual(report);
    const [none, , chains] = report.runs as CompletedRun[];
    expect(none.memory.reverseMapBytes).toBe(0);
    expect(chains.memory.reverseMapBytes).toBeGreaterThan(0);
    expect(none.counters.minorFaults).toBe(chains.counters.minorFaults);
  });

  test("puts designs in columns, and one run in a row of CSV", async () => {
    const report = await compareCells(
      workload,
      cellsOf(small(), [parseVariation("reverseMap=none,object-anon")]),
      options,
    );
    const table = reportTable(report);
    expect(table).toMatch(/^ +reverseMap=none +reverseMap=object-anon$/m);
    expect(table).toMatch(/^PageTables +[\d.]+ KiB +[\d.]+ KiB$/m);
    expect(table).toMatch(/^cycles \(estimated\)/m);
    const rows = reportCsv(report).trimEnd().split("\n");
    expect(rows).toHaveLength(3);
    expect(new Set(rows.map((row) => row.replace(/"[^"]*"/g, "").split(",").length)).size).toBe(1);
  });

  test("shows a cell that cannot be built, and refuses only if none can", async () => {
    const cells = cellsOf(small(), [parseVariation("geometry.paging=i386,x86-64")]);
    const report = await compareCells(workload, cells, options);
    expect(report.runs.map(({ outcome }) => outcome.status)).toEqual(["illegal", "done"]);
    expect(reportTable(report)).toMatch(/paging=i386: illegal: .*i386 paging can address/);
    expect(() => cellsOf(small(), [parseVariation("geometry.paging=i386")])).toThrow(/nothing can be compared/);
    expect(() => cellsOf(small(), [parseVariation("reverseMap=objekt-anon")])).toThrow(/did you mean "object-anon"/);
    expect(() => parseVariation("reverseMap")).toThrow(UsageError);
  });

  test("rebases a 64-bit recording for a 32-bit machine, or refuses it with the reason", async () => {
    const spec = specOf("pae-8g");
    const fits = await compareCells(workload, [{ name: "pae", spec }], options);
    expect((fits.runs[0] as CompletedRun).outcome.rebased?.sentence).toMatch(/^addresses are rebased: \d+ areas/);
    expect((fits.runs[0] as CompletedRun).outcome.signalCount).toBe(0);
    const large = source("workload:random-updates?size=4G&updates=10");
    const cells = [
      { name: "pae", spec },
      { name: "amd64", spec: small() },
    ];
    const report = await compareCells(large, cells, options);
    expect(report.runs.map(({ outcome }) => outcome.status)).toEqual(["refused", "done"]);
  });

  test("without a wish picks machines of both widths", () => {
    const widths = tellingCells(header).map(({ spec }) => spec?.geometry.paging);
    expect(new Set(widths)).toEqual(new Set(["x86-64", "pae", "i386"]));
  });
});

test("every published schema is one of JSON Schema", () => {
  const all = schemas();
  expect(Object.keys(all)).toContain("report");
  for (const schema of Object.values(all)) expect(schema).toHaveProperty("$schema");
});
