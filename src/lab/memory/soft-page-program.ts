/** What a recorded program takes on a machine: its faults, and what is read for it and stays cached. */
import type { MachineSpec } from "../../presets.ts";
import { runTrace, TraceStudy } from "../run.ts";
import type { TraceInput } from "../trace-input.ts";

export interface ProgramCosts {
  readonly programFaults: number;
  readonly programPagesRead: number;
  readonly programCacheBytes: number;
}

export async function replayProgram(spec: MachineSpec, input: TraceInput): Promise<ProgramCosts> {
  const { counters, end } = await runTrace(input.name, spec, new TraceStudy(input), { version: "" });
  return {
    programFaults: counters.minorFaults! + counters.majorFaults!,
    programPagesRead: counters.diskPagesRead!,
    programCacheBytes: end.pageCacheBytes,
  };
}
