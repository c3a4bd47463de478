/**
 * Programs on a real kernel and on the model of it: which outcomes differ, which of the differences the kernel's version
 * explains, and what the others look like at their smallest.
 */
import { KernelBug } from "../base/errors.ts";
import { pageOf } from "../base/units.ts";
import type { PersonalityName } from "../mm/personality.ts";
import { comparable, compareOutcomes, type Difference, type Outcome } from "./compare-outcomes.ts";
import { describe } from "./describe.ts";
import { WINDOW, WINDOW_BYTES } from "./executor.ts";
import { changeShownBy, type Likeness } from "./kernel-versions.ts";
import { oracleSpec } from "./oracle-machine.ts";
import { formatOperation, formatProgram, type Program } from "./program.ts";
import { ProgramRunner } from "./program-runner.ts";
import { shrink } from "./shrink.ts";

/** A program whose outcomes differ. */
export interface Disagreement {
  readonly program: Program;
  readonly expected: Outcome;
  readonly found: Outcome;
  readonly first: Difference;
}

/** What the answers of the real kernel leave out. */
export interface Blindness {
  /** Without frame numbers there are no `pg` lines. */
  readonly frames: boolean;
  /** Pages in its pool of huge pages, of which nobody else uses any; none unless it is said. */
  readonly hugePages?: number;
}

export class KernelComparison {
  readonly likeness: Likeness;
  compared = 0;
  /** Differences that a neighbouring version has too, by what they are about: how many programs. */
  readonly explained = new Map<string, number>();
  readonly disagreements: Disagreement[] = [];
  private readonly blindness: Blindness;
  private readonly runners = new Map<PersonalityName, ProgramRunner>();

  constructor(likeness: Likeness, blindness: Blindness) {
    this.likeness = likeness;
    this.blindness = blindness;
  }

  /** Compares one program; what differs is counted or kept. */
  compare(program: Program, expected: Outcome): void {
    this.compared++;
    const disagreement = this.disagreement(program, expected);
    if (disagreement === undefined) return;
    const change = this.versionChange(disagreement);
    if (change === undefined) this.disagreements.push(disagreement);
    else this.explained.set(change, (this.explained.get(change) ?? 0) + 1);
  }

  /** How the nearest personality differs from the kernel on a program; undefined if it does not. */
  disagreement(program: Program, expected: Outcome): Disagreement | undefined {
    const found = this.answer(program, this.likeness.nearest);
    const [first] = compareOutcomes(expected, found, "x86-64");
    return first === undefined ? undefined : { program, expected, found, first };
  }

  /** What changed between versions, if a neighbour answers the first line that differs as the kernel does. */
  private versionChange({ program, expected, first }: Disagreement): string | undefined {
    const line = expected.lines[first.at];
    if (this.likeness.exact || line === undefined) return undefined;
    for (const neighbour of this.likeness.neighbours) {
      const theirs = this.answer(program, neighbour).lines[first.at];
      if (theirs !== undefined && comparable(theirs, "x86-64") === comparable(line, "x86-64"))
        return `${changeShownBy(line)} (as in ${neighbour})`;
    }
    return undefined;
  }

  /** The smallest program that still differs; `ask` runs a program on the kernel. */
  smallest(disagreement: Disagreement, ask: (program: Program) => Outcome): Disagreement {
    let smallest = disagreement;
    shrink(disagreement.program, (candidate) => {
      const still = this.disagreement(candidate, ask(candidate));
      const differs = still !== undefined && this.versionChange(still) === undefined;
      if (differs) smallest = still;
      return differs;
    });
    return smallest;
  }

  /** A difference as a person wants to read it: the program, both outcomes, the model's state after what differs. */
  explain({ program, expected, found, first }: Disagreement, kernel: string): string {
    const { nearest } = this.likeness;
    const width = Math.max(kernel.length, nearest.length + " in bigmem".length);
    const operation = program.operations[first.at];
    const at = operation === undefined ? "at the end" : `at ${formatOperation(operation)}`;
    return [
      formatProgram(program),
      `The first difference, ${at}:`,
      `  ${kernel.padEnd(width)}  ${expected.lines[first.at] ?? "(nothing)"}`,
      `  ${`${nearest} in bigmem`.padEnd(width)}  ${found.lines[first.at] ?? "(nothing)"}`,
      "",
      "bigmem's window after it:",
      this.stateAfter(program, first.at),
    ].join("\n");
  }

  private stateAfter(program: Program, operation: number): string {
    const last = Math.min(operation, program.operations.length - 1);
    let operations = 0;
    let state = "";
    try {
      this.runner(this.likeness.nearest).run(program, (_operation, _line, { machine }) => {
        if (operations++ !== last) return;
        state = describe(machine, { pages: { first: pageOf(WINDOW), end: pageOf(WINDOW + WINDOW_BYTES) } });
      });
    } catch (error) {
      if (!(error instanceof KernelBug)) throw error;
    }
    return state;
  }

  /** A bug that stops the model is an outcome too: one that no kernel has. */
  private answer(program: Program, personality: PersonalityName): Outcome {
    try {
      const outcome = this.runner(personality).run(program);
      if (this.blindness.frames) return outcome;
      return { name: outcome.name, lines: outcome.lines.filter((line) => !/^P\d pg /.test(line)) };
    } catch (error) {
      if (!(error instanceof KernelBug)) throw error;
      return { name: program.name, lines: [`a bug of bigmem's: ${error.message}`] };
    }
  }

  private runner(personality: PersonalityName): ProgramRunner {
    let runner = this.runners.get(personality);
    if (runner === undefined) {
      const spec = oracleSpec("x86-64", personality);
      runner = new ProgramRunner({
        ...spec,
        tunables: { ...spec.tunables, hugePages: this.blindness.hugePages ?? 0 },
      });
      this.runners.set(personality, runner);
    }
    return runner;
  }
}
