/**
 * bigmem against real kernels: the answers that were recorded and ship, in every run; and, where the machine can, the
 * kernel underneath, asked now.
 */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { compareOutcomes, parseOutcomes } from "../src/check/compare-outcomes.ts";
import { type Disagreement, KernelComparison } from "../src/check/kernel-comparison.ts";
import { likenessOf } from "../src/check/kernel-versions.ts";
import { parsePrograms } from "../src/check/program.ts";
import { programsOfAll } from "../src/check/recorded.ts";
import { suiteNames } from "../src/check/suites.ts";
import { findLiveKernel } from "../src/cli/kernel/live-kernel.ts";
import { readRecording, shippedRecording } from "../src/cli/kernel/recording.ts";

/** The first lines that differ, as a person wants to read them. */
const firstLines = ({ program, expected, found, first }: Disagreement): string =>
  `${program.name}\n- ${expected.lines[first.at]}\n+ ${found.lines[first.at]}`;

describe("the recorded answers of Linux 6.18", () => {
  const { head, answers } = readRecording(shippedRecording);

  test("are bigmem's answers too", () => {
    const comparison = new KernelComparison(likenessOf(head.release), { frames: true });
    for (const { program, outcome } of answers) comparison.compare(program, outcome);
    expect(comparison.disagreements.map(firstLines)).toEqual([]);
    expect(comparison.compared).toBeGreaterThan(2400);
    expect([...comparison.explained]).toEqual([]);
  });
});

const live = findLiveKernel();
const missing = "missing" in live ? live.missing : undefined;

describe(missing === undefined ? "the kernel underneath" : `skipped: needs ${missing}`, () => {
  const asked = test.skipIf(missing !== undefined);
  const kernel = live as Exclude<typeof live, { missing: string }>;

  asked("answers as bigmem does, but for what its version explains", async () => {
    const likeness = likenessOf(kernel.release);
    const comparison = new KernelComparison(likeness, { frames: kernel.sight.frames });
    const random = (["base", "sharing", "truncate"] as const).map((profile) => ({ profile, seed: 1, programs: 40 }));
    const programs = programsOfAll([...suiteNames.map((suite) => ({ suite })), ...random]);
    await kernel.runAll(programs, 1, (program, outcome) => comparison.compare(program, outcome));
    expect(comparison.compared).toBeGreaterThan(500);
    // A kernel between two versions may have changed in ways that neither has.
    if (likeness.exact) expect(comparison.disagreements.map(firstLines)).toEqual([]);
    else expect(comparison.disagreements.length).toBeLessThan(comparison.compared / 10);
  });

  asked("is observed as the recorded 6.1 was", async () => {
    const text = (name: string) => gunzipSync(readFileSync(new URL(`oracle/${name}.gz`, import.meta.url))).toString();
    const expected = parseOutcomes(text("outcomes-linux-6.1-amd64.txt"));
    let equal = 0;
    const programs = parsePrograms(text("programs.txt"), "programs.txt");
    await kernel.runAll(programs, 1, (program, outcome) => {
      if (compareOutcomes(expected.get(program.name)!, outcome, "x86-64").length === 0) equal++;
    });
    // Versions differ in about one program of five.
    expect(equal).toBeGreaterThan(kernel.sight.frames && kernel.sight.locks ? programs.length / 2 : 0);
  });
});
