/**
 * Programs with the outcomes that they should have: each is run, what differs is kept, and a difference is told with
 * the machine's state before and after the operation that shows it.
 */
import { KernelBug } from "../base/errors.ts";
import { pageOf } from "../base/units.ts";
import type { PagingFormatName } from "../hw/paging-format.ts";
import type { MachineSpec } from "../presets.ts";
import { requireClean } from "./audit/audit.ts";
import { compareOutcomes, type Difference, kindOf, type Outcome, type OutcomeFormat } from "./compare-outcomes.ts";
import { describe } from "./describe.ts";
import { WINDOW, WINDOW_BYTES } from "./executor.ts";
import { formatOperation, type Program } from "./program.ts";
import { ProgramRunner } from "./program-runner.ts";
import type { Observer } from "./run-program.ts";

/** A program whose outcome is not the expected one. */
export interface Mismatch {
  readonly program: Program;
  /** In order, at least one. */
  readonly differences: readonly Difference[];
}

export class ProgramCheck {
  readonly mismatches: Mismatch[] = [];
  private readonly runner: ProgramRunner;
  private readonly format: OutcomeFormat;
  /** Called after each operation. */
  private readonly observe: Observer | undefined;

  constructor(spec: MachineSpec, audit: "never" | "always") {
    this.runner = new ProgramRunner(spec);
    this.format = outcomeFormats[spec.geometry.paging];
    if (audit === "always")
      this.observe = (operation, line, { machine }) =>
        requireClean(machine, `after "${formatOperation(operation)}", which gave "${line}"`);
  }

  /** The program's outcome. */
  run(program: Program): Outcome {
    return this.runner.run(program, this.observe);
  }

  /** Runs the program; keeps and returns what differs from `expected`, or undefined. A bug differs from any outcome. */
  compare(program: Program, expected: Outcome): Mismatch | undefined {
    const differences = this.differences(program, expected);
    if (differences.length === 0) return undefined;
    const mismatch = { program, differences };
    this.mismatches.push(mismatch);
    return mismatch;
  }

  private differences(program: Program, expected: Outcome): readonly Difference[] {
    try {
      return compareOutcomes(expected, this.run(program), this.format);
    } catch (error) {
      if (!(error instanceof KernelBug)) throw error;
      return [{ at: program.operations.length, expected: "no bug", found: `a bug of bigmem's: ${error.message}` }];
    }
  }

  /** How many programs first differ in which kind of line, most frequent first. */
  kinds(): [kind: string, programs: number][] {
    const counts = new Map<string, number>();
    for (const { differences } of this.mismatches) {
      const { expected, found } = differences[0]!;
      const kind = kindOf(expected ?? found ?? "");
      counts.set(kind, (counts.get(kind) ?? 0) + 1);
    }
    return [...counts].sort((a, b) => b[1] - a[1]);
  }

  /** The program's first difference with the state around it. */
  explain({ program, differences }: Mismatch): string {
    const { operations } = program;
    const at = Math.min(differences[0]!.at, operations.length);
    const operation = operations[at];
    const states = this.statesAround(program, at);
    if (operation === undefined) return `The state after the last operation of ${program.name}:\n${states.before}`;
    return [
      `The state before "${formatOperation(operation)}", operation ${at} of ${program.name}:`,
      states.before,
      "and after it:",
      states.after,
    ].join("\n");
  }

  private statesAround(program: Program, at: number): { before: string; after: string } {
    const states = { before: "nothing is mapped in the window yet\n", after: "" };
    let done = -1;
    try {
      this.runner.run(program, (_operation, _line, { machine }) => {
        done++;
        if (done !== at - 1 && done !== at) return;
        const state = describe(machine, { pages: { first: pageOf(WINDOW), end: pageOf(WINDOW + WINDOW_BYTES) } });
        if (done === at) states.after = state;
        else states.before = state;
      });
    } catch (error) {
      if (!(error instanceof KernelBug)) throw error;
    }
    return states;
  }
}

/** The format of a machine's outcomes, by its paging. */
const outcomeFormats: Readonly<Record<PagingFormatName, OutcomeFormat>> = {
  i386: "i386",
  pae: "pae",
  "x86-64": "x86-64",
  "x86-64-la57": "x86-64",
};

/** A mismatch as text: the operations whose lines differ, `-` for what was expected and `+` for what came. */
export function formatMismatch({ program, differences }: Mismatch, most: number): string {
  const lines = [
    `${program.name}: ${differences.length} ${differences.length === 1 ? "line differs" : "lines differ"}`,
  ];
  for (const { at, expected, found } of differences.slice(0, most)) {
    const operation = program.operations[at];
    if (operation !== undefined) lines.push(`    ${formatOperation(operation)}`);
    if (expected !== undefined) lines.push(`  - ${expected}`);
    if (found !== undefined) lines.push(`  + ${found}`);
  }
  if (differences.length > most) lines.push(`  ... and ${differences.length - most} more`);
  return lines.join("\n");
}
