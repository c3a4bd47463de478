/**
 * An experiment: a claim that somebody made, where it was made, and what comes out here. One file an experiment; what
 * it shares with the others is the form of its result.
 */
import { z } from "zod";
import { UsageError } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import { parseSize } from "../../base/size-text.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import type { TraceInput } from "../trace-input.ts";

export type Value = string | number;
export type Row = Readonly<Record<string, Value>>;

/** A number that others published, or that follows from theirs. */
export interface Published {
  readonly what: string;
  readonly value: Value;
  readonly source: string;
}

/** Something that a person may change. */
export interface Parameter {
  readonly text: string;
  /** What it is, in a few words. */
  readonly about: string;
}

/** Two columns of the rows as a line for each value of a third. */
export interface Plot {
  readonly x: string;
  readonly y: string;
  readonly line: readonly string[];
  readonly xLabel: string;
  readonly yLabel: string;
  /** What the numbers of the y column are divided by, to fit its label. */
  readonly yUnit: number;
}

export interface Outcome {
  readonly rows: readonly Row[];
  /** What the rows say of the claim, in a sentence or two. */
  readonly verdict: string;
}

export interface Experiment {
  readonly name: string;
  readonly claim: string;
  readonly source: string;
  readonly parameters: Readonly<Record<string, Parameter>>;
  readonly published: readonly Published[];
  readonly plot: Plot;
  run(parameters: Readonly<Record<string, string>>, step: Step): Outcome;
  /** What a recorded program tells beside. */
  readonly replayed?: Replayed;
}

/** Columns that come from replaying a trace. */
export interface Replayed {
  /** The parameter that names it. */
  readonly parameter: string;
  columns(row: Row, parameters: Readonly<Record<string, string>>, input: TraceInput): Promise<Row>;
}

/** Told what an experiment does next. */
export type Step = (what: string) => void;

export const experimentSchema = z.strictObject({
  schema: z.literal("bigmem.experiment/1"),
  name: z.string(),
  claim: z.string(),
  source: z.string(),
  parameters: z.record(z.string(), z.string()),
  rows: z.array(z.record(z.string(), z.union([z.string(), z.number()]))),
  published: z.array(
    z.strictObject({ what: z.string(), value: z.union([z.string(), z.number()]), source: z.string() }),
  ),
  verdict: z.string(),
});
export type ExperimentResult = z.infer<typeof experimentSchema>;

/** Runs an experiment with a person's parameters over its defaults. */
export function runExperiment(
  experiment: Experiment,
  given: Readonly<Record<string, string>>,
  step: Step = () => {},
): ExperimentResult {
  const names = Object.keys(experiment.parameters);
  for (const name of Object.keys(given)) {
    if (!names.includes(name)) {
      throw new UsageError(
        `${experiment.name} has no parameter --${name}${didYouMean(name, names)}; it has ${names.join(", ")}`,
      );
    }
  }
  const defaults = Object.fromEntries(names.map((name) => [name, experiment.parameters[name]!.text]));
  const parameters = { ...defaults, ...given };
  const { rows, verdict } = experiment.run(parameters, step);
  const { name, claim, source, published } = experiment;
  return {
    schema: "bigmem.experiment/1",
    name,
    claim,
    source,
    parameters,
    rows: rows.map((row) => ({ ...row })),
    published: published.map((each) => ({ ...each })),
    verdict,
  };
}

/** The same, with what it replays a trace for: `open` finds the one of that name. */
export async function runWithTrace(
  experiment: Experiment,
  given: Readonly<Record<string, string>>,
  open: (name: string) => TraceInput,
  step: Step = () => {},
): Promise<ExperimentResult> {
  const result = runExperiment(experiment, given, step);
  const { replayed } = experiment;
  if (replayed === undefined) return result;
  const { parameters } = result;
  const input = open(parameters[replayed.parameter]!);
  const rows: ExperimentResult["rows"] = [];
  for (const [at, row] of result.rows.entries()) {
    step(`${input.name}: ${at + 1} of ${result.rows.length}`);
    rows.push({ ...row, ...(await replayed.columns(row, parameters, input)) });
  }
  return { ...result, rows };
}

/** A whole number of a parameter, at least `least`. */
export function wholeNumber(name: string, text: string, least: number): number {
  if (/^\d+$/.test(text) && Number(text) >= least) return Number(text);
  throw new UsageError(`--${name} ${text}: expected a whole number, ${least} or more`);
}

/** A size of a parameter, in pages: whole ones, at least `least`. */
export function wholePages(name: string, text: string, least = 1): number {
  const pages = parseSize(text) / PAGE_SIZE;
  if (Number.isInteger(pages) && pages >= least) return pages;
  throw new UsageError(`--${name} ${text}: expected whole pages${least > 1 ? `, ${least} or more` : ""}`);
}

/** "100..2000" (in steps of its first number), "100..2000:50", or "100,200,500". */
export function steps(name: string, text: string): number[] {
  const range = /^(\d+)\.\.(\d+)(?::(\d+))?$/.exec(text);
  if (range !== null) {
    const [first, last, step] = [Number(range[1]), Number(range[2]), Number(range[3] ?? range[1])];
    if (first >= 1 && last >= first && step >= 1 && (last - first) / step <= MOST_STEPS) {
      return Array.from({ length: Math.floor((last - first) / step) + 1 }, (_, at) => first + at * step);
    }
  } else if (/^\d+(,\d+)*$/.test(text)) {
    const numbers = text.split(",").map(Number);
    if (numbers.length <= MOST_STEPS && numbers.every((number, at) => number > (numbers[at - 1] ?? 0))) return numbers;
  }
  throw new UsageError(
    `--${name} ${text}: expected FIRST..LAST (in steps of FIRST), FIRST..LAST:STEP or rising numbers N,N,...; at most ${MOST_STEPS} steps`,
  );
}

const MOST_STEPS = 1000;
