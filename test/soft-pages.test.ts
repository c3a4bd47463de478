/**
 * Programs do not see how large the kernel's own pages are: each recorded program has the outcome that it had on real Linux,
 * whatever the size. What tells of pages that came along with others is set aside: how many faults it took, which pages are
 * there without having been touched, and whether a page was there that an access was not allowed to.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import {
  comparable,
  losesNone,
  type OutcomeFormat,
  parseOutcomes,
  withoutNeighbours,
} from "../src/check/compare-outcomes.ts";
import { oracleSpec } from "../src/check/oracle-machine.ts";
import { parsePrograms } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import { optionsOf } from "../src/design.ts";

const read = (name: string): string =>
  gunzipSync(readFileSync(new URL(`oracle/${name}.gz`, import.meta.url))).toString();
const programs = parsePrograms(read("programs.txt"), "programs.txt");

const seen = (line: string, format: OutcomeFormat): string => withoutNeighbours(comparable(line, format));

const sizes = optionsOf("softPageShift");

describe.each([
  ["linux-6.1", "x86-64", "outcomes-linux-6.1-amd64.txt"],
  ["linux-6.1", "pae", "outcomes-linux-6.1-i386-pae.txt"],
] as const)("%s on %s", (kernel, format, file) => {
  const outcomes = parseOutcomes(read(file));
  test.each(sizes.map((size, turn) => [size, turn] as const))("soft pages of 2^%s", (softPageShift, turn) => {
    const runner = new ProgramRunner(oracleSpec(format, kernel, { softPageShift: softPageShift as "0" }));
    const wrong: string[] = [];
    for (const program of programs.filter((_, at) => at % sizes.length === turn || softPageShift === "4")) {
      const expected = outcomes.get(program.name)!.lines;
      const found = runner.run(program).lines;
      expected.forEach((line, at) => {
        const isSame = seen(line, format) === seen(found[at] ?? "", format);
        if (!isSame || !losesNone(line, found[at]!)) wrong.push(`${program.name}\n- ${line}\n+ ${found[at]}`);
      });
    }
    expect(wrong).toEqual([]);
  });
});
