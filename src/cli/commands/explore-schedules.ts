/** `bigmem explore-schedules [SCENARIO]`: searches interleavings of tasks over CPUs, and prints the shortest one that breaks. */
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { explore, formatExplored, type Search, scenarioOf, scenarios } from "../../check/schedules/explore.ts";
import { examples } from "../text.ts";

interface Options {
  exhaustive?: true;
  seed?: string;
  runs?: string;
  variant?: string;
}

const DEFAULT_RUNS = 1000;

export function exploreSchedulesCommand(): Command {
  return new Command("explore-schedules")
    .description(
      "search interleavings of tasks over CPUs: a claim holds in every one, or here is the shortest that breaks it",
    )
    .argument("[scenario]", "which claim; without one, all are listed")
    .option("--exhaustive", "every interleaving, but those that differ only in steps that commute (the default)")
    .option("--seed <N>", "instead, choose at random from this seed")
    .option("--runs <N>", `random runs, ${DEFAULT_RUNS} where nothing is said`)
    .option("--variant <NAME>", "only this variant of the scenario")
    .addHelpText(
      "after",
      examples(
        "bigmem explore-schedules unmap-against-access",
        "bigmem explore-schedules two-faults --seed 1 --runs 500",
      ),
    )
    .action((name: string | undefined, options: Options) => {
      if (name === undefined) list();
      else run(name, options);
    });
}

function list(): void {
  for (const { name, claim, variants } of scenarios) {
    process.stdout.write(`${name}\n  ${claim}\n`);
    for (const variant of variants) process.stdout.write(`    ${variant.name} (${variant.expects}): ${variant.says}\n`);
  }
}

function run(name: string, options: Options): void {
  const { claim, variants } = scenarioOf(name);
  const chosen = variants.filter((variant) => options.variant === undefined || variant.name === options.variant);
  if (chosen.length === 0) {
    throw new UsageError(`--variant ${options.variant}: ${name} has ${variants.map((one) => one.name).join(", ")}`);
  }
  const search = searchOf(options);
  process.stdout.write(`${name}: ${claim}\n\n`);
  for (const variant of chosen) {
    const explored = explore(variant, search);
    process.stdout.write(`${formatExplored(explored)}\n`);
    if (!explored.asExpected) process.exitCode = 1;
  }
}

function searchOf({ exhaustive, seed, runs }: Options): Search {
  if (seed === undefined && runs === undefined) return { how: "exhaustive" };
  if (exhaustive === true) throw new UsageError("--exhaustive makes every choice: it has no --seed and no --runs");
  return { how: "random", seed: number("--seed", seed ?? "0"), runs: number("--runs", runs ?? String(DEFAULT_RUNS)) };
}

function number(flag: string, text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`${flag} ${text}: expected a whole number`);
}
