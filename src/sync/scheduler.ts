/**
 * Interleaves tasks over simulated CPUs, one step at a time: a step is what a path does between two yields, or one
 * interrupt. Somebody else says which step comes next, so that a run is its list of choices, and can be run again.
 *
 * A CPU runs one task until that task sleeps, ends, or may be preempted where it stands: anywhere in a program, and in
 * the kernel only if the kernel is preemptible and the task holds nothing atomic. A CPU that spins does nothing else, but
 * takes interrupts.
 *
 * Independence: two steps commute unless they run on one CPU, or both touch one object and one of them changes it. Objects
 * are known by their names, since a search compares steps of different runs: CPUs, locks, what a lock guards while it is
 * held, and whatever else paths name by `touch` or the versions of `shared` reveal: a mask of CPUs, a pending flush, memory
 * (all page tables, frames and lists of the allocator count as one object).
 */
import { bug, KernelBug } from "../base/errors.ts";
import type { Interrupts } from "./interrupts.ts";
import type { Lock } from "./lock.ts";
import type { Path, Wait } from "./path.ts";
import { point } from "./path.ts";
import type { Task } from "./task.ts";
import { Validator } from "./validator.ts";
import type { Taking, Touch, Watch } from "./watch.ts";

/** Who makes a step: a task by its number, from 0; then, after the tasks, the interrupts of each CPU. */
export type Actor = number;

/** What a step touched, and how. */
export type Footprint = ReadonlyMap<string, Touch>;

/** State that changes outside locks: a step that moves its version has touched it. */
export interface Shared {
  readonly name: string;
  readonly version: () => number;
}

/** Whether steps and what they touched are kept: a search needs both, a long run neither. */
export type Keeping = "everything" | "nothing";

export interface Scheduling {
  readonly cpus: number;
  readonly preemption: "on" | "off";
  readonly keeps?: Keeping;
  /** `task` runs on its CPU from now on. */
  readonly switched: (task: Task) => void;
  /** A step on this CPU begins. */
  readonly entered: (cpu: number, task: Task | undefined) => void;
  readonly shared: readonly Shared[];
  /** Atomic maps that the CPU holds. */
  readonly atomicMaps?: (cpu: number) => number;
  readonly validator?: Validator;
}

/** One step, for people. */
export interface Step {
  readonly actor: Actor;
  readonly cpu: number;
  readonly who: string;
  /** What it came to: what the task waits for now, or that it has ended. */
  readonly then: string;
  readonly held: readonly string[];
}

interface Runner {
  readonly task: Task;
  readonly path: Path<unknown>;
  wait: Wait;
  ended: boolean;
}

interface Interrupt {
  readonly what: string;
  readonly handle: () => void;
}

const START = point("its start", "user");

export class Scheduler implements Interrupts, Watch {
  readonly validator: Validator;
  readonly steps: Step[] = [];
  /** Times that a CPU went to another task, and that one was interrupted. */
  switches = 0;
  interrupted = 0;
  /** What a step of a kept run broke: nothing more can be made of that run. */
  crash: string | undefined;
  private readonly keepsNothing: boolean;
  private readonly scheduling: Scheduling;
  private readonly runners: Runner[] = [];
  /** By CPU: who has it. */
  private readonly current: (Runner | undefined)[];
  private readonly pending: Interrupt[][];
  private footprint = new Map<string, Touch>();

  constructor(scheduling: Scheduling) {
    this.scheduling = scheduling;
    this.keepsNothing = scheduling.keeps === "nothing";
    this.validator = scheduling.validator ?? new Validator();
    this.current = Array.from({ length: scheduling.cpus }, () => undefined);
    this.pending = this.current.map(() => []);
  }

  /** A task that runs `path` on its CPU, before the first step. */
  add(task: Task, path: Path<unknown>): void {
    task.watch = this;
    this.runners.push({ task, path, wait: START, ended: false });
  }

  /** Who can make a step now; the one who made the last step first. */
  choices(): Actor[] {
    const able: Actor[] = [];
    const last = this.steps[this.steps.length - 1]?.actor;
    this.runners.forEach((runner, actor) => {
      if (!this.canRun(runner)) return;
      if (actor === last) able.unshift(actor);
      else able.push(actor);
    });
    this.pending.forEach((queue, cpu) => {
      if (queue.length > 0) able.push(this.runners.length + cpu);
    });
    return able;
  }

  /** Makes one step; what it touched. */
  step(actor: Actor): Footprint {
    const runner = this.runners[actor];
    if (this.keepsNothing) {
      if (runner === undefined) this.interrupt(actor - this.runners.length);
      else this.run(runner, actor);
      return this.footprint;
    }
    this.footprint = new Map();
    const before = this.scheduling.shared.map(({ version }) => version());
    try {
      if (runner === undefined) this.interrupt(actor - this.runners.length);
      else this.run(runner, actor);
    } catch (error) {
      if (!(error instanceof KernelBug)) throw error;
      this.crash = error.message;
      if (runner !== undefined) this.note(actor, runner.task.cpu, runner.task.name, "crashes", runner.task.held);
    }
    this.scheduling.shared.forEach(({ name, version }, at) => {
      if (version() !== before[at]) this.touch(name, "write");
    });
    return this.footprint;
  }

  /** Tasks that have not been forgotten. */
  get tasks(): number {
    return this.runners.length;
  }

  /** Forgets tasks that have ended: the others get new numbers. */
  reap(): void {
    for (let at = this.runners.length - 1; at >= 0; at--) if (this.runners[at]!.ended) this.runners.splice(at, 1);
  }

  get isDone(): boolean {
    return this.runners.every(({ ended }) => ended) && this.pending.every((queue) => queue.length === 0);
  }

  /** Who waits for what, when nobody can make a step and not all have ended. */
  deadlock(): string | undefined {
    if (this.isDone || this.choices().length > 0) return undefined;
    const waiting = this.runners.filter(({ ended }) => !ended);
    return waiting.map(({ task, wait }) => `${task.name} waits for ${wait.on}${holding(task)}`).join("; ");
  }

  // What paths and locks tell.

  touch(what: string, how: Touch): void {
    if (this.keepsNothing) return;
    if (how === "write" || !this.footprint.has(what)) this.footprint.set(what, how);
  }

  acquired(task: Task, lock: Lock, how: Taking): void {
    this.touch(lock.name, "write");
    if (lock.guards !== undefined) this.touch(lock.guards, "write");
    this.validator.acquired(task, lock, how);
  }

  released(_task: Task, lock: Lock): void {
    if (lock.guards !== undefined) this.touch(lock.guards, "write");
  }

  send(cpu: number, what: string, handle: () => void): void {
    this.touch(nameOf(cpu), "write");
    this.pending[cpu]!.push({ what, handle });
  }

  private canRun(runner: Runner): boolean {
    if (runner.ended || !runner.wait.ready()) return false;
    const holder = this.current[runner.task.cpu];
    return holder === undefined || holder === runner || this.mayLeave(holder);
  }

  /** Whether the CPU may go from `runner` to another task. */
  private mayLeave({ ended, wait, task }: Runner): boolean {
    if (ended) return true;
    const how = wait.how ?? "sleep";
    if (how === "spin" || task.preemptCount > 0 || this.mapsOf(task.cpu) > 0) return false;
    return how === "user" || (how === "sleep" && !wait.ready()) || this.scheduling.preemption === "on";
  }

  private run(runner: Runner, actor: Actor): void {
    const { task } = runner;
    this.touch(nameOf(task.cpu), "write");
    for (const { guards } of task.held) if (guards !== undefined) this.touch(guards, "write");
    this.scheduling.entered(task.cpu, task);
    if (this.current[task.cpu] !== runner) {
      this.current[task.cpu] = runner;
      this.switches++;
      this.scheduling.switched(task);
    }
    const next = runner.path.next();
    if (next.done === true) {
      runner.ended = true;
      this.validator.ended(task);
    } else {
      runner.wait = next.value;
      this.validator.waits(task, next.value, this.mapsOf(task.cpu));
    }
    if (!this.keepsNothing)
      this.note(actor, task.cpu, task.name, runner.ended ? "ends" : `comes to ${runner.wait.on}`, task.held);
  }

  private mapsOf(cpu: number): number {
    return this.scheduling.atomicMaps?.(cpu) ?? 0;
  }

  private interrupt(cpu: number): void {
    const interrupt = this.pending[cpu]?.shift() ?? bug(`CPU ${cpu} has no interrupt`);
    this.touch(nameOf(cpu), "write");
    const task = this.current[cpu]?.task;
    this.scheduling.entered(cpu, task);
    interrupt.handle();
    this.interrupted++;
    if (!this.keepsNothing) this.note(this.runners.length + cpu, cpu, "interrupt", interrupt.what, task?.held ?? []);
  }

  private note(actor: Actor, cpu: number, who: string, then: string, held: readonly Lock[]): void {
    this.steps.push({ actor, cpu, who, then, held: held.map(({ name }) => name) });
  }
}

const nameOf = (cpu: number): string => `CPU ${cpu}`;

function holding({ held }: Task): string {
  return held.length === 0 ? "" : ` and holds ${held.map(({ name }) => name).join(", ")}`;
}

/** Whether two steps commute. */
export function commute(one: Footprint, other: Footprint): boolean {
  for (const [what, how] of one) {
    const too = other.get(what);
    if (too !== undefined && (how === "write" || too === "write")) return false;
  }
  return true;
}
