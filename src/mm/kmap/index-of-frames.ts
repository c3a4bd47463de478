/**
 * Which slot of a pool shows a frame: a hash of 128 heads, and a node for each slot. Cheap for one pool; a pool for
 * each task needs one for each task.
 *
 * @models linux-2.6.11 mm/highmem.c page_address_htable
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";

export const NOT_INDEXED = -1;

/** PA_HASH_ORDER. */
const ORDER = 7;
const HEADS = 1 << ORDER;
/** A head: a list and a lock; a node: frame, address and two links. */
const HEAD_BYTES = 12;
const NODE_BYTES = 16;

export class WindowIndex {
  /** Nodes that the latest `find` went through. */
  steps = 0;
  /** By slot: the frame that it shows; its owner's. */
  private readonly shown: Int32Array;
  /** By hash: the first slot, or NOT_INDEXED. */
  private readonly heads = new Int32Array(HEADS).fill(NOT_INDEXED);
  /** By slot: the next of its hash. */
  private readonly next: Int32Array;

  constructor(shown: Int32Array) {
    this.shown = shown;
    this.next = new Int32Array(shown.length).fill(NOT_INDEXED);
  }

  /** What such an index takes in a kernel. */
  static bytesFor(slots: number): number {
    return HEADS * HEAD_BYTES + slots * NODE_BYTES;
  }

  find(frame: Pfn): number {
    this.steps = 0;
    for (let slot = this.heads[hash(frame)]!; slot !== NOT_INDEXED; slot = this.next[slot]!) {
      this.steps++;
      if (this.shown[slot] === frame) return slot;
    }
    return NOT_INDEXED;
  }

  /** The slot has been given a frame. */
  add(slot: number): void {
    const head = hash(this.shown[slot]!);
    this.next[slot] = this.heads[head]!;
    this.heads[head] = slot;
  }

  /** The slot is about to lose its frame. */
  remove(slot: number): void {
    const head = hash(this.shown[slot]!);
    if (this.heads[head] === slot) {
      this.heads[head] = this.next[slot]!;
      return;
    }
    let before = this.heads[head]!;
    while (before !== NOT_INDEXED && this.next[before] !== slot) before = this.next[before]!;
    if (before === NOT_INDEXED) bug(`slot ${slot} is in no chain`);
    this.next[before] = this.next[slot]!;
  }
}

/** The golden ratio spreads neighbours, as Linux's hash_ptr. */
const hash = (frame: Pfn): number => Math.imul(frame, 0x9e37_0001) >>> (32 - ORDER);
