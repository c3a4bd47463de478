/**
 * The design matrix: short programs on every legal design, paging format and personality. Contents, errno and signals
 * must be those of the flat model, and the machine must keep all its laws after every operation.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { judge } from "../src/check/judge.ts";
import { parsePrograms } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import { allCells, cells, nameOfCell, pairwiseCells, specOfCell } from "./specs.ts";

const file = new URL("matrix/programs.txt", import.meta.url);
const programs = parsePrograms(readFileSync(file, "utf8"), "matrix/programs.txt");

test("the pairs of a normal run cover every option", () => {
  const options = new Set(allCells().flatMap((cell) => Object.entries(cell).map((pair) => pair.join("="))));
  const covered = new Set(pairwiseCells().flatMap((cell) => Object.entries(cell).map((pair) => pair.join("="))));
  expect(covered).toEqual(options);
});

describe.each(cells().map((cell) => [nameOfCell(cell), cell] as const))("%s", (_name, cell) => {
  test("gives every program what the flat model says, and keeps all laws", () => {
    const runner = new ProgramRunner(specOfCell(cell));
    const wrong = programs.flatMap((program) => {
      const failure = judge(runner, program, { auditEvery: 1 });
      return failure === undefined ? [] : [`${program.name}: ${failure.what}\n${failure.state}`];
    });
    expect(wrong).toEqual([]);
  });
});
