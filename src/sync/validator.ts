/**
 * Looks on while tasks are interleaved, and says what is wrong even where this time nothing broke: locks that are taken
 * in a circle of orders, sleeping where that is forbidden, maps that are not taken down, slots that are used twice.
 *
 * Orders hold between families of locks: if anybody ever waits for B while holding A, then A comes before B, for good.
 * A lock that is only tried cannot make anybody wait, and is no edge. Two locks of one family may be nested only where
 * the second is said to be of a family of its own.
 */
import type { Lock } from "./lock.ts";
import type { Wait } from "./path.ts";
import type { Task } from "./task.ts";
import type { Taking } from "./watch.ts";

/** An order that was seen. */
interface Edge {
  readonly before: string;
  readonly after: string;
  /** Who did it first, and with which locks. */
  readonly seen: string;
}

/** The orders of locks that were seen, over as many runs as one likes. */
export class LockGraph {
  private readonly edges = new Map<string, Map<string, Edge>>();

  add(before: Lock, after: Lock, task: Task): void {
    const from = this.edges.get(before.family) ?? new Map<string, Edge>();
    this.edges.set(before.family, from);
    if (from.has(after.family)) return;
    const seen = `${task.name} takes ${after.name} while it holds ${before.name}`;
    from.set(after.family, { before: before.family, after: after.family, seen });
  }

  /** Each order, as "A -> B". */
  get orders(): readonly string[] {
    return [...this.edges.values()]
      .flatMap((from) => [...from.values()].map((e) => `${e.before} -> ${e.after}`))
      .sort();
  }

  /** A circle of orders, one sentence an edge; empty if there is none. */
  cycle(): readonly string[] {
    const finished = new Set<string>();
    for (const family of this.edges.keys()) {
      const found = this.cycleFrom(family, [], finished);
      if (found.length > 0) return found.map((edge) => edge.seen);
    }
    return [];
  }

  private cycleFrom(family: string, trail: readonly Edge[], finished: Set<string>): readonly Edge[] {
    const start = trail.findIndex((edge) => edge.before === family);
    if (start >= 0) return trail.slice(start);
    if (finished.has(family)) return [];
    for (const edge of this.edges.get(family)?.values() ?? []) {
      const found = this.cycleFrom(edge.after, [...trail, edge], finished);
      if (found.length > 0) return found;
    }
    finished.add(family);
    return [];
  }
}

/**
 * What a mechanism of maps in slots (kmap) reports: who takes a slot, and who gives it back. A slot is whatever names
 * it: "CPU 1 PTE0", or a number.
 */
export interface SlotWatch {
  /** An atomic map: its owner may not sleep until it is taken down. */
  slotMapped(task: Task, slot: string): void;
  slotUnmapped(task: Task, slot: string): void;
  /** It does what may sleep, although it has a slot mapped. */
  maySleep(task: Task, doing: string): void;
}

/** What is wrong, in a sentence each, in the order in which it happened. */
export class Validator implements SlotWatch {
  readonly graph: LockGraph;
  readonly findings: string[] = [];
  /** By slot: who has it mapped. */
  private readonly live = new Map<string, Task>();

  constructor(graph: LockGraph = new LockGraph()) {
    this.graph = graph;
  }

  acquired(task: Task, lock: Lock, how: Taking): void {
    if (how === "tried") return;
    for (const held of task.held) if (held !== lock) this.graph.add(held, lock, task);
  }

  /** The task gives up its CPU, or only lets others come in between; its CPU has so many atomic maps in place. */
  waits(task: Task, wait: Wait, atomicMaps: number): void {
    if ((wait.how ?? "sleep") !== "sleep") return;
    if (task.preemptCount > 0)
      this.report(`${task.name} sleeps on ${wait.on} while it holds ${this.atomicNames(task)}`);
    if (atomicMaps > 0) this.report(`${task.name} sleeps on ${wait.on} with ${atomicMaps} atomic maps in place`);
  }

  /** The task's path has come to its end. */
  ended(task: Task): void {
    for (const lock of task.held) this.report(`${task.name} ends and holds ${lock.name}`);
    for (const [slot, owner] of this.live) if (owner === task) this.report(`${task.name} ends and has mapped ${slot}`);
    if (task.held.length === 0 && task.preemptCount !== 0)
      this.report(`${task.name} ends with a preempt count of ${task.preemptCount}`);
  }

  slotMapped(task: Task, slot: string): void {
    const owner = this.live.get(slot);
    if (owner !== undefined) this.report(`${task.name} maps ${slot}, which ${owner.name} still uses`);
    this.live.set(slot, task);
  }

  slotUnmapped(task: Task, slot: string): void {
    const owner = this.live.get(slot);
    if (owner !== task) this.report(`${task.name} unmaps ${slot}, which ${owner?.name ?? "nobody"} has mapped`);
    this.live.delete(slot);
  }

  maySleep(task: Task, doing: string): void {
    this.report(`${task.name} comes to ${doing}, which may sleep, while it holds ${this.atomicNames(task)}`);
  }

  private atomicNames(task: Task): string {
    const locks = task.held.filter((lock) => "how" in lock && lock.how === "spin").map((lock) => lock.name);
    const slots = [...this.live].filter(([, owner]) => owner === task).map(([slot]) => slot);
    return [...locks, ...slots].join(", ") || "nothing by name";
  }

  private report(finding: string): void {
    if (!this.findings.includes(finding)) this.findings.push(finding);
  }
}
