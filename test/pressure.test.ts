/**
 * Random programs where memory is short, over the design space: with swap and without, with allocations that are made to
 * fail, on machines of some hundred frames. `BIGMEM_PRESSURE=10000` runs so many; `bigmem check random` is the same by hand.
 * What fails is made as small as it gets and written to test/golden/pressure/, with the machine that it failed on.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type Casualty, campaign, formatCounts, judgeUnderPressure, noCounts, titleOf } from "../src/check/campaign.ts";
import { coveringCells } from "../src/check/cells.ts";
import { randomProgram, usualShape } from "../src/check/generator.ts";
import { pressureKinds, pressureSpec } from "../src/check/pressure.ts";
import { formatProgram, parsePrograms } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import { rulesWith } from "../src/design-rules.ts";
import type { PagingFormatName } from "../src/hw/paging-format.ts";
import { kernelPreset } from "../src/presets.ts";
import { parseDesign } from "../src/settle-design.ts";

const golden = new URL("golden/pressure/", import.meta.url);
const asked = process.env.BIGMEM_PRESSURE;

const cells = coveringCells();
const programs = Number(asked ?? cells.length);
const MINUTES = 60_000;

/** The first line says where it failed, the second what was wrong. */
const goldenText = (casualty: Casualty): string =>
  `# ${JSON.stringify(casualty.cell)}\n# ${titleOf(casualty)}\n${formatProgram(casualty.program)}`;

describe("where memory is short", () => {
  test(
    `${programs} random programs see what the flat model says, and their machines keep all laws`,
    () => {
      const counts = noCounts();
      const plan = { cells, programs, seed: 1, auditEvery: asked === undefined ? 4 : 1, perCell: 1 };
      const wrong: string[] = [];
      for (const casualty of campaign(plan, counts)) {
        const text = goldenText(casualty);
        writeFileSync(new URL(`${casualty.program.name}.txt`, golden), text);
        wrong.push(text);
      }
      if (asked !== undefined) process.stdout.write(`${formatCounts(counts)} on ${cells.length} designs\n`);
      expect(wrong).toEqual([]);
      // They did run short: most of them filled memory, and swap took part of it.
      expect(counts.freed).toBeGreaterThan(20 * programs);
      expect(counts.swappedOut).toBeGreaterThan(10 * programs);
    },
    asked === undefined ? 5 * MINUTES : 600 * MINUTES,
  );

  test("programs that ask for huge pages get some where they are kept", () => {
    const cell = cells.find(
      ({ hugePages, kernel, softPageShift }) =>
        hugePages!.startsWith("hugetlbfs") && /^linux-6/.test(kernel!) && softPageShift === "0",
    );
    const runner = new ProgramRunner(pressureSpec(cell!, 0));
    const [pool] = runner.machine.kernel.bigPages.pools;
    let mostInUse = 0;
    for (let seed = 1; seed <= 10; seed++) {
      const program = randomProgram(seed, { ...usualShape, operations: 60, profile: "tight-huge" });
      runner.run(program, () => {
        mostInUse = Math.max(mostInUse, pool!.total - pool!.free);
      });
    }
    expect(pool!.total).toBeGreaterThan(0);
    expect(mostInUse).toBe(pool!.total);
  });

  test.each(readdirSync(golden))("%s failed once and does no longer", (file) => {
    const text = readFileSync(new URL(file, golden), "utf8");
    const { paging, kernel, ...chosen } = JSON.parse(text.slice(2, text.indexOf("\n"))) as Record<string, string>;
    // An axis that came later is as the kernel has it, or as the machine allows.
    const design = parseDesign(chosen, kernelPreset(kernel!).design, rulesWith(paging as PagingFormatName));
    const cell = { paging: paging!, kernel: kernel!, ...design };
    for (const program of parsePrograms(text, file)) {
      for (let kind = 0; kind < pressureKinds; kind++)
        expect(judgeUnderPressure({ cell, kind }, program, 1)?.what, `tightness ${kind}`).toBeUndefined();
    }
  });
});
