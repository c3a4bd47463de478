/** Real Linux as oracle: each recorded program must have the very outcome here that it had there. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { compareOutcomes, type OutcomeFormat, parseOutcomes } from "../src/check/compare-outcomes.ts";
import { BREAK_HOLE_BYTES, WINDOW_BYTES } from "../src/check/executor.ts";
import { compareContents } from "../src/check/model/contents.ts";
import { FlatModel } from "../src/check/model/flat-model.ts";
import { oracleSpec } from "../src/check/oracle-machine.ts";
import { formatOperation, type Program, parsePrograms } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";

const read = (name: string): string =>
  gunzipSync(readFileSync(new URL(`oracle/${name}.gz`, import.meta.url))).toString();
const programs = parsePrograms(read("programs.txt"), "programs.txt");

/** The first difference of a program, as a person wants to read it; undefined if there is none. */
function firstDifference(
  runner: ProgramRunner,
  program: Program,
  expected: ReturnType<typeof parseOutcomes>,
  format: OutcomeFormat,
) {
  const [first] = compareOutcomes(expected.get(program.name)!, runner.run(program), format);
  if (first === undefined) return undefined;
  const operation = program.operations[first.at];
  return `${program.name} ${operation === undefined ? "" : formatOperation(operation)}\n- ${first.expected}\n+ ${first.found}`;
}

describe.each([
  ["linux-6.1", "x86-64", "outcomes-linux-6.1-amd64.txt"],
  ["linux-6.1", "pae", "outcomes-linux-6.1-i386-pae.txt"],
  ["linux-6.18", "x86-64", "outcomes-linux-6.18-amd64.txt"],
] as const)("%s on %s", (kernel, format, file) => {
  test("answers every recorded program as the real kernel did", () => {
    const expected = parseOutcomes(read(file));
    const runner = new ProgramRunner(oracleSpec(format, kernel));
    expect(programs.length).toBe(260);
    expect(
      programs
        .map((program) => firstDifference(runner, program, expected, format))
        .filter((found) => found !== undefined),
    ).toEqual([]);
  });
});

test("the flat model allows everything that the real kernel answered", () => {
  const expected = parseOutcomes(read("outcomes-linux-6.1-amd64.txt"));
  for (const program of programs) {
    const model = new FlatModel(
      program,
      {
        noExecute: true,
        personality: "linux-6.1",
        nonlinear: "emulated",
        pfnMappings: "special-bit",
        userPages: 1,
        hugePages: 512,
      },
      { breakStart: 0x60_0000, windowBytes: WINDOW_BYTES, holeBytes: BREAK_HOLE_BYTES },
    );
    const { lines } = expected.get(program.name)!;
    program.operations.forEach((operation, at) => {
      const printed = lines[at]!.split(" ").slice(3).join(" ");
      expect(model.step(operation, printed), `${program.name}: ${lines[at]}`).toBeUndefined();
    });
    expect(compareContents(model, lines.slice(program.operations.length)), program.name).toEqual([]);
  }
});
