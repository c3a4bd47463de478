/** `bigmem matrix`: builds and stresses the twenty kernels that the highpte patch was tested with. */
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { stressKernels } from "../../check/stress/kernels.ts";
import { formatMatrix } from "../../check/stress/report.ts";
import { type Stressed, stress } from "../../check/stress/stress.ts";
import { Progress } from "../progress.ts";
import { examples } from "../text.ts";

interface Options {
  operations: string;
  seed: string;
}

const DEFAULT_OPERATIONS = 10_000;
/** Audits of a run, whatever its length. */
const AUDITS = 10;

export function matrixCommand(): Command {
  return new Command("matrix")
    .description(
      "build and stress twenty kernels: no highmem, 4 GiB and 64 GiB, with page tables low and high, on one CPU and four, with and without preemption",
    )
    .option(
      "--operations <N>",
      "what each kernel's programs do before it counts as stressed",
      String(DEFAULT_OPERATIONS),
    )
    .option("--seed <N>", "the seed of all choices", "1")
    .addHelpText("after", examples("bigmem matrix", "bigmem matrix --operations 1000000"))
    .action(({ operations, seed }: Options) => {
      const length = { operations: number("--operations", operations), audits: AUDITS, seed: number("--seed", seed) };
      const progress = new Progress("kernels", stressKernels.length, false);
      const results: Stressed[] = [];
      for (const kernel of stressKernels) {
        progress.update(results.length);
        results.push(stress(kernel, length));
      }
      progress.end();
      process.stdout.write(formatMatrix(results));
    });
}

function number(flag: string, text: string): number {
  if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
  throw new UsageError(`${flag} ${text}: expected a whole number above 0`);
}
