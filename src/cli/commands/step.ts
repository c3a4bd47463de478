/** `bigmem step TRACE`: operation by operation, what each does to areas, page tables and frames, and why. */
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { runTrace, TraceStudy } from "../../lab/run.ts";
import { SteppedEnough, Stepper } from "../../lab/step.ts";
import { chosenSpec, type MachineOptions, withMachine } from "../machines.ts";
import { traceArgument, traceInput } from "../sources.ts";
import { examples } from "../text.ts";
import { version } from "../version.ts";

interface StepOptions extends MachineOptions {
  from: string;
  to?: string;
  only?: string;
  whole?: true;
}

export function stepCommand(): Command {
  const command = new Command("step")
    .description(
      "show what each fault and each call does to areas, page-table entries and frames, with a sentence that says why",
    )
    .argument("<trace>", traceArgument);
  return withMachine(command)
    .option("--from <N>", "the first operation, counted from 0 over faults and events", "0")
    .option("--to <N>", "the operation to stop before; by default 20 after the first")
    .option("--only <NAMES>", "only these, by commas: fault, mmap, munmap, brk, fork, exit, kernel-access, ...")
    .option("--whole", "the whole state before and after, not only the lines that change")
    .addHelpText(
      "after",
      `
The state notation: "VMA pages rights backing", "PTE page -> frame rights ad maps" (a: accessed, d: dirty), "frame ...".
${examples("bigmem step samples/sort.bmt --only fault,mmap --to 40", "bigmem step samples/python-fork.bmt --only fork --to 100000")}`,
    )
    .action(async (trace: string, options: StepOptions) => {
      const from = wholeNumber("--from", options.from);
      const only = new Set((options.only ?? "").split(",").filter((name) => name !== ""));
      const to = options.to === undefined ? from + DEFAULT_STEPS : wholeNumber("--to", options.to);
      if (to <= from) throw new UsageError(`--from ${from} --to ${to}: the first must be below the second`);
      await step(trace, options, { from, to, only, show: options.whole === true ? "whole" : "changes" });
    });
}

const DEFAULT_STEPS = 20;

function wholeNumber(flag: string, text: string): number {
  if (/^\d+$/.test(text)) return Number(text);
  throw new UsageError(`${flag} ${text}: expected a whole number`);
}

async function step(
  trace: string,
  options: MachineOptions,
  selection: ConstructorParameters<typeof Stepper>[1],
): Promise<void> {
  let stepper: Stepper | undefined;
  try {
    await runTrace("step", chosenSpec(options), new TraceStudy(traceInput(trace)), {
      version,
      observe: (machine) => {
        stepper = new Stepper(machine, selection, (text) => process.stdout.write(text));
        return stepper;
      },
    });
  } catch (error) {
    if (!(error instanceof SteppedEnough)) throw error;
  }
  stepper?.requirePrinted();
}
