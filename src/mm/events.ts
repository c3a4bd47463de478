/**
 * The last things that happened, in a ring of fixed-width records, for `step` and for the dump of a bug. Recording
 * allocates nothing; an event that the ring has forgotten is gone, but its number never changes.
 *
 *      word 0   1       2           3            4      5       6, 7
 *      kind     space   page low    page high    count  frame   result, detail
 *
 * A page number has up to 45 bits: `page low` holds 2^20 values and `page high` the rest, so both are small ints.
 */
import type { Pfn, Vpn } from "../base/units.ts";

/** A page fault, or those of `count` pages that were made present at once: the frame now mapped or -1, its verdict, and which repair (FAULT_BY_*) as detail. */
export const EVENT_FAULT = 1;
/** Entries of `count` pages were cleared. */
export const EVENT_ZAP = 2;
/** `count` entries were copied into a child; detail is the child's space. */
export const EVENT_COPY = 3;
/** `count` entries were moved; detail is the distance in pages, if small. */
export const EVENT_MOVE = 4;
/** `count` entries were given other rights. */
export const EVENT_PROTECT = 5;
/** `count` page tables were allocated from `frame` on; detail is their level. */
export const EVENT_TABLE = 6;
/** The page table in `frame` was freed; detail is its level. */
export const EVENT_TABLE_FREED = 7;
/** TLBs were flushed for `count` pages; detail is the number of other CPUs interrupted. */
export const EVENT_FLUSH = 8;

export interface Event {
  readonly kind: number;
  /** The address space's id. */
  readonly space: number;
  readonly page: Vpn;
  readonly count: number;
  readonly frame: Pfn;
  readonly result: number;
  readonly detail: number;
}

const WORDS = 8;
const PAGE_LOW = 2 ** 20;

export class Events {
  private readonly ring: Int32Array;
  private readonly capacity: number;
  /** The number of the next event: how many have ever been recorded. */
  recorded = 0;
  /** Where in the ring it goes. */
  private next = 0;

  constructor(capacity = 4096) {
    this.capacity = capacity;
    this.ring = new Int32Array(capacity * WORDS);
  }

  record(kind: number, space: number, page: Vpn, count: number, frame: Pfn, result: number, detail: number): void {
    const { ring, next: at } = this;
    this.recorded++;
    this.next = at + WORDS === ring.length ? 0 : at + WORDS;
    const high = Math.floor(page / PAGE_LOW);
    ring[at] = kind;
    ring[at + 1] = space;
    ring[at + 2] = page - high * PAGE_LOW;
    ring[at + 3] = high;
    ring[at + 4] = count;
    ring[at + 5] = frame;
    ring[at + 6] = result;
    ring[at + 7] = detail;
  }

  /** The number of the oldest event still held. */
  get oldest(): number {
    return Math.max(0, this.recorded - this.capacity);
  }

  /** The event with this number; it must lie between `oldest` and `recorded`. */
  at(number: number): Event {
    const { ring } = this;
    const at = (number % this.capacity) * WORDS;
    return {
      kind: ring[at],
      space: ring[at + 1],
      page: ring[at + 3] * PAGE_LOW + ring[at + 2],
      count: ring[at + 4],
      frame: ring[at + 5],
      result: ring[at + 6],
      detail: ring[at + 7],
    };
  }

  /** The events recorded since the one with this number, oldest first, as far as the ring remembers. */
  *since(number: number): Generator<Event, void, void> {
    for (let n = Math.max(number, this.oldest); n < this.recorded; n++) yield this.at(n);
  }
}
