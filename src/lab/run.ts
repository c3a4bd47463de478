/** One run: a trace on one machine, from its record to its place in a report. */
import { costTableOf, diskModelOf, type Geometry, tlbShapeOf } from "../geometry.ts";
import { Machine } from "../machine.ts";
import type { MachineSpec } from "../presets.ts";
import { estimate } from "./estimate.ts";
import { type AddressMap, rebase, type Survey, surveyTrace, unmoved } from "./rebase.ts";
import { type ReplayObserver, type ReplayOptions, type ReplayResult, replay } from "./replay.ts";
import type { CompletedRun } from "./report.ts";
import { countersOf } from "./snapshot.ts";
import type { ChunkSource } from "./trace/chunk.ts";
import type { TraceHeader } from "./trace/format.ts";
import type { TraceInput } from "./trace-input.ts";

/** What the host's clock and memory say. Injected: there is no clock below the command line. */
export interface HostMeter {
  seconds(): number;
  peakRssBytes(): number;
}

export interface RunOptions {
  /** The version of bigmem, for the report. */
  readonly version: string;
  readonly host?: HostMeter;
  readonly progress?: (records: number, accesses: number) => void;
  /** Makes the one who watches the run, once its machine is there. */
  readonly observe?: (machine: Machine) => ReplayObserver;
}

/** Remembers what was found out about a trace, for those who run it on several machines. */
export class TraceStudy {
  readonly input: TraceInput;
  private surveyed: Promise<Survey> | undefined;
  private head: Promise<TraceHeader> | undefined;
  /** What the header was read from: it goes on where it is, so that one run needs one pass. */
  private begun: ChunkSource | undefined;

  constructor(input: TraceInput) {
    this.input = input;
  }

  header(): Promise<TraceHeader> {
    if (this.head === undefined) {
      this.begun = this.input.open();
      this.head = this.begun.header();
    }
    return this.head;
  }

  /** The trace from its first chunk on. */
  open(): ChunkSource {
    const source = this.begun ?? this.input.open();
    this.begun = undefined;
    return source;
  }

  survey(): Promise<Survey> {
    this.surveyed ??= surveyTrace(this.input);
    return this.surveyed;
  }
}

/** The header of a trace, and nothing else of it. */
export async function headerOf(input: TraceInput): Promise<TraceHeader> {
  const source = input.open();
  try {
    return await source.header();
  } finally {
    await source.close?.();
  }
}

/** The map that a trace needs on a machine: none where addresses are wide enough. */
async function addressMapFor(study: TraceStudy, machine: Machine): Promise<AddressMap> {
  const { format, layout } = machine.kernel;
  if (format.vaddrBits > 32) return unmoved;
  return rebase(await study.survey(), layout.taskEnd, format.span(1), study.input.name);
}

/** Runs the trace on a new machine. Throws UsageError if the trace is bad or cannot run there. */
export async function runTrace(
  name: string,
  spec: MachineSpec,
  study: TraceStudy,
  options: RunOptions,
): Promise<CompletedRun> {
  const header = await study.header();
  const source = study.open();
  try {
    return await runSource(name, spec, study, source, header, options);
  } finally {
    await source.close?.();
  }
}

async function runSource(
  name: string,
  spec: MachineSpec,
  study: TraceStudy,
  source: ChunkSource,
  header: TraceHeader,
  options: RunOptions,
): Promise<CompletedRun> {
  const machine = new Machine(spec);
  const map = await addressMapFor(study, machine);
  const watched: ReplayOptions = {
    ...(options.progress === undefined ? {} : { progress: options.progress }),
    ...(options.observe === undefined ? {} : { observer: options.observe(machine) }),
  };
  const started = options.host?.seconds() ?? 0;
  const result = await replay(machine, source, { map, ...watched });
  const seconds = (options.host?.seconds() ?? 0) - started;
  const counters: Record<string, number> = {
    accesses: result.accesses,
    records: result.records,
    calls: result.calls,
    kernelAccesses: result.kernelAccesses,
    ...countersOf(machine.kernel, machine.cpus),
  };
  const faults = counters.minorFaults + counters.majorFaults;
  const rate = (count: number): number => (seconds > 0 ? count / seconds : 0);
  return {
    name,
    spec: {
      bigmem: options.version,
      geometry: spec.geometry,
      design: spec.design,
      tunables: spec.tunables,
      kernel: spec.kernel,
      seed: spec.seed,
      trace: { name: study.input.name, hash: source.hash, header },
    },
    outcome: outcomeOf(result, map, header, spec.geometry),
    counters,
    memory: result.peak,
    end: result.end,
    estimated: estimate(
      { ...counters, ...entryCosts(spec.geometry, counters) },
      costTableOf(spec.geometry),
      diskModelOf(spec.geometry),
    ),
    ...(options.host === undefined
      ? {}
      : {
          host: {
            seconds,
            peakRssBytes: options.host.peakRssBytes(),
            accessesPerSecond: rate(result.accesses),
            recordsPerSecond: rate(result.records),
            faultsPerSecond: rate(faults),
          },
        }),
  };
}

/**
 * With a 4:4 split each way into the kernel, and each way back, loads the page-table root. The misses that follow are
 * not in the estimate.
 */
function entryCosts({ split }: Geometry, counters: Readonly<Record<string, number>>): Record<string, number> {
  if (split !== "4:4") return {};
  const ways = ["minorFaults", "majorFaults", "signalFaults", "spuriousFaults", "calls"];
  return { splitReloads: 2 * ways.reduce((sum, way) => sum + (counters[way] ?? 0), 0) };
}

function outcomeOf(
  result: ReplayResult,
  map: AddressMap,
  { sets }: TraceHeader,
  geometry: Geometry,
): CompletedRun["outcome"] {
  const { changesInOpenRuns } = result;
  const misfit = sets > 1 ? misfitOf(geometry, sets) : undefined;
  const sentence =
    misfit ??
    (changesInOpenRuns === 0
      ? "counts are those of every access, one by one"
      : `translations changed ${changesInOpenRuns} times while runs were open: TLB misses may be more by up to ${changesInOpenRuns * Math.max(sets, 1) * 3}`);
  return {
    status: "done",
    signals: [...result.signals],
    signalCount: result.signalCount,
    skippedAccesses: result.skippedAccesses,
    differences: [...result.differences],
    differenceCount: result.differenceCount,
    ...(result.abiBreaks === null ? {} : { abiBreaks: result.abiBreaks }),
    calls: result.calls,
    rebased: map.report === null ? null : { ...map.report },
    absorption: { sets, changesInOpenRuns, identical: misfit === undefined && changesInOpenRuns === 0, sentence },
  };
}

/** Why a trace stripped at `sets` is not exact for a geometry's TLB; undefined if it is. */
function misfitOf(geometry: Geometry, sets: number): string | undefined {
  const shape = tlbShapeOf(geometry);
  const first = [...shape.instruction, ...shape.load, ...(shape.store ?? [])];
  const smalls = first.filter(({ pages }) => pages.includes("4K"));
  const bad = smalls.find(({ entries, ways }) => (ways === "full" ? 1 : entries / ways) % sets !== 0);
  if (bad === undefined) return undefined;
  const found = bad.ways === "full" ? 1 : bad.entries / bad.ways;
  return `the trace is stripped at ${sets} sets, and a first-level TLB of ${shape.name} has ${found}: its TLB misses are not exact`;
}
