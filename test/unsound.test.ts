/**
 * Options that are known to break a promise, and are there to show it: random programs must find each of them out, by the law
 * that it breaks or by what a program sees. A sound option with the same programs shows that it is the option's doing.
 */
import { expect, test } from "vitest";
import { randomProgram, usualShape } from "../src/check/generator.ts";
import { judge } from "../src/check/judge.ts";
import { oracleSpec } from "../src/check/oracle-machine.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import { type AxisName, type Design, unsound } from "../src/design.ts";

const KERNEL = "linux-2.6.11";
const SHAPE = { ...usualShape, profile: "nonlinear", operations: 80 } as const;
const MOST_PROGRAMS = 2000;

/** What is wrong with the first program that is; undefined if none of so many is. */
function firstFailure(design: Partial<Design>, most: number): string | undefined {
  const spec = oracleSpec("i386", KERNEL, design);
  for (let seed = 1; seed <= most; seed++) {
    const failure = judge(new ProgramRunner(spec), randomProgram(seed, SHAPE), { auditEvery: 1 });
    if (failure !== undefined) return failure.what;
  }
  return undefined;
}

const options = (Object.keys(unsound) as AxisName[]).flatMap((axis) =>
  Object.keys(unsound[axis] ?? {}).map((option) => ({ axis, option })),
);

test("there are some", () => expect(options.length).toBeGreaterThan(0));

test.each(options)("$axis=$option is found out", ({ axis, option }) => {
  const found = firstFailure({ [axis]: option }, MOST_PROGRAMS);
  // A page that is charged to files, mapped, and in no file; a page that the file has, and a program reads as another's; or
  // a struct page that is read where it is not.
  expect(found).toMatch(/owners-match-uses: files|reads [0-9a-f]{2}, expected|BUS 2|at the end|struct-pages-are-seen/);
});

test("a sound option is not", () => {
  expect(firstFailure({ nonlinear: "tagged-search" }, 40)).toBeUndefined();
});
