/** A real run beside its prediction: faults of all processes together, memory of the largest one. */
import { type Cause, causes } from "./causes.ts";
import type { ProcessCounts } from "./counts.ts";

export interface ComparedMeasure {
  readonly name: string;
  readonly real: number;
  readonly predicted: number;
  /** Greatest error that a recording is held to, as a part of the real value; null: none. */
  readonly tolerance: number | null;
}

const FAULT_TOLERANCE = 0.01;
const EXACT = 0;
const KIB = 1024;

export function compareCounts(real: readonly ProcessCounts[], predicted: readonly ProcessCounts[]): ComparedMeasure[] {
  const sum = (of: (counts: ProcessCounts) => number): [number, number] => [total(real, of), total(predicted, of)];
  const most = (of: (counts: ProcessCounts) => number): [number, number] => [
    Math.max(0, ...real.map(of)) / KIB,
    Math.max(0, ...predicted.map(of)) / KIB,
  ];
  const measure = (name: string, [mine, model]: [number, number], tolerance: number | null): ComparedMeasure => ({
    name,
    real: mine,
    predicted: model,
    tolerance,
  });
  return [
    measure(
      "minor faults",
      sum(({ minorFaults }) => minorFaults),
      FAULT_TOLERANCE,
    ),
    measure(
      "peak VmPTE (KiB)",
      most(({ pageTablesBytes }) => pageTablesBytes),
      EXACT,
    ),
    measure(
      "peak resident (KiB)",
      most(({ residentBytes }) => residentBytes),
      null,
    ),
  ];
}

const total = (all: readonly ProcessCounts[], of: (counts: ProcessCounts) => number): number =>
  all.reduce((sum, counts) => sum + of(counts), 0);

/** The prediction's error as a part of the real value. */
export const errorOf = ({ real, predicted }: ComparedMeasure): number =>
  real === predicted ? 0 : real === 0 ? Number.POSITIVE_INFINITY : (predicted - real) / real;

export const isWithin = (measure: ComparedMeasure): boolean =>
  measure.tolerance === null || Math.abs(errorOf(measure)) <= measure.tolerance;

export interface ComparedProgram {
  readonly trace: string;
  readonly measures: readonly ComparedMeasure[];
  readonly causes: readonly Cause[];
  /** Why there are no measures. */
  readonly unmeasured?: string;
}

/** One row a measure: program, measure, real, predicted, error, cause. */
export function comparisonRows(program: ComparedProgram): string[][] {
  const { trace, measures, unmeasured } = program;
  if (unmeasured !== undefined) return [[trace, "-", "-", "-", "-", unmeasured]];
  return measures.map((measure, i) => {
    const error = errorOf(measure);
    const cause = error === 0 ? "" : program.causes.join(", ") || "not known";
    return [
      i === 0 ? trace : "",
      measure.name,
      String(measure.real),
      String(measure.predicted),
      errorText(error),
      cause,
    ];
  });
}

const errorText = (error: number): string =>
  error === 0 ? "0" : `${error > 0 ? "+" : "-"}${(Math.abs(error) * 100).toFixed(2)} %`;

/** The sentences behind the causes that `programs` name. */
export const causeSentences = (programs: readonly ComparedProgram[]): string[] => {
  const named = new Set(programs.flatMap((program) => program.causes));
  return (Object.keys(causes) as Cause[])
    .filter((cause) => named.has(cause))
    .map((cause) => `${cause}: ${causes[cause]}`);
};
