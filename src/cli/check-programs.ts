/**
 * Runs programs of memory operations on a model machine and compares with what a real kernel answered:
 *
 *     node src/cli/check-programs.ts FILE --expect OUTCOMES [--only NAME] [--format pae] [--verbose]
 */
import { parseArgs } from "node:util";
import { UsageError } from "../base/errors.ts";
import { requireClean } from "../check/audit/audit.ts";
import {
  compareOutcomes,
  formatOutcome,
  kindOf,
  type OutcomeFormat,
  parseOutcomes,
} from "../check/compare-outcomes.ts";
import { describe } from "../check/describe.ts";
import { oracleSpec } from "../check/oracle-machine.ts";
import { formatOperation, parsePrograms } from "../check/program.ts";
import { ProgramRunner } from "../check/program-runner.ts";
import { readText } from "./files.ts";

const USAGE = "check-programs FILE --expect OUTCOMES [--only NAME] [--format x86-64|pae|i386] [--verbose]";

function main(): number {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      expect: { type: "string" },
      only: { type: "string" },
      format: { type: "string", default: "x86-64" },
      verbose: { type: "boolean", default: false },
      kind: { type: "string" },
      print: { type: "boolean", default: false },
      state: { type: "string" },
      audit: { type: "boolean", default: false },
    },
  });
  const [file] = positionals;
  if (file === undefined || values.expect === undefined) throw new UsageError(USAGE);
  const format = values.format as OutcomeFormat;
  const programs = parsePrograms(readText(file), file).filter(
    ({ name }) => values.only === undefined || name === values.only,
  );
  const expected = parseOutcomes(readText(values.expect));
  const histogram = new Map<string, string[]>();
  const runner = new ProgramRunner(oracleSpec(format, "linux-6.1"));
  let passed = 0;
  const started = performance.now();
  for (const program of programs) {
    const want = expected.get(program.name);
    if (want === undefined) throw new UsageError(`${values.expect}: no program ${program.name}`);
    let kind: string;
    try {
      const { machine } = runner;
      const found = runner.run(program, (operation, line) => {
        if (values.audit) requireClean(machine, `after ${line}`);
        if (values.state !== undefined && line.startsWith(`${values.state} `))
          console.log(`${formatOperation(operation)}\n${line}\n${describe(machine)}`);
      });
      if (values.print) process.stdout.write(formatOutcome(found));
      const differences = compareOutcomes(want, found, format);
      const first = differences[0];
      if (first === undefined) {
        passed++;
        continue;
      }
      kind = kindOf(first.expected ?? first.found ?? "");
      if (values.verbose && (values.kind === undefined || kind === values.kind)) {
        console.log(`${program.name}: ${differences.length} differences`);
        for (const { at, expected: want1, found: have } of differences.slice(0, 6)) {
          const operation = program.operations[at];
          if (operation !== undefined) console.log(`    ${formatOperation(operation)}`);
          console.log(`  - ${want1}\n  + ${have}`);
        }
      }
    } catch (error) {
      kind = `threw: ${error instanceof Error ? error.message.slice(0, 90) : String(error)}`;
      if (values.verbose && (values.kind === undefined || kind.startsWith(values.kind)))
        console.log(`${program.name}: ${error instanceof Error ? error.stack : error}`);
    }
    histogram.set(kind, [...(histogram.get(kind) ?? []), program.name]);
  }
  const seconds = (performance.now() - started) / 1000;
  for (const [kind, names] of [...histogram].sort((a, b) => b[1].length - a[1].length)) {
    console.log(`${String(names.length).padStart(5)} first differ in ${kind}: ${names.slice(0, 4).join(" ")}`);
  }
  console.log(
    `${passed} of ${programs.length} equal, ${seconds.toFixed(2)} s, ${(programs.length / seconds).toFixed(0)} programs/s`,
  );
  return passed === programs.length ? 0 : 1;
}

try {
  process.exitCode = main();
} catch (error) {
  if (!(error instanceof UsageError)) throw error;
  process.stderr.write(`check-programs: ${error.message}\n`);
  process.exitCode = 2;
}
