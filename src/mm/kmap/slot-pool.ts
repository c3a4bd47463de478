/**
 * A pool of window slots handed out round and round: kmap's own algorithm, whoever owns the pool. A slot's count says
 * how it is:
 *
 *     0      free: entry clear, no CPU has its translation
 *     1      nobody uses it, but the entry is set: found again without cost until the next flush
 *     n + 1  n users
 *
 * Slots are only ever scanned forward. At the wrap to slot 0, and nowhere else, all slots with count 1 are cleared and
 * TLBs flushed once. If all are in use, the mapper waits, without a bound: nothing is reserved for anybody.
 *
 * @models linux-2.6.11 mm/highmem.c map_new_virtual, flush_all_zero_pkmaps, kmap_high, kunmap_high
 * @differs a frame's slot is found by hashing, as in 2.6; 2.4 keeps it in struct page
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import type { Path, Wait } from "../../sync/path.ts";
import { NOT_INDEXED, WindowIndex } from "./index-of-frames.ts";
import type { KernelTable } from "./kernel-table.ts";

/** All slots are in use. */
export const NO_WINDOW = -1;

const NO_FRAME_SHOWN = -1;

/** What a pool did so far. */
export interface PoolCosts {
  /** Maps asked for. */
  maps: number;
  /** Maps that found the frame in a slot already. */
  found: number;
  /** Nodes that looking up a frame's slot went through. */
  lookupSteps: number;
  /** Slots looked at, in search of a free one. */
  scanned: number;
  /** Entries written and cleared. */
  entriesWritten: number;
  /** Wraps: TLB flushes. */
  flushes: number;
  /** Times a mapper had to wait. */
  waits: number;
}

export const noPoolCosts = (): PoolCosts => ({
  maps: 0,
  found: 0,
  lookupSteps: 0,
  scanned: 0,
  entriesWritten: 0,
  flushes: 0,
  waits: 0,
});

export interface PoolParts {
  readonly name: string;
  readonly table: KernelTable;
  readonly costs: PoolCosts;
  /** Drops the pool's translations wherever they may be. */
  readonly flush: () => void;
}

interface Waiter {
  isWoken: boolean;
}

export class SlotPool {
  readonly name: string;
  readonly slots: number;
  /** By slot: 0, 1, or one more than its users (pkmap_count). */
  readonly counts: Int32Array;
  private readonly table: KernelTable;
  private readonly costs: PoolCosts;
  private readonly flush: () => void;
  /** By slot: the frame that it shows. */
  private readonly shown: Int32Array;
  /** The slot of each frame that has one (page_address). */
  private readonly index: WindowIndex;
  private readonly waiters: Waiter[] = [];
  /** Slots with users. */
  private busy = 0;
  /** The slot taken last (last_pkmap_nr). */
  private last = 0;

  constructor(parts: PoolParts) {
    this.name = parts.name;
    this.table = parts.table;
    this.costs = parts.costs;
    this.flush = parts.flush;
    this.slots = parts.table.slots;
    this.counts = new Int32Array(this.slots);
    this.shown = new Int32Array(this.slots).fill(NO_FRAME_SHOWN);
    this.index = new WindowIndex(this.shown);
  }

  /** A slot that shows `frame`, with one more user; or NO_WINDOW if all are in use. */
  tryMap(wanted: Pfn): number {
    const frame = this.table.pageOf(wanted);
    let slot = this.find(frame);
    if (slot !== NO_WINDOW) this.costs.found++;
    else {
      slot = this.free();
      if (slot === NO_WINDOW) return NO_WINDOW;
      this.table.show(slot, frame);
      this.costs.entriesWritten += this.table.span;
      this.shown[slot] = frame;
      this.counts[slot] = 1;
      this.index.add(slot);
    }
    this.costs.maps++;
    if (++this.counts[slot]! === 2) this.busy++;
    return slot;
  }

  /** The same, waiting for a slot if need be. */
  *map(frame: Pfn): Path<number> {
    for (;;) {
      const slot = this.tryMap(frame);
      if (slot !== NO_WINDOW) return slot;
      this.costs.waits++;
      yield this.wait();
    }
  }

  /** One user less; the slot stays as it is until the next wrap. */
  unmap(frame: Pfn): void {
    const slot = this.find(frame);
    if (slot === NO_WINDOW) bug(`frame ${frame} has no slot in ${this.name}`);
    const count = --this.counts[slot]!;
    if (count === 0) bug(`frame ${frame} is given back to ${this.name} more often than it was taken`);
    if (count !== 1) return;
    this.busy--;
    const waiter = this.waiters.shift();
    if (waiter !== undefined) waiter.isWoken = true;
  }

  /** The slot that shows `frame`, or NO_WINDOW. */
  find(frame: Pfn): number {
    const slot = this.index.find(this.table.pageOf(frame));
    this.costs.lookupSteps += this.index.steps;
    return slot === NOT_INDEXED ? NO_WINDOW : slot;
  }

  /** Whether a slot shows `frame` to somebody; asking costs the kernel nothing. */
  isUsed(frame: Pfn): boolean {
    const slot = this.index.find(this.table.pageOf(frame));
    return slot !== NOT_INDEXED && this.counts[slot]! > 1;
  }

  /** Slots with users: another frame can be mapped while there are others. */
  get busySlots(): number {
    return this.busy;
  }

  /** Users of all slots. */
  get users(): number {
    return this.counts.reduce((sum, count) => sum + Math.max(0, count - 1), 0);
  }

  /** Until somebody gives a slot back, and it is this one's turn. */
  private wait(): Wait {
    const waiter: Waiter = { isWoken: false };
    this.waiters.push(waiter);
    return { on: `a slot of ${this.name}`, ready: () => waiter.isWoken };
  }

  /** What disagrees between counts, entries in memory and the hash, one line each. */
  *disagreements(): Generator<string> {
    for (let slot = 0; slot < this.slots; slot++) {
      const count = this.counts[slot]!;
      const entry = this.table.shown(slot);
      const frame = this.shown[slot]!;
      const where = `slot ${slot} of ${this.name}`;
      if (entry !== frame) yield `${where}: entry ${entry}, frame ${frame}`;
      if ((count === 0) !== (frame === NO_FRAME_SHOWN)) yield `${where}: count ${count}, frame ${frame}`;
      if (count !== 0 && this.index.find(frame) !== slot) yield `${where}: frame ${frame} is not found there`;
    }
  }

  /** The next free slot after the last one; flushes at the wrap. NO_WINDOW after a whole round in vain. */
  private free(): number {
    for (let budget = this.slots; budget > 0; budget--) {
      this.last = (this.last + 1) % this.slots;
      this.costs.scanned++;
      if (this.last === 0) {
        this.flushUnused();
        budget = this.slots;
      }
      if (this.counts[this.last] === 0) return this.last;
    }
    return NO_WINDOW;
  }

  private flushUnused(): void {
    for (let slot = 0; slot < this.slots; slot++) {
      if (this.counts[slot] !== 1) continue;
      this.counts[slot] = 0;
      this.table.clear(slot);
      this.costs.entriesWritten += this.table.span;
      this.index.remove(slot);
      this.shown[slot] = NO_FRAME_SHOWN;
    }
    this.costs.flushes++;
    this.flush();
  }
}
