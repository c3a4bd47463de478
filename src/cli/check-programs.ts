/**
 * Runs programs of memory operations on a model machine and compares with what a real kernel answered; the long way to
 * look at one difference.
 *
 *     node src/cli/check-programs.ts FILE --expect OUTCOMES [--only NAME] [--format pae] [--kind mremap] [--verbose]
 */
import { parseArgs } from "node:util";
import { UsageError } from "../base/errors.ts";
import { requireClean } from "../check/audit/audit.ts";
import {
  compareOutcomes,
  type Difference,
  formatOutcome,
  kindOf,
  type Outcome,
  type OutcomeFormat,
  parseOutcomes,
} from "../check/compare-outcomes.ts";
import { describe } from "../check/describe.ts";
import { oracleSpec } from "../check/oracle-machine.ts";
import { formatOperation, type Operation, type Program, parsePrograms } from "../check/program.ts";
import { ProgramRunner } from "../check/program-runner.ts";
import { readText } from "./files.ts";

const USAGE =
  "check-programs FILE --expect OUTCOMES [--only NAME] [--format x86-64|pae|i386] [--audit] [--print] [--state N] [--kind KIND] [--verbose]";
const formats: readonly string[] = ["x86-64", "pae", "i386"] satisfies OutcomeFormat[];

/** Differences of one program that are shown. */
const MOST_SHOWN = 6;

interface Options {
  readonly format: OutcomeFormat;
  readonly verbose: boolean;
  readonly audit: boolean;
  readonly print: boolean;
  /** Only differences that begin with a line of this kind. */
  readonly kind: string | undefined;
  /** Print the machine's state after the operation of this number. */
  readonly state: string | undefined;
}

class Comparison {
  private readonly options: Options;
  private readonly runner: ProgramRunner;
  /** By kind of the first line that differs: the programs. */
  private readonly failed = new Map<string, string[]>();
  private passed = 0;

  constructor(options: Options) {
    this.options = options;
    this.runner = new ProgramRunner(oracleSpec(options.format, "linux-6.1"));
  }

  add(program: Program, expected: Outcome): void {
    const kind = this.firstDifference(program, expected);
    if (kind === undefined) this.passed++;
    else this.failed.set(kind, [...(this.failed.get(kind) ?? []), program.name]);
  }

  private firstDifference(program: Program, expected: Outcome): string | undefined {
    try {
      const found = this.runner.run(program, (operation, line) => this.observe(operation, line));
      if (this.options.print) process.stdout.write(formatOutcome(found));
      const differences = compareOutcomes(expected, found, this.options.format);
      const [first] = differences;
      if (first === undefined) return undefined;
      const kind = kindOf(first.expected ?? first.found ?? "");
      if (this.isShown(kind)) showDifferences(program, differences);
      return kind;
    } catch (error) {
      if (!(error instanceof Error) || error instanceof UsageError) throw error;
      const kind = `threw ${error.message.split("\n")[0]}`;
      if (this.isShown(kind)) console.log(`${program.name}: ${error.stack}`);
      return kind;
    }
  }

  private observe(operation: Operation, line: string): void {
    const { audit, state } = this.options;
    if (audit) requireClean(this.runner.machine, `after ${line}`);
    if (state !== undefined && line.startsWith(`${state} `)) {
      console.log(`${formatOperation(operation)}\n${line}\n${describe(this.runner.machine)}`);
    }
  }

  private isShown(kind: string): boolean {
    return this.options.verbose && (this.options.kind === undefined || kind.startsWith(this.options.kind));
  }

  /** Prints the summary; whether all were equal. */
  end(seconds: number): boolean {
    for (const [kind, names] of [...this.failed].sort((one, other) => other[1].length - one[1].length)) {
      console.log(`${String(names.length).padStart(5)} first differ in ${kind}: ${names.slice(0, 4).join(" ")}`);
    }
    const failed = [...this.failed.values()].reduce((sum, names) => sum + names.length, 0);
    const programs = this.passed + failed;
    console.log(
      `${this.passed} of ${programs} equal, ${seconds.toFixed(2)} s, ${(programs / seconds).toFixed(0)} programs/s`,
    );
    return failed === 0;
  }
}

function showDifferences(program: Program, differences: readonly Difference[]): void {
  console.log(`${program.name}: ${differences.length} differences`);
  for (const { at, expected, found } of differences.slice(0, MOST_SHOWN)) {
    const operation = program.operations[at];
    if (operation !== undefined) console.log(`    ${formatOperation(operation)}`);
    console.log(`  - ${expected}\n  + ${found}`);
  }
}

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      expect: { type: "string" },
      only: { type: "string" },
      format: { type: "string", default: "x86-64" },
      kind: { type: "string" },
      state: { type: "string" },
      verbose: { type: "boolean", default: false },
      print: { type: "boolean", default: false },
      audit: { type: "boolean", default: false },
    },
  });
  const [file] = positionals;
  if (file === undefined || values.expect === undefined) throw new UsageError(USAGE);
  if (!formats.includes(values.format))
    throw new UsageError(`--format ${values.format}: expected ${formats.join(", ")}`);
  const programs = parsePrograms(readText(file), file).filter(
    ({ name }) => values.only === undefined || name === values.only,
  );
  const expected = parseOutcomes(readText(values.expect));
  const { kind, state, verbose, print, audit } = values;
  const comparison = new Comparison({ format: values.format as OutcomeFormat, kind, state, verbose, print, audit });
  const started = performance.now();
  for (const program of programs) {
    const outcome = expected.get(program.name);
    if (outcome === undefined) throw new UsageError(`${values.expect}: no program ${program.name}`);
    comparison.add(program, outcome);
  }
  return comparison.end((performance.now() - started) / 1000) ? 0 : 1;
}

try {
  process.exitCode = main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`check-programs: ${error.message}\n`);
  process.exitCode = 2;
}
