/**
 * Random programs from fixed seeds, allocations that fail among them, over the design space. What fails is made as
 * small as it gets and written to test/golden/, whose programs run on every design from then on.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { nameOfCell } from "../src/check/cells.ts";
import { randomProgram, usualShape } from "../src/check/generator.ts";
import { judge } from "../src/check/judge.ts";
import { formatProgram, type Program, parsePrograms } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import { shrink } from "../src/check/shrink.ts";
import type { MachineSpec } from "../src/presets.ts";
import { cells, specOfCell } from "./specs.ts";

const golden = new URL("golden/", import.meta.url);

/** Programs for each cell of the design space: half of them with failing allocations. */
const PROGRAMS_PER_CELL = Number(process.env.BIGMEM_RANDOM ?? 24);
const FAILURES = 0.15;
const HUGE_PROGRAMS_PER_CELL = Math.ceil(PROGRAMS_PER_CELL / 3);

/** The machine with two huge pages, if its kernel can have a pool of them. */
function withPool(spec: MachineSpec): MachineSpec {
  const hasPool = spec.design.hugePages.startsWith("hugetlbfs");
  return hasPool ? { ...spec, tunables: { ...spec.tunables, hugePages: 2 } } : spec;
}

/** What they are about; the first is usual. */
const randomProfiles = ["base", "base", "base", "base", "segments"] as const;
/** Audits cost more than operations. */
const everyEighth = { auditEvery: 8 };
const every = { auditEvery: 1 };

function keepSmallest(runner: ProgramRunner, program: Program, cell: string): string {
  const smallest = shrink(program, (candidate) => judge(runner, candidate, every) !== undefined);
  const failure = judge(runner, smallest, every);
  const first = failure?.what.split("\n")[0] ?? "fails only with what comes after it";
  const text = `# ${cell}: ${first}\n${formatProgram(smallest)}`;
  writeFileSync(new URL(`${program.name}.txt`, golden), text);
  return `${text}${failure?.state ?? ""}`;
}

describe.each(cells().map((cell, at) => [nameOfCell(cell), cell, at] as const))("%s", (name, cell, at) => {
  test("random programs see what the flat model says, and the machine keeps its laws", () => {
    const runner = new ProgramRunner(specOfCell(cell));
    for (let i = 0; i < PROGRAMS_PER_CELL; i++) {
      const failures = i % 2 === 0 ? 0 : FAILURES;
      const profile = randomProfiles[i % randomProfiles.length]!;
      const program = randomProgram(1000 * at + i, { ...usualShape, failures, profile });
      const failure = judge(runner, program, everyEighth);
      if (failure !== undefined) expect.fail(keepSmallest(runner, program, name));
    }
  });

  test("the same with a pool of huge pages, which is too small for all of them", () => {
    const runner = new ProgramRunner(withPool(specOfCell(cell)));
    for (let i = 0; i < HUGE_PROGRAMS_PER_CELL; i++) {
      const failures = i % 2 === 0 ? 0 : FAILURES;
      const program = randomProgram(1000 * at + i, { ...usualShape, failures, profile: "huge-pool" });
      const failure = judge(runner, program, everyEighth);
      if (failure !== undefined) expect.fail(keepSmallest(runner, program, name));
    }
  });

  test("programs that once failed no longer do", () => {
    const runner = new ProgramRunner(specOfCell(cell));
    for (const file of readdirSync(golden).filter((entry) => entry.endsWith(".txt"))) {
      for (const program of parsePrograms(readFileSync(new URL(file, golden), "utf8"), file)) {
        expect(judge(runner, program, every)?.what, `${file} ${program.name}`).toBeUndefined();
      }
    }
  });
});
