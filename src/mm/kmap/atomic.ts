/**
 * kmap_atomic: a slot of the fixmap for each type on each CPU. Mapping writes one entry and drops one translation, of
 * this CPU alone; it takes no lock and never waits. In exchange whoever holds a slot may not sleep, and may not use its
 * type again before giving it back. Frames of lowmem need none: callers ask only for frames from `highmemFrom` on.
 *
 *     slot = type + types x CPU          its entry stays behind when it is given back
 *
 * A slot shows a whole soft page: it has as many entries as that has frames, each of which is written and dropped.
 *
 * @models linux-2.6.11 arch/i386/mm/highmem.c kmap_atomic, kunmap_atomic
 * @differs kernel code reads frames without the TLB, so INVLPG has nothing to drop: it is counted
 * @differs linux-6.1 numbers its slots as a stack and clears the entry when it gives one back; it drops as many
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import type { Counters } from "../counters.ts";
import { ATOMIC_TYPES, type AtomicType, atomicTypeNames } from "./atomic-types.ts";
import type { KernelTable } from "./kernel-table.ts";

/** When INVLPG follows the writing of a slot's entry. */
export type InvalidatePolicy = "always" | "when-changed";

/** Which CPU runs. */
export interface Here {
  readonly here: number;
}

/** Who is told of slots while tasks are interleaved. */
export interface AtomicWatch {
  mapped(slot: string): void;
  unmapped(slot: string): void;
  /** Something that may sleep is done on this CPU, which has slots in use. */
  maySleep(doing: string): void;
}

const FREE = -1;

export class AtomicMaps {
  /** Frames from here on are highmem. */
  readonly highmemFrom: Pfn;
  /** Frames that a slot shows. */
  readonly span: number;
  watch: AtomicWatch | null = null;
  private readonly table: KernelTable | null;
  private readonly counters: Counters;
  private readonly where: Here;
  private readonly invalidates: InvalidatePolicy;
  /** By slot: the frame that it is held for, or FREE. */
  private readonly held: Int32Array;
  /** By slot: the frame that its entry names, or FREE. */
  private readonly shown: Int32Array;
  /** By CPU: slots held (what they add to its preempt count). */
  private readonly depth: Int32Array;

  constructor(parts: {
    readonly highmemFrom: Pfn;
    /** null: there is no highmem. */
    readonly table: KernelTable | null;
    /** Frames of a soft page. */
    readonly span?: number;
    readonly cpus: number;
    readonly counters: Counters;
    readonly where: Here;
    readonly invalidates: InvalidatePolicy;
  }) {
    this.highmemFrom = parts.highmemFrom;
    this.table = parts.table;
    this.span = parts.span ?? 1;
    this.counters = parts.counters;
    this.where = parts.where;
    this.invalidates = parts.invalidates;
    this.held = new Int32Array(parts.cpus * ATOMIC_TYPES).fill(FREE);
    this.shown = new Int32Array(parts.cpus * ATOMIC_TYPES).fill(FREE);
    this.depth = new Int32Array(parts.cpus);
  }

  /** This CPU's slot of `type` shows the highmem frame until `unmap`. */
  map(frame: Pfn, type: AtomicType): void {
    const { here } = this.where;
    const slot = type + ATOMIC_TYPES * here;
    if (this.watch !== null) this.watch.mapped(nameOf(slot));
    if (this.held[slot] !== FREE) this.refuse(slot, frame);
    this.held[slot] = frame;
    this.depth[here]!++;
    this.counters.atomicMaps++;
    const head = this.table!.pageOf(frame);
    if (this.shown[slot] === head) {
      if (this.invalidates === "when-changed") return;
    } else {
      this.shown[slot] = head;
      this.table!.show(slot, head);
    }
    this.counters.atomicInvalidations += this.span;
  }

  /** The frame that the slot showed last is mapped and unmapped again, so many times. */
  again(times: number): void {
    this.counters.atomicMaps += times;
    if (this.invalidates === "always") this.counters.atomicInvalidations += times * this.span;
  }

  /** Whether it costs less to show the frame again that a slot showed last: then it matters which one that was. */
  get remembers(): boolean {
    return this.invalidates === "when-changed";
  }

  /** Gives the slot back. Requires: this CPU holds it for `frame`. */
  unmap(frame: Pfn, type: AtomicType): void {
    const { here } = this.where;
    const slot = type + ATOMIC_TYPES * here;
    if (this.watch !== null) this.watch.unmapped(nameOf(slot));
    if (this.held[slot] !== frame)
      bug(`CPU ${here} gives back ${atomicTypeNames[type]} of frame ${frame}: ${this.told(slot)}`);
    this.held[slot] = FREE;
    this.depth[here]!--;
  }

  /** Slots that CPU `cpu` holds: it may not sleep while there are any. */
  heldBy(cpu: number): number {
    return this.depth[cpu]!;
  }

  /** Slots held on all CPUs. */
  get live(): number {
    return this.depth.reduce((sum, held) => sum + held, 0);
  }

  /** `doing` may sleep: a KernelBug if this CPU holds a slot. */
  requireNone(doing: string): void {
    const { here } = this.where;
    if (this.depth[here] === 0) return;
    this.watch?.maySleep(doing);
    const slots = [...this.held.keys()].filter((slot) => Math.floor(slot / ATOMIC_TYPES) === here);
    bug(
      `${doing} in atomic context: ${slots
        .filter((slot) => this.held[slot] !== FREE)
        .map((slot) => this.told(slot))
        .join(", ")}`,
    );
  }

  /** What disagrees between the slots and their entries in memory, one line each. */
  *disagreements(): Generator<string> {
    for (let slot = 0; slot < this.shown.length; slot++) {
      const entry = this.table?.shown(slot) ?? FREE;
      if (entry !== this.shown[slot]) yield `atomic slot ${slot}: entry ${entry}, frame ${this.shown[slot]}`;
      if (this.held[slot] !== FREE) yield this.told(slot);
    }
  }

  private told(slot: number): string {
    const state = this.held[slot] === FREE ? "free" : `held for frame ${this.held[slot]}`;
    return `${nameOf(slot)} is ${state}`;
  }

  private refuse(slot: number, frame: Pfn): never {
    bug(`frame ${frame} wants a slot that is live: ${this.told(slot)}`);
  }
}

const nameOf = (slot: number): string =>
  `${atomicTypeNames[slot % ATOMIC_TYPES]} of CPU ${Math.floor(slot / ATOMIC_TYPES)}`;
