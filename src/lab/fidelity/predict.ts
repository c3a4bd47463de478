/** What a recording says that a native run would have counted: per process, as the kernel accounts it. */
import { PAGE_SIZE } from "../../base/units.ts";
import type { Machine } from "../../machine.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import type { Process } from "../../mm/process.ts";
import type { MachineSpec } from "../../presets.ts";
import type { Operation, ReplayObserver } from "../replay.ts";
import { type RunOptions, runTrace, TraceStudy } from "../run.ts";
import type { TraceInput } from "../trace-input.ts";
import type { ProcessCounts } from "./counts.ts";
import { nativeTrace } from "./native-trace.ts";

/** Replays `input` as it would have run natively on the kernel of `spec`. */
export async function predict(input: TraceInput, spec: MachineSpec, options: RunOptions): Promise<Prediction> {
  let census: ProcessCensus | undefined;
  const run = await runTrace("native", spec, new TraceStudy(nativeTrace(input, spec)), {
    ...options,
    observe: (machine) => {
      census = new ProcessCensus(machine);
      return census;
    },
  });
  const { differenceCount, signalCount } = run.outcome;
  return { processes: census?.counts() ?? [], differenceCount, signalCount };
}

export interface Prediction {
  readonly processes: readonly ProcessCounts[];
  /** Calls that ended otherwise than recorded, and signals that the recorded program did not get: a sound replay has none. */
  readonly differenceCount: number;
  readonly signalCount: number;
}

/** What is known of one process while it runs. */
interface Census {
  /** Minor faults before the first instruction of its program; undefined until that has run. */
  baseline: number | undefined;
  majorBaseline: number;
  tablePages: number;
  residentPages: number;
}

/** What happens to a process before its program runs. */
const loading: ReadonlySet<string> = new Set(["start", "exec", "kernel-access", "open", "read"]);

class ProcessCensus implements ReplayObserver {
  private readonly machine: Machine;
  private readonly census = new Map<Process, Census>();

  constructor(machine: Machine) {
    this.machine = machine;
  }

  before({ thread, what }: Operation): void {
    if (thread === undefined) return;
    const { process } = thread;
    const known = this.of(process);
    if (known.baseline === undefined && !loading.has(what.op)) {
      known.baseline = process.minorFaults;
      known.majorBaseline = process.majorFaults;
    }
    if (what.op !== "fault") note(known, process.mm);
    if (what.op === "exec") this.census.delete(process);
  }

  after(): void {}

  counts(): ProcessCounts[] {
    return this.machine.processes.map((process) => {
      const known = this.of(process);
      if (process.state === "alive") note(known, process.mm);
      return {
        name: process.name,
        minorFaults: process.minorFaults - (known.baseline ?? 0),
        majorFaults: process.majorFaults - known.majorBaseline,
        pageTablesBytes: known.tablePages * PAGE_SIZE,
        residentBytes: known.residentPages * PAGE_SIZE,
      };
    });
  }

  private of(process: Process): Census {
    let known = this.census.get(process);
    if (known === undefined) {
      const baseline = process.parent === null ? undefined : 0;
      known = { baseline, majorBaseline: 0, tablePages: 0, residentPages: 0 };
      this.census.set(process, known);
    }
    return known;
  }
}

/** As VmPTE and VmHWM count: all tables below the top one; pages that are present. */
function note(known: Census, mm: AddressSpace): void {
  const { tablesByLevel } = mm;
  const top = tablesByLevel.findLastIndex((tables) => tables > 0);
  const tables = tablesByLevel.slice(0, Math.max(top, 0)).reduce((sum, count) => sum + count, 0);
  known.tablePages = Math.max(known.tablePages, tables);
  known.residentPages = Math.max(known.residentPages, mm.residentPages, mm.peakResidentPages);
}
