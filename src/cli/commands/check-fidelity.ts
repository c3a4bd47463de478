/** `bigmem check fidelity`: what a recording predicts of a native run, beside what a real kernel counted in one. */
import { existsSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { possibleCauses } from "../../lab/fidelity/causes.ts";
import {
  type ComparedProgram,
  causeSentences,
  compareCounts,
  comparisonRows,
  isWithin,
} from "../../lab/fidelity/compare-counts.ts";
import { type MeasuredFile, type MeasuredProgram, measuredFileSchema } from "../../lab/fidelity/measured.ts";
import { predict } from "../../lab/fidelity/predict.ts";
import { headerOf } from "../../lab/run.ts";
import type { TraceInput } from "../../lab/trace-input.ts";
import { measure } from "../fidelity/measure.ts";
import { readText, reason } from "../files.ts";
import { chosenSpec, type MachineOptions, withMachine } from "../machines.ts";
import { traceInput } from "../sources.ts";
import { examples, print } from "../text.ts";
import { version } from "../version.ts";

/** A prediction is further off than recordings are held to. */
const FOUND = 1;
/** What recordings are compared with were counted on this kernel. */
const KERNEL = "linux-6.18";
const MACHINE = "amd64-8g";

interface FidelityOptions extends MachineOptions {
  measure?: true;
  measured?: string;
  json?: true;
}

export function checkFidelity(): Command {
  return withMachine(
    new Command("fidelity")
      .description("predict a native run from a recording, and compare with what a real kernel counted")
      .argument("<trace...>", "recordings (.bmt)"),
  )
    .option("--measure", "run the recorded command on the Linux underneath now; needs a C compiler")
    .option("--measured <FILE>", "counts of real runs; by default measured.json beside the trace")
    .option("--json", "the comparison as JSON")
    .addHelpText(
      "after",
      examples(
        "bigmem check fidelity samples/sort.bmt samples/python-fork.bmt",
        "bigmem record -o ls.bmt -- ls -l /usr/bin && bigmem check fidelity ls.bmt --measure",
      ),
    )
    .action(async (traces: string[], options: FidelityOptions) => {
      const compared: ComparedProgram[] = [];
      for (const trace of traces) compared.push(await compareTrace(traceInput(trace), options));
      if (options.json === true) print(JSON.stringify(compared, null, 2));
      else print(comparisonText(compared));
      if (!compared.every((program) => program.measures.every(isWithin))) process.exitCode = FOUND;
    });
}

async function compareTrace(input: TraceInput, options: FidelityOptions): Promise<ComparedProgram> {
  const trace = basename(input.name);
  const real = options.measure === true ? await measuredNow(input) : measuredBefore(input.name, options.measured);
  if (real.unmeasured !== undefined) return { trace, measures: [], causes: [], unmeasured: real.unmeasured };
  const spec = chosenSpec({ ...options, machine: options.machine ?? MACHINE, kernel: options.kernel ?? KERNEL });
  const { processes } = await predict(input, spec, { version });
  const causes = real.causes.length === 0 ? possibleCauses : real.causes;
  return { trace, measures: compareCounts(real.processes, processes), causes };
}

type RealRun = Pick<MeasuredProgram, "processes" | "unmeasured" | "causes">;

async function measuredNow(input: TraceInput): Promise<RealRun> {
  const { command, recorder } = await headerOf(input);
  if (command.length === 0) throw new UsageError(`${input.name}: no command to measure: it is by ${recorder}`);
  return { processes: measure(command), causes: [] };
}

/** What the file beside the trace says of it. */
function measuredBefore(trace: string, given: string | undefined): RealRun {
  const path = given ?? join(dirname(trace), "measured.json");
  if (given === undefined && !existsSync(path))
    throw new UsageError(`${trace}: nobody has measured it: there is no ${path}; --measure runs its command now`);
  const program = readMeasured(path).programs.find((each) => each.trace === basename(trace));
  if (program !== undefined) return program;
  throw new UsageError(`${path}: says nothing of ${basename(trace)}; --measure runs its command now`);
}

export function readMeasured(path: string): MeasuredFile {
  let json: unknown;
  try {
    json = JSON.parse(readText(path));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${path}: is not JSON: ${reason(error)}`);
  }
  const parsed = measuredFileSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  throw new UsageError(`${path}: ${issue?.path.join(".")}: ${issue?.message}`);
}

function comparisonText(programs: readonly ComparedProgram[]): string {
  const rows = [["recording", "measure", "real", "predicted", "error", "cause"], ...programs.flatMap(comparisonRows)];
  const widths = rows[0].map((_, column) => Math.max(...rows.map((row) => row[column].length)));
  const isNumber = (column: number): boolean => column >= 2 && column <= 4;
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === row.length - 1 ? cell : isNumber(i) ? cell.padStart(widths[i]) : cell.padEnd(widths[i])))
      .join("  ")
      .trimEnd(),
  );
  const sentences = causeSentences(
    programs.filter(({ measures }) => measures.some(({ real, predicted }) => real !== predicted)),
  );
  return [...lines, ...(sentences.length === 0 ? [] : ["", ...sentences])].join("\n");
}
