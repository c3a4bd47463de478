/**
 * One array of a TLB: sets of ways, each of which holds a translation. A TLB is made of several of them.
 *
 * All its state lies in one block of memory, seen as int32s and as doubles, so that the access path asks two arrays and
 * no more, and a slot lies in one cache line of the host. A slot is named by where it starts:
 *
 *     heads, newest   slot 0           slot 1
 *   +---------------+----------------+----------------+--
 *   |               | 8 words        | 8 words        | ...
 *   +---------------+----------------+----------------+--
 *
 *     word 0, 1   2      3       4      5     6      7
 *     tag         frame  rights  chain  link  older  newer
 *
 * The tag is a double, the number of its page (see tlb.ts); the rights are
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
 * Silicon compares all ways of a set at once. The host looks at the slot that the set used last, and finds others by
 * hashing: `heads` says where the chain of a tag's low bits starts, `chain` goes on to the next slot, `link` says which
 * word leads here. So a miss is mostly two reads, however many ways there are, and a slot leaves its chain unseen.
 *
 * The slots of a set form a ring in order of use, which `newest` enters: each slot links to the next older one, the
 * oldest to the newest again. Empty slots are the oldest. So using the slot used last again changes nothing, using
 * another costs a few stores, and taking the oldest one turns the ring by one. A tree-PLRU keeps its own bits; the ring
 * then only remembers the slot used last, whose use changes no tree.
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

const SLOT_WORDS = 8;
const FRAME = 2;
const RIGHTS = 3;
const CHAIN = 4; // the next slot of the tag's chain, or MISS
const LINK = 5; // the word that names this slot: a head, or the chain of another slot
const OLDER = 6; // the neighbours in the ring
const NEWER = 7;

/** Heads of chains for each slot, so that most chains have one slot at most. */
const HEADS_PER_SLOT = 4;
const MOST_TREE_WAYS = 32;

const isPowerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value));

export class TlbArray {
  readonly ways: number;
  readonly sets: number;
  /** The heads of chains come first: by hash, the first slot of the chain, or MISS. */
  private readonly words: Int32Array;
  /** The same memory: the tag of a slot is at half its number. EMPTY if it holds nothing. */
  private readonly tags: Float64Array;
  private readonly setMask: number;
  private readonly hashMask: number;
  /** Where `newest` starts in `words`: by set, the slot used last. */
  private readonly newest: number;
  private readonly firstSlot: number;
  /** Slots that hold a translation. */
  private filled: number;
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
    const heads = HEADS_PER_SLOT * 2 ** Math.ceil(Math.log2(entries));
    this.hashMask = heads - 1;
    this.newest = heads;
    this.firstSlot = Math.ceil((heads + sets) / SLOT_WORDS) * SLOT_WORDS;
    this.words = new Int32Array(this.firstSlot + entries * SLOT_WORDS);
    this.tags = new Float64Array(this.words.buffer);
    for (let set = 0; set < sets; set++) this.closeRing(set);
    this.filled = entries;
    this.clear();
    this.trees = replacement === "tree-plru" ? new Int32Array(sets) : undefined;
  }

  /** The slot of that tag, which becomes the last one used of its set; or MISS. */
  find(tag: number): number {
    const set = tag & this.setMask;
    const newest = this.words[this.newest + set]!;
    return this.tags[newest >>> 1] === tag ? newest : this.findOlder(tag, set, newest);
  }

  /** The slot of that tag, unused by the question; or MISS. */
  peek(tag: number): number {
    let slot = this.words[tag & this.hashMask]!;
    while (slot >= 0 && this.tags[slot >>> 1] !== tag) slot = this.words[slot + CHAIN]!;
    return slot;
  }

  tagAt(slot: number): number {
    return this.tags[slot >>> 1]!;
  }

  frameAt(slot: number): Pfn {
    return this.words[slot + FRAME]!;
  }

  rightsAt(slot: number): number {
    return this.words[slot + RIGHTS]!;
  }

  /** Enters a translation that the array does not hold, in one of the first `ways` ways. */
  insert(tag: number, frame: Pfn, rights: number, ways: number): void {
    const { words, tags } = this;
    const set = tag & this.setMask;
    const newest = words[this.newest + set]!;
    const slot = this.trees === undefined ? this.oldest(set, newest, ways) : this.treeVictim(this.trees, set);
    if (tags[slot >>> 1]! >= 0) this.unchain(slot);
    else this.filled++;
    const hash = tag & this.hashMask;
    const next = words[hash]!;
    words[slot + CHAIN] = next;
    words[slot + LINK] = hash;
    words[hash] = slot;
    if (next >= 0) words[next + LINK] = slot + CHAIN;
    tags[slot >>> 1] = tag;
    words[slot + FRAME] = frame;
    words[slot + RIGHTS] = rights;
    if (slot !== newest) this.use(slot, set, newest);
  }

  /** Empties a slot. */
  remove(slot: number): void {
    const { words } = this;
    const set = this.tagAt(slot) & this.setMask;
    this.unchain(slot);
    this.tags[slot >>> 1] = EMPTY;
    this.filled--;
    if (this.trees !== undefined) return;
    const newest = words[this.newest + set]!;
    if (newest === slot) words[this.newest + set] = words[slot + OLDER]!;
    else this.moveToEnd(slot, newest);
  }

  removeTag(tag: number): void {
    const slot = this.peek(tag);
    if (slot !== MISS) this.remove(slot);
  }

  /** Empties every slot. */
  clear(): void {
    if (this.filled === 0) return;
    this.filled = 0;
    const { words, tags } = this;
    words.fill(MISS, 0, this.newest);
    for (let slot = this.firstSlot; slot < words.length; slot += SLOT_WORDS) tags[slot >>> 1] = EMPTY;
  }

  /** Empties every slot that is not global. */
  clearLocal(): void {
    for (const slot of this.held()) {
      if ((this.rightsAt(slot) & RIGHT_GLOBAL) === 0) this.remove(slot);
    }
  }

  /** The slots that hold a translation. */
  held(): number[] {
    const slots: number[] = [];
    if (this.filled === 0) return slots;
    for (let slot = this.firstSlot; slot < this.words.length; slot += SLOT_WORDS) {
      if (this.tags[slot >>> 1] !== EMPTY) slots.push(slot);
    }
    return slots;
  }

  private closeRing(set: number): void {
    const first = this.slotOf(set, 0);
    const last = this.slotOf(set, this.ways - 1);
    for (let slot = first; slot <= last; slot += SLOT_WORDS) {
      this.words[slot + OLDER] = slot === first ? last : slot - SLOT_WORDS;
      this.words[slot + NEWER] = slot === last ? first : slot + SLOT_WORDS;
    }
    this.words[this.newest + set] = last;
  }

  private slotOf(set: number, way: number): number {
    return this.firstSlot + (set * this.ways + way) * SLOT_WORDS;
  }

  private findOlder(tag: number, set: number, newest: number): number {
    const slot = this.peek(tag);
    if (slot >= 0) this.use(slot, set, newest);
    return slot;
  }

  /** `slot`, not the last one used, becomes it. */
  private use(slot: number, set: number, newest: number): void {
    this.moveToEnd(slot, newest);
    this.words[this.newest + set] = slot;
    if (this.trees !== undefined) this.pointAway(this.trees, set, (slot - this.slotOf(set, 0)) / SLOT_WORDS);
  }

  /** Takes a slot that is not empty off the chain of its tag. */
  private unchain(slot: number): void {
    const { words } = this;
    const link = words[slot + LINK]!;
    const next = words[slot + CHAIN]!;
    words[link] = next;
    if (next >= 0) words[next + LINK] = link;
  }

  /** Puts `slot` at the ring's seam, between the oldest and the newest. */
  private moveToEnd(slot: number, newest: number): void {
    const { words } = this;
    const oldest = words[newest + NEWER]!;
    if (slot === oldest) return;
    const before = words[slot + NEWER]!;
    const after = words[slot + OLDER]!;
    words[before + OLDER] = after;
    words[after + NEWER] = before;
    words[oldest + OLDER] = slot;
    words[slot + NEWER] = oldest;
    words[slot + OLDER] = newest;
    words[newest + NEWER] = slot;
  }

  /** The oldest slot among the first `ways` ways. */
  private oldest(set: number, newest: number, ways: number): number {
    const { words } = this;
    let slot = words[newest + NEWER]!;
    if (ways === this.ways) return slot;
    const end = this.slotOf(set, ways);
    while (slot >= end) slot = words[slot + NEWER]!;
    return slot;
  }

  /** The first empty slot; if none is empty, the slot that the tree points to. */
  private treeVictim(trees: Int32Array, set: number): number {
    for (let way = 0; way < this.ways; way++) {
      const slot = this.slotOf(set, way);
      if (this.tags[slot >>> 1] === EMPTY) return slot;
    }
    let node = 1;
    while (node < this.ways) node = node * 2 + ((trees[set]! >>> node) & 1);
    return this.slotOf(set, node - this.ways);
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
