/**
 * Each frame knows its entries: one directly, several as a chain of blocks. All memory of chains is here; generations
 * of them differ in how large a block is and in how the first of its used slots is found.
 *
 *     frame 7   PG_direct -> entry
 *     frame 9   -> [ next | . . e e e e e ] -> [ next | e e e e e e e ] -> [ end | e e e e e e e ]
 *                   head        ^ first used slot            all full
 *
 * Only the head has free slots, and they are its first ones. Adding fills the last free slot of the head, or the last
 * slot of a new head when there is none. Removing overwrites the victim with the head's first used entry, and drops the
 * head when that was its last. No entry is there twice. A chain that shrinks to one entry stays a chain until somebody
 * collapses it.
 *
 * Neighbouring frames that are mapped by neighbouring entries, again and again, have chains that are alike: entry by entry
 * the next frame's is one further. Their chain is kept once for all of them and stands for as many blocks of memory as
 * they have; whoever asks for one of them makes them chains of their own.
 *
 * @differs entries are named by slot, and the words of blocks lie outside simulated memory; their slab is in it
 */
import { bug, UsageError } from "../../base/errors.ts";
import { formatSize } from "../../base/size-text.ts";
import { SparseFloat64 } from "../../base/sparse-array.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { ChainMemory } from "./chain-memory.ts";
import type { ReverseMapCosts } from "./reverse-map.ts";

/** What decides how many entries a block holds. */
export interface ChainShape {
  /** 32 on P6, 64 on K7 and K8, 128 on P4. */
  readonly lineBytes: number;
  /** What names the next block: 8 on 64-bit kernels, and on PAE with blocks in highmem, otherwise 4. */
  readonly pointerBytes: 4 | 8;
  /** What names an entry (pte_addr_t): 8 on 64-bit kernels and on PAE with page tables in highmem, otherwise 4. */
  readonly slotBytes: 4 | 8;
}

/** NRPTE: entries of a block that is a cache line. */
export const slotsPerLine = (shape: ChainShape): number =>
  Math.floor((shape.lineBytes - shape.pointerBytes) / shape.slotBytes);

/** Blocks of a chain that has grown to this many entries and never shrunk, `width` to a block. */
export const blocksFor = (mappings: number, width: number): number => (mappings <= 1 ? 0 : Math.ceil(mappings / width));

/** A chain's head says: no entry. One entry is its slot + 1, a chain is -(its first block). */
const UNMAPPED = 0;
/** A head from here on: the frame is one of a run whose chains are alike, the one with that number above it. */
const ALIKE = 2 ** 52;
/** Blocks are numbered from 1. */
const NO_BLOCK = 0;
/** A slot of a block that holds no entry; one that does holds its number + 1. */
export const EMPTY = 0;
/** What a slot holds that holds a count instead of an entry: beyond all places. */
export const COUNT_SLOT: PteSlot = 2 ** 50;
/** Not on the chain. */
const NOWHERE = -1;
const FIRST_CAPACITY = 256;
/** What the entries of all chains may take of the host. */
const MOST_HOST_BYTES = 4 * 2 ** 30;

/** Frames whose chains are alike: that of the first one. */
interface Run {
  readonly first: Pfn;
  readonly end: Pfn;
  head: number;
}

export abstract class Chains {
  readonly memory: ChainMemory;
  /** Slots of a block. */
  readonly width: number;
  protected readonly costs: ReverseMapCosts;
  /** By block, by slot of it: the entry + 1, or EMPTY. */
  protected slots: Float64Array;
  /** By frame: UNMAPPED, slot + 1, or -block. */
  private readonly heads: SparseFloat64;
  /** By block: the next one of its chain; of a free block, the next free one. */
  private next: Int32Array;
  private used = 0;
  private free = NO_BLOCK;
  /** Frames that are alike, by the number of their run; a hole where there was one. */
  private readonly runs: (Run | undefined)[] = [];
  private readonly freeRuns: number[] = [];
  /** Blocks of simulated memory that one block stands for, in what is being done. */
  private weight = 1;

  /** `costs` are whose the links looked at are charged to. */
  constructor(frames: number, width: number, memory: ChainMemory, costs: ReverseMapCosts) {
    this.memory = memory;
    this.width = width;
    this.costs = costs;
    this.heads = new SparseFloat64(frames, UNMAPPED);
    this.slots = new Float64Array(FIRST_CAPACITY * width);
    this.next = new Int32Array(FIRST_CAPACITY);
  }

  /** The first used slot of a block that has one. */
  protected abstract firstUsed(block: number): number;
  /** The last free slot of a block, or -1 if it is full. */
  protected abstract lastFree(block: number): number;
  /** `first` is the first used slot of the block from now on; `width`: none is used. */
  protected abstract noteFirst(block: number, first: number): void;

  /** Blocks that one more entry may take. */
  get blocksPerAdd(): number {
    return this.width === 1 ? 2 : 1;
  }

  isEmpty(frame: Pfn): boolean {
    return this.heads.read(frame) === UNMAPPED;
  }

  has(frame: Pfn, slot: PteSlot): boolean {
    const head = this.headOf(frame);
    return head === slot + 1 || (head < 0 && this.find(-head, slot) !== NOWHERE);
  }

  /** Whether that is the frame's only entry. */
  holdsOnly(frame: Pfn, slot: PteSlot): boolean {
    const head = this.headOf(frame);
    return head === slot + 1 || (head < 0 && this.only(-head) === slot);
  }

  /** One entry more, which is not there yet. False: there is no memory for it, and nothing has changed. */
  add(frame: Pfn, slot: PteSlot): boolean {
    const head = this.headOf(frame);
    if (head === UNMAPPED) {
      this.heads.write(frame, slot + 1);
      return true;
    }
    const grown = this.grown(head, slot);
    if (grown === UNMAPPED) return false;
    if (grown !== head) this.heads.write(frame, grown);
    return true;
  }

  /**
   * One entry more for each of `[first, end)`: from `slot` on, one each. Requires: there is memory for them, and none is
   * there yet.
   */
  addRun(first: Pfn, end: Pfn, slot: PteSlot): void {
    for (let frame = first; frame < end; ) {
      const stop = this.endOfAlike(frame, end);
      const done = stop - frame > 1 && !this.memory.mustShowEach && this.addAlike(frame, stop, slot + frame - first);
      if (!done) {
        for (let each = frame; each < stop; each++) {
          if (!this.add(each, slot + each - first)) bug(`no memory for entry ${slot + each - first}`);
        }
      }
      frame = stop;
    }
  }

  /** One entry less for each of `[first, end)`: from `slot` on, one each. */
  removeRun(first: Pfn, end: Pfn, slot: PteSlot): void {
    for (let frame = first; frame < end; ) {
      this.partAt(frame);
      const stop = this.endOfAlike(frame, end);
      this.partAt(stop);
      this.removeAlike(frame, stop, slot + frame - first);
      frame = stop;
    }
  }

  private removeAlike(first: Pfn, end: Pfn, slot: PteSlot): void {
    const head = this.heads.read(first);
    if (head === slot + 1) {
      this.heads.lay(first, end, UNMAPPED);
      return;
    }
    if (head < ALIKE) {
      for (let frame = first; frame < end; frame++) {
        if (!this.remove(frame, slot + frame - first)) this.refuse(frame, slot + frame - first);
      }
      return;
    }
    const run = this.runs[head - ALIKE]!;
    run.head = this.inStep(end - first, () => this.shrunk(run.head, slot)) ?? this.refuse(first, slot);
    if (run.head < 0) return;
    this.forgetRun(head - ALIKE);
    this.heads.lay(first, end, run.head, run.head === UNMAPPED ? 0 : 1);
  }

  /** No run of frames that are alike goes on from before `frame`. */
  private partAt(frame: Pfn): void {
    if (frame >= this.heads.length) return;
    const head = this.heads.read(frame);
    if (head < ALIKE) return;
    const run = this.runs[head - ALIKE]!;
    if (run.first === frame) return;
    const rest = { first: frame, end: run.end, head: this.copied(run.head, frame - run.first) };
    this.runs[head - ALIKE] = { first: run.first, end: frame, head: run.head };
    this.heads.lay(frame, run.end, ALIKE + this.newRun(rest));
  }

  private newRun(run: Run): number {
    const number = this.freeRuns.pop() ?? this.runs.length;
    this.runs[number] = run;
    return number;
  }

  private forgetRun(number: number): void {
    this.runs[number] = undefined;
    this.freeRuns.push(number);
  }

  /** Where the frames end that are like `first`: without entries, with one each, or a whole run. At most at `end`. */
  private endOfAlike(first: Pfn, end: Pfn): Pfn {
    const head = this.heads.read(first);
    if (head === UNMAPPED) return this.heads.endOf(UNMAPPED, first, end);
    if (head >= ALIKE) return Math.min(this.runs[head - ALIKE]!.end, end);
    return head > 0 ? this.heads.endOfLine(1, first, end) : first + 1;
  }

  /** The same for frames that are alike; false, and nothing changed, if they are but a part of those. */
  private addAlike(first: Pfn, end: Pfn, slot: PteSlot): boolean {
    const head = this.heads.read(first);
    if (head === UNMAPPED) {
      this.heads.lay(first, end, slot + 1, 1);
      return true;
    }
    const run = head >= ALIKE ? this.runs[head - ALIKE]! : { first, end, head };
    if (run.first !== first || run.end !== end) return false;
    run.head = this.inStep(end - first, () => this.grown(run.head, slot));
    if (run.head === UNMAPPED) bug(`no memory for the entries from ${slot} on`);
    if (head >= ALIKE) return true;
    this.heads.lay(first, end, ALIKE + this.newRun(run));
    return true;
  }

  /** What is done to one chain is done to `weight` of them. */
  private inStep<T>(weight: number, doing: () => T): T {
    const { costs } = this;
    const { linksFollowed } = costs;
    this.weight = weight;
    const result = doing();
    this.weight = 1;
    costs.linksFollowed += (costs.linksFollowed - linksFollowed) * (weight - 1);
    return result;
  }

  /** The frame's own head: chains that were alike are so no longer. */
  private headOf(frame: Pfn): number {
    const head = this.heads.read(frame);
    if (head < ALIKE) return head;
    this.part(head - ALIKE);
    return this.heads.read(frame);
  }

  /** Gives each frame of a run a chain of its own, for which memory has been drawn already. */
  private part(number: number): void {
    const { first, end, head } = this.runs[number]!;
    this.forgetRun(number);
    this.heads.write(first, head);
    for (let frame = first + 1; frame < end; frame++) this.heads.write(frame, this.copied(head, frame - first));
  }

  /** A chain like the one of that head, each entry `further` on. */
  private copied(head: number, further: number): number {
    if (head >= 0) return head + further;
    let copy = NO_BLOCK;
    let last = NO_BLOCK;
    for (let block = -head; block !== NO_BLOCK; block = this.next[block]) {
      const target = this.emptyBlock(NO_BLOCK);
      if (last === NO_BLOCK) copy = target;
      else this.next[last] = target;
      last = target;
      for (let at = this.width - 1; at >= 0; at--) {
        const held = this.slots[block * this.width + at];
        if (held === EMPTY) break;
        this.put(target, at, held - 1 + further);
      }
    }
    return -copy;
  }

  /** The head of a chain, or of a direct entry, with one entry more; UNMAPPED if there is no memory. */
  private grown(head: number, slot: PteSlot): number {
    if (head > 0) return this.makeChain(head - 1, slot);
    this.memory.touch(-head, this.costs, this.weight);
    const at = this.lastFree(-head);
    if (at < 0) return this.push(-head, slot);
    this.put(-head, at, slot);
    return head;
  }

  /** One entry less; whether it was there. */
  remove(frame: Pfn, slot: PteSlot): boolean {
    const head = this.headOf(frame);
    const left = this.shrunk(head, slot);
    if (left === undefined) return false;
    if (left !== head) this.heads.write(frame, left);
    return true;
  }

  /** The head with one entry less; undefined if that is not there. */
  private shrunk(head: number, slot: PteSlot): number | undefined {
    if (head === slot + 1) return UNMAPPED;
    const at = head < 0 ? this.find(-head, slot) : NOWHERE;
    if (at === NOWHERE) return undefined;
    const first = this.firstUsed(-head);
    const place = -head * this.width + first;
    this.slots[at] = this.slots[place];
    this.slots[place] = EMPTY;
    this.noteFirst(-head, first + 1);
    return first + 1 === this.width ? this.popped(-head) : head;
  }

  /** An entry has another place; whether it was there. */
  replace(frame: Pfn, from: PteSlot, to: PteSlot): boolean {
    const head = this.headOf(frame);
    if (head === from + 1) {
      this.heads.write(frame, to + 1);
      return true;
    }
    const at = head < 0 ? this.find(-head, from) : NOWHERE;
    if (at === NOWHERE) return false;
    this.slots[at] = to + 1;
    return true;
  }

  /** Visits entries, newest first, until `visit` returns false; whether it never did. It may remove what it is shown. */
  forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): boolean {
    const { width, costs } = this;
    const head = this.headOf(frame);
    if (head > 0) return visit(head - 1);
    // What moves into the place of an entry that the visitor removes has been visited already.
    for (let block = -head; block !== NO_BLOCK; ) {
      const next = this.next[block];
      this.memory.touch(block, costs, 1);
      for (let at = this.firstUsed(block); at < width; at++) {
        costs.linksFollowed++;
        // Free, if the last of the chain has gone with the entry before.
        const held = this.slots[block * width + at];
        if (held !== EMPTY && !visit(held - 1)) return false;
      }
      block = next;
    }
    return true;
  }

  /** A chain of one entry becomes that entry. */
  collapse(frame: Pfn): void {
    const head = this.headOf(frame);
    if (head >= 0) return;
    const only = this.only(-head);
    if (only === NOWHERE) return;
    this.slots[-head * this.width + this.width - 1] = EMPTY;
    this.noteFirst(-head, this.width);
    this.freeBlock(-head);
    this.heads.write(frame, only + 1);
  }

  /** How the frame's entries lie, block by block from the head, free slots as -1; one that is kept directly has no block. */
  picture(frame: Pfn): number[][] {
    const blocks: number[][] = [];
    for (let block = -this.headOf(frame); block > NO_BLOCK; block = this.next[block]) {
      const held = this.slots.subarray(block * this.width, (block + 1) * this.width);
      blocks.push(Array.from(held, (entry) => entry - 1));
    }
    return blocks;
  }

  /** The only entry of the chain that starts with `block`, or NOWHERE if it has several. */
  private only(block: number): number {
    if (this.next[block] !== NO_BLOCK) return NOWHERE;
    this.memory.touch(block, this.costs, 1);
    const last = this.width - 1;
    return this.firstUsed(block) === last ? this.slots[block * this.width + last] - 1 : NOWHERE;
  }

  /** Where in `slots` the chain that starts with `block` holds `slot`, or NOWHERE. */
  private find(head: number, slot: PteSlot): number {
    const { slots, width, costs, memory } = this;
    for (let block = head; block !== NO_BLOCK; block = this.next[block]) {
      memory.touch(block, costs, this.weight);
      const end = (block + 1) * width;
      for (let at = block * width + this.firstUsed(block); at < end; at++) {
        costs.linksFollowed++;
        if (slots[at] === slot + 1) return at;
      }
    }
    return NOWHERE;
  }

  private put(block: number, at: number, slot: PteSlot): void {
    this.slots[block * this.width + at] = slot + 1;
    this.noteFirst(block, at);
  }

  /** The one entry that was known directly, and the next one, make a chain. */
  private makeChain(first: PteSlot, second: PteSlot): number {
    if (this.memory.take(this.weight) < 0) return UNMAPPED;
    const block = this.newBlock(NO_BLOCK);
    const last = this.width - 1;
    this.put(block, last, first);
    if (last > 0) {
      this.put(block, last - 1, second);
      return -block;
    }
    const head = this.push(block, second);
    if (head !== UNMAPPED) return head;
    this.slots[block] = EMPTY;
    this.freeBlock(block);
    return UNMAPPED;
  }

  /** A new block before `head`, which is full. */
  private push(head: number, slot: PteSlot): number {
    if (this.memory.take(this.weight) < 0) return UNMAPPED;
    const block = this.newBlock(head);
    this.put(block, this.width - 1, slot);
    return -block;
  }

  /** The head holds nothing any more. */
  private popped(head: number): number {
    const next = this.next[head];
    this.freeBlock(head);
    return next === NO_BLOCK ? UNMAPPED : -next;
  }

  /** An empty block, its memory drawn already. */
  private newBlock(next: number): number {
    const block = this.emptyBlock(next);
    this.memory.touch(block, this.costs, this.weight);
    return block;
  }

  private emptyBlock(next: number): number {
    let block = this.free;
    if (block !== NO_BLOCK) this.free = this.next[block];
    else {
      block = ++this.used;
      if (block === this.next.length) this.enlarge();
    }
    this.next[block] = next;
    return block;
  }

  private freeBlock(block: number): void {
    this.memory.giveBack(this.weight);
    this.next[block] = this.free;
    this.free = block;
  }

  /** Room for twice as many blocks. */
  protected enlarge(): void {
    const needed = this.slots.byteLength * 2;
    if (needed > MOST_HOST_BYTES) {
      throw new UsageError(
        `the PTE chains of this run need ${formatSize(needed)} of this host, the limit is ${formatSize(MOST_HOST_BYTES)} ` +
          `(${this.used} blocks of ${this.width} entries): use fewer processes, a smaller segment or another reverse map`,
      );
    }
    const slots = new Float64Array(this.slots.length * 2);
    slots.set(this.slots);
    this.slots = slots;
    const next = new Int32Array(this.next.length * 2);
    next.set(this.next);
    this.next = next;
  }

  /** That entry should have been on the chain. */
  refuse(frame: Pfn, slot: PteSlot): never {
    return bug(`entry ${slot} is not on the chain of frame ${frame}`);
  }
}
