/** `bigmem experiment list` and `bigmem experiment run NAME`: claims, and what comes out here. */
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { type Experiment, type ExperimentResult, runWithTrace } from "../../lab/experiments/experiment.ts";
import { describeExperiment, experimentCsv, experimentTable } from "../../lab/experiments/experiment-text.ts";
import { experimentNamed, experiments } from "../../lab/experiments/experiments.ts";
import { plotSvg } from "../../lab/experiments/plot.ts";
import { writeResult } from "../files.ts";
import { StatusLine } from "../progress.ts";
import { traceInput } from "../sources.ts";
import { examples, print } from "../text.ts";

interface Output {
  json?: true;
  csv?: true;
  bytes?: true;
  output?: string;
}

const outputKeys = ["json", "csv", "bytes", "output"];

export function experimentCommand(): Command {
  return new Command("experiment")
    .description("claims about memory management, each with its source, the published numbers and those measured here")
    .addCommand(listCommand())
    .addCommand(runCommand())
    .addHelpText(
      "after",
      examples("bigmem experiment list", "bigmem experiment run highpte-lowmem --processes 100..2000 --size 512M"),
    );
}

function listCommand(): Command {
  return new Command("list")
    .description("explain each experiment: the claim, its source, the published numbers, what can be changed")
    .argument("[name]", "one of them")
    .action((name: string | undefined) => {
      const chosen = name === undefined ? experiments : [experimentNamed(name)];
      print(chosen.map(describeExperiment).join("\n\n"));
    });
}

function runCommand(): Command {
  const run = new Command("run")
    .description("run an experiment")
    .argument("[name]", 'which; "bigmem experiment list" explains them')
    .addHelpText(
      "after",
      examples(
        "bigmem experiment run kmap-flush-rate --cpus 2,8,32",
        "bigmem experiment run quicklists -o quicklists.svg",
      ),
    )
    .action((name: string | undefined) => {
      if (name === undefined) throw new UsageError('which experiment? "bigmem experiment list" explains them');
      experimentNamed(name);
    });
  for (const experiment of experiments) run.addCommand(commandOf(experiment));
  return run;
}

/** A parameter is an option; one whose values are yes and no may be given without a value. */
function commandOf(experiment: Experiment): Command {
  const command = new Command(experiment.name)
    .description(experiment.claim)
    .option("--json", "the whole result as JSON (schema: docs/schemas/experiment.json)")
    .option("--csv", "the rows as CSV")
    .option("--bytes", "whole numbers instead of three significant digits")
    .option("-o, --output <FILE>", "write the result to a file; FILE.svg: a plot of it")
    .addHelpText(
      "after",
      examples(`bigmem experiment run ${experiment.name}`, `bigmem experiment run ${experiment.name} --json`),
    );
  for (const [name, { text, about }] of Object.entries(experiment.parameters)) {
    const form = text === "yes" || text === "no" ? `--${name} [yes|no]` : `--${name} <VALUE>`;
    command.option(form, `${about} (${text})`);
  }
  return command.action((_options: unknown, self: Command) => execute(experiment, self));
}

async function execute(experiment: Experiment, command: Command): Promise<void> {
  const options = command.opts() as Output & Record<string, string | true>;
  const given: Record<string, string> = {};
  for (const name of Object.keys(experiment.parameters)) {
    const value = options[camelCase(name)];
    if (value !== undefined && !outputKeys.includes(name)) given[name] = value === true ? "yes" : String(value);
  }
  const { json, csv, bytes, output } = options as Output;
  if (json === true && csv === true) throw new UsageError("--json and --csv: one of them");
  const result = await runWatched(experiment, given);
  if (output?.endsWith(".svg") === true) {
    writeResult(output, plotSvg(experiment.name, result.rows, experiment.plot));
    print(`${result.verdict}\nplot: ${output}`);
  } else if (json === true) writeResult(output, `${JSON.stringify(result, null, 2)}\n`);
  else if (csv === true) writeResult(output, experimentCsv(result));
  else writeResult(output, experimentTable(result, bytes === true ? "exact" : "short"));
}

/** Runs the experiment; what it is at is shown meanwhile, and gone before anything else is said. */
async function runWatched(experiment: Experiment, given: Readonly<Record<string, string>>): Promise<ExperimentResult> {
  const line = new StatusLine(experiment.name);
  try {
    return await runWithTrace(experiment, given, traceInput, (what) => line.show(what));
  } finally {
    line.end();
  }
}

/** As commander names an option's value: "until-oom" is `untilOom`. */
const camelCase = (name: string): string => name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());
