/**
 * The design matrix: short programs on designs, paging formats and personalities, any two choices
 * together in some cell. Contents, errno and signals
 * must be those of the flat model, and the machine must keep all its laws after every operation.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { everyChoice, nameOfCell } from "../src/check/cells.ts";
import { judge } from "../src/check/judge.ts";
import { LegalCells } from "../src/check/legal-cells.ts";
import { parsePrograms } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import { cells, specOfCell } from "./specs.ts";

const file = new URL("matrix/programs.txt", import.meta.url);
const programs = parsePrograms(readFileSync(file, "utf8"), "matrix/programs.txt");

const chosen = cells();
process.stdout.write(
  `matrix: ${chosen.length} of ${new LegalCells(everyChoice).count.toLocaleString("en-US")} legal designs\n`,
);

describe.each(chosen.map((cell) => [nameOfCell(cell), cell] as const))("%s", (_name, cell) => {
  test("gives every program what the flat model says, and keeps all laws", () => {
    const runner = new ProgramRunner(specOfCell(cell));
    const wrong = programs.flatMap((program) => {
      const failure = judge(runner, program, { auditEvery: 1 });
      return failure === undefined ? [] : [`${program.name}: ${failure.what}\n${failure.state}`];
    });
    expect(wrong).toEqual([]);
  });
});
