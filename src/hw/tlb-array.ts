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
 * Silicon compares all ways of a set at once. The host finds a slot by hashing: `heads` says where the chain of a tag's
 * low bits starts, `chain` goes on to the next slot. So a miss is mostly one read, however many ways there are.
 *
 * The slots of a set form a ring in order of use, which `newest` enters: each slot links to the next older one, the
 * oldest to the newest again. Empty slots are the oldest. So using a slot again costs one comparison if it was the last
 * one used and a few stores if not, and taking the oldest one turns the ring by one. A tree-PLRU keeps its own bits; the
 * ring then only remembers the slot used last, whose use changes no tree.
 */
import { UsageError } from "../base/errors.ts";
import type { Pfn } from "../base/units.ts";

/** No slot: the only negative one. */
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

// The fields of a slot lie side by side: entering a translation writes most of them.
const FIELDS = 8;
const FRAME = 0;
const RIGHTS = 1;
const CHAIN = 2; // the next slot of the tag's chain, or MISS
const OLDER = 3; // the neighbours in the ring
const NEWER = 4;

const MOST_TREE_WAYS = 32;

const isPowerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value));

export class TlbArray {
  readonly ways: number;
  readonly sets: number;
  /** By slot: the tag, or EMPTY. */
  readonly tags: Float64Array;
  /** By slot, by field. */
  private readonly fields: Int32Array;
  private readonly setMask: number;
  private readonly hashMask: number;
  /** By hash: the first slot of the chain, or MISS. */
  private readonly heads: Int32Array;
  /** By set: the slot used last. */
  private readonly newest: Int32Array;
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
    this.fields = new Int32Array(entries * FIELDS);
    const hashes = 1 << Math.ceil(Math.log2(entries) + 2);
    this.hashMask = hashes - 1;
    this.heads = new Int32Array(hashes).fill(MISS);
    this.newest = Int32Array.from({ length: sets }, (_, set) => (set + 1) * ways - 1);
    for (let slot = 0; slot < entries; slot++) {
      const way = slot % ways;
      this.fields[slot * FIELDS + OLDER] = slot - way + ((way + ways - 1) % ways);
      this.fields[slot * FIELDS + NEWER] = slot - way + ((way + 1) % ways);
    }
    this.trees = replacement === "tree-plru" ? new Int32Array(sets) : undefined;
  }

  /** The slot of that tag, which becomes the last one used of its set; or MISS. */
  find(tag: number): number {
    const slot = this.peek(tag);
    if (slot >= 0) this.use(slot, tag & this.setMask);
    return slot;
  }

  /** The slot of that tag, unused by the question; or MISS. */
  peek(tag: number): number {
    let slot = this.heads[tag & this.hashMask]!;
    while (slot >= 0 && this.tags[slot] !== tag) slot = this.fields[slot * FIELDS + CHAIN]!;
    return slot;
  }

  frameAt(slot: number): Pfn {
    return this.fields[slot * FIELDS + FRAME]!;
  }

  rightsAt(slot: number): number {
    return this.fields[slot * FIELDS + RIGHTS]!;
  }

  /** Enters a translation that the array does not hold, in one of the first `ways` ways. */
  insert(tag: number, frame: Pfn, rights: number, ways: number): void {
    const set = tag & this.setMask;
    const slot = this.trees === undefined ? this.oldest(set, ways) : this.treeVictim(this.trees, set);
    if (this.tags[slot]! >= 0) this.unchain(slot);
    const hash = tag & this.hashMask;
    this.fields[slot * FIELDS + CHAIN] = this.heads[hash]!;
    this.heads[hash] = slot;
    this.tags[slot] = tag;
    this.fields[slot * FIELDS + FRAME] = frame;
    this.fields[slot * FIELDS + RIGHTS] = rights;
    this.use(slot, set);
  }

  /** Empties a slot. */
  remove(slot: number): void {
    this.unchain(slot);
    this.tags[slot] = EMPTY;
    if (this.trees !== undefined) return;
    const set = Math.floor(slot / this.ways);
    if (this.newest[set] === slot) this.newest[set] = this.fields[slot * FIELDS + OLDER]!;
    else this.moveToEnd(slot, this.newest[set]!);
  }

  removeTag(tag: number): void {
    const slot = this.peek(tag);
    if (slot !== MISS) this.remove(slot);
  }

  clear(): void {
    this.tags.fill(EMPTY);
    this.heads.fill(MISS);
  }

  /** Empties every slot that is not global. */
  clearLocal(): void {
    for (let slot = 0; slot < this.tags.length; slot++) {
      if (this.tags[slot] !== EMPTY && (this.rightsAt(slot) & RIGHT_GLOBAL) === 0) this.remove(slot);
    }
  }

  isEmpty(slot: number): boolean {
    return this.tags[slot] === EMPTY;
  }

  /** `slot` becomes the last one used. */
  private use(slot: number, set: number): void {
    const newest = this.newest[set]!;
    if (slot === newest) return;
    this.moveToEnd(slot, newest);
    this.newest[set] = slot;
    if (this.trees !== undefined) this.pointAway(this.trees, set, slot - set * this.ways);
  }

  /** Takes a slot that is not empty off the chain of its tag. */
  private unchain(slot: number): void {
    const { heads, fields } = this;
    const hash = this.tags[slot]! & this.hashMask;
    const next = fields[slot * FIELDS + CHAIN]!;
    let before = heads[hash]!;
    if (before === slot) {
      heads[hash] = next;
      return;
    }
    while (fields[before * FIELDS + CHAIN] !== slot) before = fields[before * FIELDS + CHAIN]!;
    fields[before * FIELDS + CHAIN] = next;
  }

  /** Puts `slot` at the ring's seam, between the oldest and the newest. */
  private moveToEnd(slot: number, newest: number): void {
    const { fields } = this;
    const oldest = fields[newest * FIELDS + NEWER]!;
    if (slot === oldest) return;
    const before = fields[slot * FIELDS + NEWER]!;
    const after = fields[slot * FIELDS + OLDER]!;
    fields[before * FIELDS + OLDER] = after;
    fields[after * FIELDS + NEWER] = before;
    fields[oldest * FIELDS + OLDER] = slot;
    fields[slot * FIELDS + NEWER] = oldest;
    fields[slot * FIELDS + OLDER] = newest;
    fields[newest * FIELDS + NEWER] = slot;
  }

  /** The oldest slot among the first `ways` ways. */
  private oldest(set: number, ways: number): number {
    const { fields } = this;
    let slot = fields[this.newest[set]! * FIELDS + NEWER]!;
    if (ways === this.ways) return slot;
    const end = set * this.ways + ways;
    while (slot >= end) slot = fields[slot * FIELDS + NEWER]!;
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
