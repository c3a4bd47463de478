/** `bigmem check programs`: programs of memory operations, and whether they answer as a real kernel did. */
import { Command } from "commander";
import { UsageError } from "../../base/errors.ts";
import { nearest } from "../../base/nearest.ts";
import { formatOutcome, parseOutcomes, setAsides } from "../../check/compare-outcomes.ts";
import { oracleSpec } from "../../check/oracle-machine.ts";
import { type Program, parsePrograms } from "../../check/program.ts";
import { formatMismatch, ProgramCheck } from "../../check/program-check.ts";
import { readText } from "../files.ts";
import { chosenSpec, type MachineOptions, withMachine } from "../machines.ts";
import { examples, print } from "../text.ts";

/** The outcomes differ. */
const DIFFERENT = 1;

interface CheckProgramsOptions extends MachineOptions {
  expect?: string;
  only?: string;
  lines: string;
  audit?: true;
}

export function checkPrograms(): Command {
  return withMachine(
    new Command("programs")
      .description("run programs of memory operations and print their outcomes, or compare them with a real kernel's")
      .argument("<file>", 'programs: "prog NAME", operations such as "0 mmap 1000 0x2000 3 0x32 -1 0", "end"'),
  )
    .option("--expect <OUTCOMES>", "the outcomes of a real kernel; print only what differs, exit 1 if anything does")
    .option("--only <NAME>", "one program")
    .option("--lines <N>", "how many lines that differ are shown of each program", "6")
    .option("--audit", "check every law of the machine after every operation")
    .addHelpText(
      "after",
      `
Where no machine is named, programs run on one CPU with 256 MiB in long mode, under linux-6.1.
Set aside when comparing: ${setAsides.map(({ name }) => name).join(", ")}.
${examples(
  "bigmem check programs mine.txt",
  "bigmem check programs mine.txt --kernel linux-6.18 --expect outcomes.txt",
  "bigmem check programs mine.txt --machine pae-8g --expect outcomes-pae.txt --only s7000005",
)}`,
    )
    .action((file: string, options: CheckProgramsOptions) => {
      process.exitCode = run(file, options);
    });
}

function run(file: string, options: CheckProgramsOptions): number {
  const programs = chosenPrograms(file, options.only);
  const spec = chosenSpec(options, oracleSpec("x86-64", "linux-6.1"));
  const check = new ProgramCheck(spec, options.audit === true ? "always" : "never");
  if (options.expect === undefined) {
    for (const program of programs) process.stdout.write(formatOutcome(check.run(program)));
    process.stderr.write(`${programs.length} programs on ${spec.kernel}\n`);
    return 0;
  }
  return compare(check, programs, options.expect, options.lines, spec.kernel);
}

function chosenPrograms(file: string, only: string | undefined): readonly Program[] {
  const programs = parsePrograms(readText(file), file);
  if (only === undefined) return programs;
  const chosen = programs.filter(({ name }) => name === only);
  if (chosen.length > 0) return chosen;
  const near = nearest(
    only,
    programs.map(({ name }) => name),
  );
  throw new UsageError(`${file}: has no program "${only}"${near === undefined ? "" : `; did you mean "${near}"?`}`);
}

function compare(
  check: ProgramCheck,
  programs: readonly Program[],
  expect: string,
  lines: string,
  kernel: string,
): number {
  const most = Number(lines);
  if (!Number.isInteger(most) || most < 1) throw new UsageError(`--lines ${lines}: expected a whole number from 1`);
  const outcomes = parseOutcomes(readText(expect));
  for (const program of programs) {
    const expected = outcomes.get(program.name);
    if (expected === undefined) throw new UsageError(`${expect}: has no outcome of program "${program.name}"`);
    const mismatch = check.compare(program, expected);
    if (mismatch === undefined) continue;
    print(formatMismatch(mismatch, most));
    if (check.mismatches.length === 1) print(`\n${check.explain(mismatch)}`);
  }
  const different = check.mismatches.length;
  const kinds = check.kinds().map(([kind, count]) => `${kind} ${count}`);
  print(
    `${programs.length - different} of ${programs.length} programs on ${kernel} have the expected outcome${different === 0 ? "" : `; the others first differ in: ${kinds.join(", ")}`}`,
  );
  return different === 0 ? 0 : DIFFERENT;
}
