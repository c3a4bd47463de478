/** Directed programs, as data: what random ones meet too seldom. */
import { type Program, parsePrograms } from "./program.ts";
import { errorLayout, errorRows, everyAdvice, everyArea } from "./suites/errors.ts";
import { foundPrograms } from "./suites/found.ts";
import { mergePrograms } from "./suites/merges.ts";
import { segmentPrograms } from "./suites/segments.ts";
import { tablePrograms } from "./suites/tables.ts";

/** By name: what a suite is about, and its programs' text. */
export const suites = {
  errors: { about: "each call's table of errors, and every advice on every kind of area", programs: errorPrograms },
  joins: { about: "which areas join and where they split", programs: mergePrograms },
  tables: { about: "bytes of page tables where tables begin and end", programs: tablePrograms },
  segments: {
    about: "System V shared memory: errors, addresses, pieces of what was attached",
    programs: segmentPrograms,
  },
  found: { about: "programs that once differed", programs: foundPrograms },
} as const satisfies Record<string, { about: string; programs: () => string[] }>;

export type SuiteName = keyof typeof suites;

export const suiteNames = Object.keys(suites) as SuiteName[];

export const suitePrograms = (name: SuiteName): Program[] =>
  parsePrograms(suites[name].programs().join("\n"), `the suite "${name}"`);

function errorPrograms(): string[] {
  const tables = Object.entries(errorRows).map(([name, rows]) => errorProgram(name, rows));
  const advice = everyArea.map((area) =>
    errorProgram(
      `advice-${area}`,
      everyAdvice.map((number) => `madvise ${area} 0x3000 ${number}\nw ${area} ${number + 1}`).join("\n"),
    ),
  );
  return [...tables, ...advice];
}

function errorProgram(name: string, rows: string): string {
  const lines = rows.trim().split("\n");
  return [`prog errors-${name}`, errorLayout.trim(), ...lines.map((line) => `0 ${line}`), "end"].join("\n");
}
