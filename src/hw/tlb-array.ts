/**
 * One array of a TLB: sets of ways, each of which holds a translation. A TLB is made of several of them.
 *
 * An entry is a tag (the number of its page, see tlb.ts) and one exact double:
 *
 *    47                        17 16        9  8  7  6  5  4  3  2  1  0
 *   +----------------------------+-----------+--+-----+--------+--------+
 *   |           frame            |    way    | G|sW uW|sS sL sF|uS uL uF|
 *   +----------------------------+-----------+--+-----+--------+--------+
 *
 *   uF uL uS   user mode's fetches, loads and stores go through with no further work; sF sL sS: the supervisor's
 *   uW sW      a store is allowed, but goes through memory first if uS (sS) is clear, because the page's D bit is clear
 *   G          stays when the root is loaded
 *   way        the place in its set where silicon would hold the entry
 *
 * The host keeps a set's entries in order of use, the last one used first, empty ones at the end. So most hits are one
 * comparison that changes nothing, whatever the replacement; LRU's victim is the last; tree-PLRU finds its own by way.
 */
import { UsageError } from "../base/errors.ts";

export const MISS = -1;

/** Rights are indexed by the kind of access; the supervisor's follow the user's. */
export const SUPERVISOR = 3;
export const ENTRY_USER_WRITE = 1 << 6;
export const ENTRY_SUPERVISOR_WRITE = 1 << 7;
export const ENTRY_GLOBAL = 1 << 8;

const WAY_SHIFT = 9;
const WAY_UNIT = 1 << WAY_SHIFT;
const WAY_MASK = 0xff;
const FRAME_UNIT = 2 ** 17;
const MOST_WAYS = WAY_MASK + 1;
const MOST_TREE_WAYS = 32;
const EMPTY = -1;

export const makeEntry = (frame: number, rights: number): number => frame * FRAME_UNIT + rights;
export const entryFrame = (entry: number): number => Math.floor(entry / FRAME_UNIT);
/** All but frame and way. */
export const entryRights = (entry: number): number => entry & (WAY_UNIT - 1);
/** Whether the access goes through; `right` is its kind, plus SUPERVISOR in supervisor mode. */
export const entryAllows = (entry: number, right: number): boolean => (entry & (1 << right)) !== 0;

export type Replacement = "lru" | "tree-plru";

/** How many ways a shape means by its `ways`. */
export const waysOf = (shape: { readonly entries: number; readonly ways: number | "full" }): number =>
  shape.ways === "full" ? shape.entries : shape.ways;

export class TlbArray {
  readonly ways: number;
  readonly sets: number;
  /** By set, in order of use: the tag, or EMPTY. */
  readonly tags: Float64Array;
  /** By set, in the same order: the entry. */
  readonly entries: Float64Array;
  private readonly setMask: number;
  /** By set: the bits of the tree, node n's at bit n (the root is node 1), 1 if the right half is to be replaced. */
  private readonly trees: Int32Array | undefined;

  constructor(entries: number, ways: number, replacement: Replacement) {
    const sets = entries / ways;
    if (!Number.isInteger(Math.log2(sets)))
      throw new UsageError(`TLB of ${entries} entries, ${ways} ways: the sets are no power of two`);
    if (ways > MOST_WAYS) throw new UsageError(`TLB of ${ways} ways: at most ${MOST_WAYS}`);
    if (replacement === "tree-plru" && !(ways <= MOST_TREE_WAYS && Number.isInteger(Math.log2(ways)))) {
      throw new UsageError(`TLB of ${ways} ways: a tree needs a power of two, at most ${MOST_TREE_WAYS}`);
    }
    this.ways = ways;
    this.sets = sets;
    this.setMask = sets - 1;
    this.tags = new Float64Array(entries).fill(EMPTY);
    this.entries = Float64Array.from({ length: entries }, (_, slot) => (slot % ways) * WAY_UNIT);
    this.trees = replacement === "tree-plru" ? new Int32Array(sets) : undefined;
  }

  /** Where the entry of that tag is now, as the last one used of its set; or MISS. */
  find(tag: number): number {
    const first = (tag & this.setMask) * this.ways;
    return this.tags[first] === tag ? first : this.findOlder(tag, first);
  }

  /** Where the entry of that tag is, unused by the question; or MISS. */
  peek(tag: number): number {
    const first = (tag & this.setMask) * this.ways;
    for (let slot = first; slot < first + this.ways; slot++) {
      if (this.tags[slot] === tag) return slot;
    }
    return MISS;
  }

  /** Enters a translation that the array does not hold, in one of the first `ways` ways. */
  insert(tag: number, entry: number, ways: number): void {
    const first = (tag & this.setMask) * this.ways;
    const victim = this.victim(first, ways);
    const way = (this.entries[victim]! >>> WAY_SHIFT) & WAY_MASK;
    this.moveDown(first, victim);
    this.tags[first] = tag;
    this.entries[first] = entry + way * WAY_UNIT;
    if (this.trees !== undefined) this.pointAway(this.trees, first / this.ways, way);
  }

  /** Empties a slot. */
  remove(slot: number): void {
    const { tags, entries } = this;
    const last = slot - (slot % this.ways) + this.ways - 1;
    const way = entries[slot]! & (WAY_MASK << WAY_SHIFT);
    for (let place = slot; place < last; place++) {
      tags[place] = tags[place + 1]!;
      entries[place] = entries[place + 1]!;
    }
    tags[last] = EMPTY;
    entries[last] = way;
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
    for (let slot = this.tags.length - 1; slot >= 0; slot--) {
      if (this.tags[slot] !== EMPTY && (this.entries[slot]! & ENTRY_GLOBAL) === 0) this.remove(slot);
    }
  }

  isEmpty(slot: number): boolean {
    return this.tags[slot] === EMPTY;
  }

  private findOlder(tag: number, first: number): number {
    const { tags } = this;
    const end = first + this.ways;
    for (let slot = first + 1; slot < end; slot++) {
      if (tags[slot] === tag) {
        this.moveToFront(slot, first);
        return first;
      }
    }
    return MISS;
  }

  private moveToFront(slot: number, first: number): void {
    const tag = this.tags[slot]!;
    const entry = this.entries[slot]!;
    this.moveDown(first, slot);
    this.tags[first] = tag;
    this.entries[first] = entry;
    if (this.trees !== undefined) this.pointAway(this.trees, first / this.ways, (entry >>> WAY_SHIFT) & WAY_MASK);
  }

  /** Moves the slots from `first` one place down, over `last`. */
  private moveDown(first: number, last: number): void {
    const { tags, entries } = this;
    for (let slot = last; slot > first; slot--) {
      tags[slot] = tags[slot - 1]!;
      entries[slot] = entries[slot - 1]!;
    }
  }

  /** The slot to be replaced. */
  private victim(first: number, ways: number): number {
    const last = first + this.ways - 1;
    if (this.trees !== undefined) return this.treeVictim(this.trees, first, last);
    if (ways === this.ways) return last;
    return this.lastOf(first, last, ways);
  }

  /** The least recently used slot whose way is one of the first `ways`. */
  private lastOf(first: number, last: number, ways: number): number {
    for (let slot = last; slot > first; slot--) {
      if (((this.entries[slot]! >>> WAY_SHIFT) & WAY_MASK) < ways) return slot;
    }
    return first;
  }

  /** The empty slot of the lowest way; if none is empty, the slot that the tree points to. */
  private treeVictim(trees: Int32Array, first: number, last: number): number {
    const { tags, entries } = this;
    let victim = MISS;
    let lowest = MOST_WAYS;
    for (let slot = last; slot >= first && tags[slot] === EMPTY; slot--) {
      const way = (entries[slot]! >>> WAY_SHIFT) & WAY_MASK;
      if (way < lowest) {
        lowest = way;
        victim = slot;
      }
    }
    return victim === MISS ? this.slotOfWay(first, this.pointedAt(trees[first / this.ways]!)) : victim;
  }

  private slotOfWay(first: number, way: number): number {
    let slot = first;
    while (((this.entries[slot]! >>> WAY_SHIFT) & WAY_MASK) !== way) slot++;
    return slot;
  }

  private pointedAt(tree: number): number {
    let node = 1;
    while (node < this.ways) node = node * 2 + ((tree >>> node) & 1);
    return node - this.ways;
  }

  /** Makes every node above `way` point to its other half. */
  private pointAway(trees: Int32Array, set: number, way: number): void {
    let tree = trees[set]!;
    for (let node = (way + this.ways) >>> 1, child = way + this.ways; node > 0; child = node, node >>>= 1) {
      tree = (child & 1) === 0 ? tree | (1 << node) : tree & ~(1 << node);
    }
    trees[set] = tree;
  }
}
