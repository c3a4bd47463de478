/**
 * A campaign of random programs over the design space, on machines that are short of memory: cell after cell, profile after
 * profile, every other program with allocations that are made to fail. A program is known by the campaign's seed and its
 * number, whatever ran before it.
 */
import { bug } from "../base/errors.ts";
import { type Cell, nameOfCell } from "./cells.ts";
import { randomProgram } from "./generator.ts";
import { type Failure, judge } from "./judge.ts";
import { pressureKinds, pressureSpec } from "./pressure.ts";
import { pressureProfileNames } from "./pressure-profiles.ts";
import type { Program } from "./program.ts";
import { ProgramRunner } from "./program-runner.ts";
import { shrink } from "./shrink.ts";

export interface CampaignPlan {
  readonly cells: readonly Cell[];
  readonly programs: number;
  readonly seed: number;
  readonly auditEvery: number;
  /** Programs of one cell in a row. */
  readonly perCell: number;
}

/** A program that went wrong, as small as it gets. */
export interface Casualty extends Place {
  readonly seed: number;
  readonly program: Program;
  readonly failure: Failure;
}

/** What a campaign has seen so far. */
export interface CampaignCounts {
  programs: number;
  operations: number;
  audits: number;
  /** Pages that reclaim freed, pages that went to swap, and pages that came back. */
  freed: number;
  swappedOut: number;
  swappedIn: number;
}

const OPERATIONS = 60;
const FAILURES = 0.1;
const PROCESSES = 4;
/** Programs that are tried to make one that failed smaller. */
const MOST_TRIES = 400;

/** Runs the programs; yields what goes wrong, and keeps `counts`; `seen` is called after each turn. */
export function* campaign(
  plan: CampaignPlan,
  counts: CampaignCounts,
  seen: () => void = () => {},
): Generator<Casualty> {
  const { cells, programs, seed } = plan;
  for (let turn = 0; counts.programs < programs; turn++) {
    const cell = cells[turn % cells.length]!;
    const kind = (turn + Math.floor(turn / cells.length)) % pressureKinds;
    for (let at = 0; at < plan.perCell && counts.programs < programs; at++) {
      // Each round over the cells gives them other profiles than the one before.
      const number = seed + turn * plan.perCell + at + Math.floor(turn / cells.length);
      // A machine of its own, so that what goes wrong can be had again from the program alone.
      const runner = new ProgramRunner(pressureSpec(cell, kind));
      const program = pressureProgram(number);
      const failure = judge(runner, program, plan);
      counts.programs++;
      counts.operations += program.operations.length;
      counts.audits += Math.floor(program.operations.length / plan.auditEvery);
      addCosts(counts, runner);
      if (failure !== undefined) yield smallest(cell, kind, number, program, plan);
    }
    seen();
  }
}

/** The program of that number. */
function pressureProgram(number: number): Program {
  const profile = pressureProfileNames[number % pressureProfileNames.length]!;
  const failures = Math.floor(number / pressureProfileNames.length) % 2 === 0 ? 0 : FAILURES;
  return randomProgram(number, { operations: OPERATIONS, processes: PROCESSES, failures, profile });
}

export const noCounts = (): CampaignCounts => ({
  programs: 0,
  operations: 0,
  audits: 0,
  freed: 0,
  swappedOut: 0,
  swappedIn: 0,
});

/** `1,000 programs, ...`. */
export function formatCounts(counts: CampaignCounts): string {
  const words = [
    `${thousands(counts.programs)} programs of ${thousands(counts.operations)} operations`,
    `${thousands(counts.audits)} audits`,
    `${thousands(counts.freed)} pages reclaimed`,
    `${thousands(counts.swappedOut)} written to swap, ${thousands(counts.swappedIn)} read back`,
  ];
  return words.join(", ");
}

const thousands = (value: number): string => value.toLocaleString("en-US");

function addCosts(counts: CampaignCounts, { machine }: ProgramRunner): void {
  const { reclaim, swap } = machine.kernel;
  counts.freed += reclaim.costs.pagesFreed;
  counts.swappedOut += swap.costs.pagesOut;
  counts.swappedIn += swap.costs.pagesIn;
}

function smallest(cell: Cell, kind: number, seed: number, program: Program, { auditEvery }: CampaignPlan): Casualty {
  const fails = (candidate: Program, every: number) => judgeUnderPressure({ cell, kind }, candidate, every);
  const every = fails(program, 1) === undefined ? auditEvery : 1;
  const small = shrink(program, (candidate) => fails(candidate, every) !== undefined, MOST_TRIES);
  const failure = fails(small, every) ?? bug(`program ${seed} fails once and not again`);
  return { cell, kind, seed, program: small, failure };
}

/** Where a program of a campaign ran. */
export interface Place {
  readonly cell: Cell;
  readonly kind: number;
}

/** What is wrong with a program's run there; undefined if nothing is. */
export const judgeUnderPressure = ({ cell, kind }: Place, program: Program, auditEvery: number): Failure | undefined =>
  judge(new ProgramRunner(pressureSpec(cell, kind)), program, { auditEvery });

/** What went wrong, in words: the cell, the sentence, and the program. */
export const titleOf = ({ cell, kind, seed, failure }: Casualty): string =>
  `${nameOfCell(cell)}, tightness ${kind}, program ${seed}: ${failure.what.split("\n")[0]}`;
