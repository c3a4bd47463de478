/** Every design gives the same bytes: recorded programs must have one outcome, dumps and fault counts included, on all. */
import { readFileSync } from "node:fs";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { coveringCells, designOf, everyChoice } from "../src/check/cells.ts";
import { formatOutcome, withoutNeighbours } from "../src/check/compare-outcomes.ts";
import { oracleSpec } from "../src/check/oracle-machine.ts";
import { parsePrograms } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import type { Design } from "../src/design.ts";
import { kernelPresets } from "../src/presets.ts";

const text = gunzipSync(readFileSync(new URL("oracle/programs.txt.gz", import.meta.url))).toString();
const every = 6;
const programs = parsePrograms(text, "programs.txt").filter((_, at) => at % every === 0);

/**
 * Designs in which any two choices of different axes meet, on a machine that has highmem. Recorded programs know pages of 4 KiB,
 * and BSD's style has others: test/whole-pages.test.ts.
 */
const designs = (kernel: string): Design[] =>
  coveringCells({ ...everyChoice, paging: ["pae"], kernel: [kernel], softPageStyle: ["abi-preserving"] }).map(designOf);

describe.each(Object.keys(kernelPresets))("%s", (kernel) => {
  const base = oracleSpec("pae", kernel).design;
  const outcomes = (design: Design, chosen: typeof programs) => {
    const runner = new ProgramRunner(oracleSpec("pae", kernel, design));
    return chosen.map((program) => formatOutcome(runner.run(program)));
  };

  test("every design gives a program the same outcome", () => {
    const expected = new Map(outcomes(base, programs).map((outcome, at) => [programs[at]!.name, outcome]));
    for (const design of designs(kernel)) {
      // What remap_file_pages does is the one axis that a program may notice.
      const alike = design.nonlinear === base.nonlinear ? programs : programs.filter((program) => !callsRemap(program));
      // What comes along with a page that is touched is a matter of how large the kernel's own pages are.
      const told = looking(base, design);
      const seen = design.softPageShift === base.softPageShift ? told : (text: string) => told(withoutOthers(text));
      const found = outcomes(design, alike).map(seen);
      expect(found, JSON.stringify(design)).toEqual(alike.map(({ name }) => seen(expected.get(name)!)));
    }
  });
});

const callsRemap = ({ operations }: (typeof programs)[number]): boolean =>
  operations.some(({ name }) => name === "rfp");

/** What of an outcome must be alike on both designs. */
function looking(base: Design, design: Design): (outcome: string) => string {
  // What one has faulted in is there for whoever shares its table: he faults less, and more is resident.
  if (design.pageTableSharing !== base.pageTableSharing) return (text) => withoutResidence(withoutTables(text));
  // When page tables go shows in VmPTE alone.
  return design.pageTableFreeing === base.pageTableFreeing ? (text) => text : withoutTables;
}

const withoutResidence = (outcome: string): string =>
  outcome
    .replaceAll(/ mf=\d+,\d+/g, "")
    .replaceAll(/ (rss|pss|s[cd]|p[cd])=\d+/g, "")
    .replaceAll(/^P\d+ pg .*$/gm, "");
const withoutOthers = (outcome: string): string => outcome.split("\n").map(withoutNeighbours).join("\n");

const withoutTables = (outcome: string): string => outcome.replaceAll(/ pte=\d+/g, "");
