/**
 * One array of a TLB: sets of ways, each of which holds a translation. A TLB is made of several of them.
 *
 * A slot's number is `set * ways + way`. Its translation is a tag (the number of its page: see tlb.ts), a frame, and a
 * word of rights:
 *
 *     8  7  6  5  4  3  2  1  0
 *   +--+-----+--------+--------+
 *   | G|sW uW|sS sL sF|uS uL uF|
 *   +--+-----+--------+--------+
 *
 *   uF uL uS   user mode's fetches, loads and stores go through with no further work; sF sL sS: the supervisor's
 *   uW sW      a store is allowed, but goes through memory first if uS (sS) is clear, because the page's D bit is clear
 *   G          stays when the root is loaded
 *
 * The slots of a set form a ring in order of use, which `newest` enters: each slot links to the next older one, the
 * oldest to the newest again. Empty slots are the oldest. So using a slot again costs one comparison if it was the last
 * one used and a few stores if not, and taking the oldest one turns the ring by one. A tree-PLRU keeps its own bits; the
 * ring then only remembers the slot used last, whose use changes no tree.
 */
import { UsageError } from "../base/errors.ts";
import type { Pfn } from "../base/units.ts";

export const MISS = -1;

/** Rights are indexed by the kind of access; the supervisor's follow the user's. */
export const SUPERVISOR = 3;
export const RIGHT_USER_WRITE = 1 << 6;
export const RIGHT_SUPERVISOR_WRITE = 1 << 7;
export const RIGHT_GLOBAL = 1 << 8;

/** Whether the access goes through; `right` is its kind, plus SUPERVISOR in supervisor mode. */
export const allows = (rights: number, right: number): boolean => ((rights >>> right) & 1) !== 0;

export type Replacement = "lru" | "tree-plru";

/** `ways: "full"`: one set of all entries. */
export interface Associativity {
  readonly entries: number;
  readonly ways: number | "full";
}

const EMPTY = -1;
const MOST_TREE_WAYS = 32;

const isPowerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value));

export class TlbArray {
  readonly ways: number;
  readonly sets: number;
  /** By slot: the tag, or EMPTY. */
  readonly tags: Float64Array;
  /** By slot. */
  readonly frames: Int32Array;
  /** By slot. */
  readonly rights: Int32Array;
  private readonly setMask: number;
  /** By set: the slot used last. */
  private readonly newest: Int32Array;
  /** By slot: its neighbours in the ring. */
  private readonly older: Int32Array;
  private readonly newer: Int32Array;
  /** By set: the bits of the tree, node n's at bit n (the root is node 1), 1 if the right half is to be replaced. */
  private readonly trees: Int32Array | undefined;

  constructor(shape: Associativity, replacement: Replacement) {
    const { entries } = shape;
    const ways = shape.ways === "full" ? entries : shape.ways;
    const sets = entries / ways;
    if (!isPowerOfTwo(sets))
      throw new UsageError(`a TLB of ${entries} entries in ${ways} ways has no power of two of sets`);
    if (replacement === "tree-plru" && !(isPowerOfTwo(ways) && ways <= MOST_TREE_WAYS)) {
      throw new UsageError(`a TLB of ${ways} ways has no tree: expected a power of two, at most ${MOST_TREE_WAYS}`);
    }
    this.ways = ways;
    this.sets = sets;
    this.setMask = sets - 1;
    this.tags = new Float64Array(entries).fill(EMPTY);
    this.frames = new Int32Array(entries);
    this.rights = new Int32Array(entries);
    this.newest = Int32Array.from({ length: sets }, (_, set) => (set + 1) * ways - 1);
    const neighbour = (slot: number, step: number) => slot - (slot % ways) + (((slot % ways) + step) % ways);
    this.older = Int32Array.from(this.tags, (_, slot) => neighbour(slot, ways - 1));
    this.newer = Int32Array.from(this.tags, (_, slot) => neighbour(slot, 1));
    this.trees = replacement === "tree-plru" ? new Int32Array(sets) : undefined;
  }

  /** The slot of that tag, which becomes the last one used of its set; or MISS. */
  find(tag: number): number {
    const set = tag & this.setMask;
    const newest = this.newest[set]!;
    return this.tags[newest] === tag ? newest : this.findOlder(tag, set);
  }

  /** The slot of that tag, unused by the question; or MISS. */
  peek(tag: number): number {
    const { tags } = this;
    const first = (tag & this.setMask) * this.ways;
    const end = first + this.ways;
    for (let slot = first; slot < end; slot++) {
      if (tags[slot] === tag) return slot;
    }
    return MISS;
  }

  /** Enters a translation that the array does not hold, in one of the first `ways` ways. */
  insert(tag: number, frame: Pfn, rights: number, ways: number): void {
    const set = tag & this.setMask;
    const slot = this.trees === undefined ? this.oldest(set, ways) : this.treeVictim(this.trees, set);
    this.tags[slot] = tag;
    this.frames[slot] = frame;
    this.rights[slot] = rights;
    this.use(slot, set);
  }

  /** Empties a slot. */
  remove(slot: number): void {
    const set = Math.floor(slot / this.ways);
    this.tags[slot] = EMPTY;
    if (this.newest[set] === slot) this.newest[set] = this.older[slot]!;
    else this.moveToEnd(slot, this.newest[set]!);
  }

  removeTag(tag: number): void {
    const slot = this.peek(tag);
    if (slot !== MISS) this.remove(slot);
  }

  clear(): void {
    this.tags.fill(EMPTY);
  }

  /** Empties every slot that is not global. */
  clearLocal(): void {
    for (let slot = 0; slot < this.tags.length; slot++) {
      if (this.tags[slot] !== EMPTY && (this.rights[slot]! & RIGHT_GLOBAL) === 0) this.remove(slot);
    }
  }

  isEmpty(slot: number): boolean {
    return this.tags[slot] === EMPTY;
  }

  private findOlder(tag: number, set: number): number {
    const slot = this.peek(tag);
    if (slot !== MISS) this.use(slot, set);
    return slot;
  }

  /** `slot` becomes the last one used. */
  private use(slot: number, set: number): void {
    const newest = this.newest[set]!;
    if (slot !== newest) this.moveToEnd(slot, newest);
    this.newest[set] = slot;
    if (this.trees !== undefined) this.pointAway(this.trees, set, slot - set * this.ways);
  }

  /** Puts `slot` at the ring's seam, between the oldest and the newest. */
  private moveToEnd(slot: number, newest: number): void {
    const { older, newer } = this;
    const oldest = newer[newest]!;
    if (slot === oldest) return;
    const before = newer[slot]!;
    const after = older[slot]!;
    older[before] = after;
    newer[after] = before;
    older[oldest] = slot;
    newer[slot] = oldest;
    older[slot] = newest;
    newer[newest] = slot;
  }

  /** The oldest slot among the first `ways` ways. */
  private oldest(set: number, ways: number): number {
    let slot = this.newer[this.newest[set]!]!;
    if (ways === this.ways) return slot;
    const end = set * this.ways + ways;
    while (slot >= end) slot = this.newer[slot]!;
    return slot;
  }

  /** The first empty slot; if none is empty, the slot that the tree points to. */
  private treeVictim(trees: Int32Array, set: number): number {
    const first = set * this.ways;
    for (let slot = first; slot < first + this.ways; slot++) {
      if (this.tags[slot] === EMPTY) return slot;
    }
    let node = 1;
    while (node < this.ways) node = node * 2 + ((trees[set]! >>> node) & 1);
    return first + node - this.ways;
  }

  /** Makes every node above `way` point to its other half. */
  private pointAway(trees: Int32Array, set: number, way: number): void {
    let tree = trees[set]!;
    for (let node = way + this.ways; node > 1; node >>>= 1) {
      const parent = 1 << (node >>> 1);
      tree = (node & 1) === 0 ? tree | parent : tree & ~parent;
    }
    trees[set] = tree;
  }
}
