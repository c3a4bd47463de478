/**
 * Searching interleavings. Generators cannot be copied, so a search keeps no states: it builds the world anew for each
 * run and makes the same choices again up to where it branches. That needs a world that is a function of its choices.
 *
 * The exhaustive search is depth first with sleep sets (Godefroid): once all runs that start with step `a` have been
 * seen, `a` sleeps in the branches beside it, until a step that does not commute with it is made. What is pruned differs
 * from a run that was seen only in the order of steps that commute, so every reachable deadlock and every final state is
 * still found; and so is whatever breaks after a step, as long as it can be told from what the objects that the step
 * touched are then.
 */
import type { Rng } from "../base/rng.ts";
import { type Actor, commute, type Footprint, type Scheduler, type Step } from "./scheduler.ts";

/** One run's world: tasks in their places, nothing run yet. */
export interface World {
  readonly scheduler: Scheduler;
  /** What is wrong after a step; undefined if nothing is. */
  readonly wrong: () => string | undefined;
  /** What is wrong when all tasks have ended. */
  readonly wrongAtEnd: () => string | undefined;
  /** The state, in the notation, for whoever reads about a failure. */
  readonly describe: () => string;
}

export type Build = () => World;

/** A run that broke something. */
export interface Failure {
  readonly choices: readonly Actor[];
  readonly reason: string;
  readonly steps: readonly Step[];
  readonly state: string;
}

export interface Searched {
  /** Runs to an end: of an exhaustive search, interleavings that differ in more than the order of commuting steps. */
  readonly runs: number;
  /** Runs that were given up because others cover them. */
  readonly pruned: number;
  readonly steps: number;
  /** Whether nothing is left to be searched. */
  readonly complete: boolean;
  readonly failure?: Failure;
}

export interface Bounds {
  /** Runs after which to give up. */
  readonly runs: number;
}

/** How a run ends. */
type End = "goes-on" | "done" | { readonly reason: string };

/** A place where the search branches. */
interface Branch {
  chosen: Actor;
  footprint: Footprint;
  readonly able: readonly Actor[];
  /** Steps that need not be made here: runs that start with them have been seen, or are seen elsewhere. */
  readonly sleeping: Map<Actor, Footprint>;
}

/** Runs the world by its choices; then, if it is not at its end, by the first that can be made. */
export function replay(build: Build, choices: readonly Actor[]): { world: World; failure: Failure | undefined } {
  const world = build();
  const made: Actor[] = [];
  for (let at = 0; ; at++) {
    const end = endOf(world);
    if (end !== "goes-on") return { world, failure: end === "done" ? undefined : failureOf(world, made, end.reason) };
    const actor = choices[at] ?? world.scheduler.choices()[0]!;
    made.push(actor);
    world.scheduler.step(actor);
  }
}

/** Searches every interleaving until one breaks. */
export function searchAll(build: Build, bounds: Bounds): Searched {
  const branches: Branch[] = [];
  let runs = 0;
  let pruned = 0;
  let steps = 0;
  do {
    if (runs >= bounds.runs) return { runs, pruned, steps, complete: false };
    const world = build();
    const end = runFrom(world, branches);
    steps += world.scheduler.steps.length;
    if (end === "asleep") pruned++;
    else runs++;
    if (typeof end === "string") continue;
    const choices = branches.map(({ chosen }) => chosen);
    return { runs, pruned, steps, complete: false, failure: failureOf(world, choices, end.reason) };
  } while (backtrack(branches));
  return { runs, pruned, steps, complete: true };
}

/** Makes the choices of `branches`, the last of which is new, and goes on from there, branching. */
function runFrom(world: World, branches: Branch[]): Exclude<End, "goes-on"> | "asleep" {
  const { scheduler } = world;
  for (const branch of branches) branch.footprint = scheduler.step(branch.chosen);
  for (;;) {
    const end = endOf(world);
    if (end !== "goes-on") return end;
    const able = scheduler.choices();
    const sleeping = stillAsleep(branches[branches.length - 1]);
    const chosen = able.find((actor) => !sleeping.has(actor));
    if (chosen === undefined) return "asleep";
    branches.push({ chosen, able, sleeping, footprint: scheduler.step(chosen) });
  }
}

/** What sleeps after a branch's step: what slept before it, and commutes with it. */
function stillAsleep(branch: Branch | undefined): Map<Actor, Footprint> {
  const sleeping = new Map<Actor, Footprint>();
  if (branch === undefined) return sleeping;
  for (const [actor, footprint] of branch.sleeping) {
    if (commute(footprint, branch.footprint)) sleeping.set(actor, footprint);
  }
  return sleeping;
}

/** Changes the last choice that can be changed; false if there is none. */
function backtrack(branches: Branch[]): boolean {
  for (let branch = branches.pop(); branch !== undefined; branch = branches.pop()) {
    const { sleeping, able } = branch;
    sleeping.set(branch.chosen, branch.footprint);
    const next = able.find((actor) => !sleeping.has(actor));
    if (next === undefined) continue;
    branch.chosen = next;
    branches.push(branch);
    return true;
  }
  return false;
}

/**
 * The failure that takes the fewest switches away from somebody who could have gone on; of those, the fewest steps.
 * `known` is one that exists. Searches by rising numbers of switches (Musuvathi, Qadeer), and gives up after so many runs.
 */
export function shortestFailure(build: Build, known: Failure, bounds: Bounds): Failure {
  let left = bounds.runs;
  for (let switches = 0; left > 0; switches++) {
    const found = failureWithin(build, switches, left);
    left -= found.runs;
    if (found.failure !== undefined) return found.failure;
  }
  return known;
}

interface Turn {
  /** Whoever made the last step comes first, if he can go on: all others are switches then. */
  readonly able: readonly Actor[];
  readonly canGoOn: boolean;
  /** Switches before. */
  readonly spent: number;
  at: number;
}

const spentAfter = ({ canGoOn, spent, at }: Turn): number => (canGoOn && at > 0 ? spent + 1 : spent);

/** The shortest failure among the runs with at most so many switches. */
function failureWithin(build: Build, switches: number, most: number): { runs: number; failure: Failure | undefined } {
  const turns: Turn[] = [];
  let failure: Failure | undefined;
  let runs = 0;
  do {
    const world = build();
    const { scheduler } = world;
    runs++;
    for (const { able, at } of turns) scheduler.step(able[at]!);
    let end = endOf(world);
    while (end === "goes-on" && turns.length < (failure?.choices.length ?? Number.POSITIVE_INFINITY)) {
      turns.push(nextTurn(scheduler, turns[turns.length - 1], switches));
      scheduler.step(turns[turns.length - 1]!.able[0]!);
      end = endOf(world);
    }
    if (typeof end !== "string" && turns.length < (failure?.choices.length ?? Number.POSITIVE_INFINITY)) {
      const choices = turns.map(({ able, at }) => able[at]!);
      failure = failureOf(world, choices, end.reason);
    }
  } while (nextChoice(turns) && runs < most);
  return { runs, failure };
}

function nextTurn(scheduler: Scheduler, before: Turn | undefined, switches: number): Turn {
  const all = scheduler.choices();
  const canGoOn = before !== undefined && all[0] === before.able[before.at];
  const spent = before === undefined ? 0 : spentAfter(before);
  return { able: canGoOn && spent >= switches ? all.slice(0, 1) : all, canGoOn, spent, at: 0 };
}

/** Moves to the next choice of the last turn that has one; false if none has. */
function nextChoice(turns: Turn[]): boolean {
  for (let turn = turns.pop(); turn !== undefined; turn = turns.pop()) {
    if (turn.at + 1 >= turn.able.length) continue;
    turn.at++;
    turns.push(turn);
    return true;
  }
  return false;
}

/** Runs that choose at random, until one breaks. */
export function searchAtRandom(build: Build, rng: Rng, bounds: Bounds): Searched {
  let steps = 0;
  for (let runs = 1; runs <= bounds.runs; runs++) {
    const world = build();
    const { scheduler } = world;
    let end = endOf(world);
    while (end === "goes-on") {
      scheduler.step(rng.pick(scheduler.choices()));
      end = endOf(world);
    }
    steps += scheduler.steps.length;
    if (end === "done") continue;
    const choices = scheduler.steps.map(({ actor }) => actor);
    return { runs, pruned: 0, steps, complete: false, failure: failureOf(world, choices, end.reason) };
  }
  return { runs: bounds.runs, pruned: 0, steps, complete: false };
}

function endOf({ scheduler, wrong, wrongAtEnd }: World): End {
  const broken = scheduler.crash ?? wrong() ?? scheduler.validator.findings[0];
  if (broken !== undefined) return { reason: broken };
  if (!scheduler.isDone) {
    const deadlock = scheduler.deadlock();
    return deadlock === undefined ? "goes-on" : { reason: `deadlock: ${deadlock}` };
  }
  const left = wrongAtEnd();
  return left === undefined ? "done" : { reason: left };
}

function failureOf(world: World, choices: readonly Actor[], reason: string): Failure {
  return { choices, reason, steps: world.scheduler.steps, state: world.describe() };
}
