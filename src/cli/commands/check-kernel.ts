/** `bigmem check kernel`: does the kernel underneath answer programs as bigmem does? */
import { availableParallelism } from "node:os";
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import type { Outcome } from "../../check/compare-outcomes.ts";
import { type Disagreement, KernelComparison } from "../../check/kernel-comparison.ts";
import { likenessOf } from "../../check/kernel-versions.ts";
import { type ProfileName, profileNames, profiles } from "../../check/profiles.ts";
import type { Program } from "../../check/program.ts";
import { type Batch, hashOf, programsOfAll, type RecordingHead } from "../../check/recorded.ts";
import { suiteNames } from "../../check/suites.ts";
import { findLiveKernel, type LiveKernel } from "../kernel/live-kernel.ts";
import { readRecording, shippedRecording, writeRecording } from "../kernel/recording.ts";
import { Progress } from "../progress.ts";
import { examples, print } from "../text.ts";

/** The run found what it was asked to find. */
const FOUND = 1;
/** Differences that are made small and explained; the others are counted. */
const EXPLAINED = 3;

interface Options {
  programs: string;
  seed: string;
  profile?: string;
  jobs?: string;
  record?: string;
  replay?: string | boolean;
}

export function checkKernel(): Command {
  return new Command("kernel")
    .description("run programs on the Linux underneath and on bigmem, and compare every outcome")
    .option("--programs <N>", "random programs of 40 operations, over all profiles", "2000")
    .option("--seed <S>", "the first random program's seed", "1")
    .option("--profile <NAME>", `random programs of one profile only, and no suites: ${profileNames.join(", ")}`)
    .option("--jobs <N>", "processes that run programs; by default one for each CPU")
    .option("--record <FILE>", "keep the kernel's answers, to be compared again elsewhere")
    .option("--replay [FILE]", "compare with recorded answers; by default those that come with bigmem")
    .addHelpText(
      "after",
      `
A program is a list of memory operations over a few processes and files. What is compared: results, errors, signals,
faults of each operation, and at the end every area, page, content and the size of page tables. Differences are made
as small as they get. Without a C compiler, recorded answers take the kernel's place.
${examples(
  "bigmem check kernel",
  "bigmem check kernel --programs 100000 --seed 7",
  "bigmem check kernel --profile locking --programs 500",
  "bigmem check kernel --replay",
)}`,
    )
    .action(async (options: Options) => {
      if (options.replay !== undefined)
        return replay(options.replay === true ? shippedRecording : String(options.replay));
      const batches = chosenBatches(options);
      const kernel = findLiveKernel();
      if ("missing" in kernel) {
        if (options.record !== undefined) throw new UsageError(`--record needs ${kernel.missing}`);
        print(`Asking the kernel underneath needs ${kernel.missing}; these are the answers that come with bigmem.`);
        return replay(shippedRecording);
      }
      await askKernel(kernel, batches, options);
    });
}

function chosenBatches({ programs, seed, profile }: Options): Batch[] {
  const count = wholeNumber("--programs", programs, 0);
  const first = wholeNumber("--seed", seed, 0);
  if (profile !== undefined) return [{ profile: profileNamed(profile), seed: first, programs: count }];
  return [
    ...suiteNames.map((suite) => ({ suite })),
    ...profileNames.map((name, at) => ({
      profile: name,
      seed: first,
      programs: Math.floor((count * (at + 1)) / profileNames.length) - Math.floor((count * at) / profileNames.length),
    })),
  ];
}

function profileNamed(name: string): ProfileName {
  if (!Object.hasOwn(profiles, name))
    throw new UsageError(
      `there is no profile "${name}"${didYouMean(name, profileNames)}; there are ${profileNames.join(", ")}`,
    );
  return name as ProfileName;
}

function wholeNumber(option: string, text: string, least: number): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < least)
    throw new UsageError(`${option} ${text}: expected a whole number from ${least}`);
  return value;
}

async function askKernel(kernel: LiveKernel, batches: Batch[], options: Options): Promise<void> {
  const { hugePages } = kernel.sight;
  if (hugePages === null)
    throw new UsageError("somebody uses huge pages of this machine: what is left of its pool cannot be known");
  const asked = options.jobs === undefined ? availableParallelism() : wholeNumber("--jobs", options.jobs, 1);
  // One pool is for all: each program must find it whole.
  const jobs = hugePages > 0 ? 1 : asked;
  if (options.record !== undefined && !(kernel.sight.frames && kernel.sight.locks))
    throw new UsageError("--record needs root: outcomes without frames would be half of what there is");
  const comparison = new KernelComparison(likenessOf(kernel.release), { frames: kernel.sight.frames, hugePages });
  const kept = new Map<string, Outcome>();
  const total = batches.reduce((sum, batch) => sum + ("suite" in batch ? 0 : batch.programs), 0);
  const progress = new Progress("programs", total, false);
  let leftOut = 0;
  const programs = answerable(programsOfAll(batches), kernel, () => leftOut++);
  await kernel.runAll(programs, jobs, (program, outcome) => {
    comparison.compare(program, outcome);
    if (options.record !== undefined) kept.set(program.name, outcome);
    progress.update(comparison.compared);
  });
  progress.end();
  const title = `Linux ${kernel.release}`;
  report(comparison, title, batches, (found) => comparison.smallest(found, (program) => kernel.run(program)));
  if (leftOut > 0) print(`${leftOut} programs were left out: they lock all memory, which is limited here.`);
  if (!kernel.sight.frames) print("Frames were not compared: their numbers are shown only to CAP_SYS_ADMIN.");
  if (options.record !== undefined) record(options, kernel, batches, kept);
}

/** Where locked memory is limited, programs that lock all there is are left out: most of it is the executor's own. */
function* answerable(programs: Iterable<Program>, { sight }: LiveKernel, leftOut: () => void) {
  for (const program of programs) {
    if (sight.locks || !program.operations.some(({ name }) => name === "mlockall")) yield program;
    else leftOut();
  }
}

function record(options: Options, kernel: LiveKernel, batches: Batch[], outcomes: ReadonlyMap<string, Outcome>): void {
  const path = options.record!;
  const profile = options.profile === undefined ? "" : ` --profile ${options.profile}`;
  const head: RecordingHead = {
    format: 1,
    release: kernel.release,
    architecture: "x86-64",
    command: `bigmem check kernel --programs ${options.programs} --seed ${options.seed}${profile} --record ${path}`,
    batches,
    programsHash: hashOf(programsOfAll(batches)),
  };
  const inOrder = [...programsOfAll(batches)].map(({ name }) => outcomes.get(name)!);
  const bytes = writeRecording(path, head, inOrder);
  print(`${path}: ${inOrder.length} outcomes, ${bytes} bytes`);
}

function replay(file: string | URL): void {
  const { head, answers } = readRecording(file);
  const comparison = new KernelComparison(likenessOf(head.release), { frames: true });
  for (const { program, outcome } of answers) comparison.compare(program, outcome);
  report(comparison, `Linux ${head.release}`, head.batches, (found) => found);
}

/** Says what was compared and what differs; `reduce` makes a difference as small as can be. */
function report(
  comparison: KernelComparison,
  kernel: string,
  batches: readonly Batch[],
  reduce: (found: Disagreement) => Disagreement,
): void {
  const { likeness, compared, disagreements, explained } = comparison;
  const parts = batches.map((batch) =>
    "suite" in batch ? `suite ${batch.suite}` : `${batch.programs} ${batch.profile}`,
  );
  print(`${compared} programs (${parts.join(", ")}) on ${kernel} and on bigmem as ${likeness.nearest}:`);
  for (const found of disagreements.slice(0, EXPLAINED)) {
    const smallest = reduce(found);
    print(`\n${found.program.name} differs; ${smallest === found ? "the program" : "at its smallest"}:\n`);
    print(comparison.explain(smallest, kernel));
  }
  if (disagreements.length > EXPLAINED) {
    const names = disagreements.slice(EXPLAINED).map(({ program }) => program.name);
    print(`\n${names.length} more differ: ${names.slice(0, 20).join(" ")}${names.length > 20 ? " ..." : ""}`);
  }
  const byVersion = [...explained.values()].reduce((sum, count) => sum + count, 0);
  const equal = compared - byVersion - disagreements.length;
  print(`${equal} equal, ${byVersion} differ as versions do, ${disagreements.length} differ`);
  for (const [change, count] of explained) print(`  ${count}: ${change}`);
  if (disagreements.length > 0) process.exitCode = FOUND;
}
