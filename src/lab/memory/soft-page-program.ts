/**
 * What a recorded program takes on a machine: its faults, and what is read for it and stays cached; and which of its calls fail
 * where it is shown larger pages than those that it was linked for.
 */
import type { MachineSpec } from "../../presets.ts";
import type { Difference } from "../report.ts";
import { runTrace, TraceStudy } from "../run.ts";
import type { TraceInput } from "../trace-input.ts";

export interface ProgramCosts {
  readonly programFaults: number;
  readonly programPagesRead: number;
  readonly programCacheBytes: number;
  /** Calls and parts of its image that name what is no place of a page there. */
  readonly abiBreaks: number;
  readonly firstAbiBreak: string;
}

const inWords = ({ call, recorded, here }: Difference): string => `${call}: recorded ${recorded}, here ${here}`;

export async function replayProgram(spec: MachineSpec, input: TraceInput): Promise<ProgramCosts> {
  const { counters, end, outcome } = await runTrace(input.name, spec, new TraceStudy(input), { version: "" });
  return {
    programFaults: counters.minorFaults! + counters.majorFaults!,
    programPagesRead: counters.diskPagesRead!,
    programCacheBytes: end.pageCacheBytes,
    abiBreaks: outcome.abiBreaks?.count ?? 0,
    firstAbiBreak: outcome.abiBreaks === undefined ? "" : inWords(outcome.abiBreaks.first),
  };
}
