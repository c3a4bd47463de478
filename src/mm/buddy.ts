/**
 * The buddy system of one zone: free memory in blocks of 2^order frames, each aligned to its size. Taking splits the
 * smallest block that is large enough, its lower half first; giving back merges a block with its buddy as long as
 * that one is free and whole.
 *
 * Memory that nobody has ever taken is not on lists: it is kept as runs `[first, end)` of largest blocks, taken from
 * the lowest address up, so that a terabyte of it costs nothing. Blocks that were given back are taken first.
 *
 * Where memory is grouped by mobility, each largest block is for pages that can be moved or for those of the kernel, which
 * cannot, with lists of their own; who finds nothing on his takes the largest that the others have. Otherwise all is one group.
 *
 * @models linux-2.6.11 mm/page_alloc.c __rmqueue, expand, __free_pages_bulk
 * @models linux-6.1 mm/page_alloc.c __rmqueue_fallback, steal_suitable_fallback (largest blocks are the groups, and are stolen whole)
 * @differs at boot memory is taken from the lowest address up; Linux's order depends on how it was given to the lists
 */
import { bug } from "../base/errors.ts";
import { SparseInt8 } from "../base/sparse-array.ts";
import type { FrameRun, Pfn } from "../base/units.ts";
import type { Frames } from "./frames.ts";
import { NO_FRAME } from "./frames.ts";

/** Orders are 0..10: the largest block is 4 MiB (2.6). Kernels before that ended at 9. */
export const MAX_ORDERS = 11;

/** What a block is for: pages that can be moved elsewhere, or the kernel's own. */
export type Mobility = 0 | 1;
export const MOVABLE: Mobility = 0;
export const UNMOVABLE: Mobility = 1;

/** A run of largest blocks that were never taken. */
interface Run {
  first: Pfn;
  end: Pfn;
}

/** A block of the buddy system, free or taken. */
export interface BlockWithin {
  readonly first: Pfn;
  readonly order: number;
  readonly isFree: boolean;
}

export class Buddy {
  /** How many orders there are; the largest block is `2^(orders - 1)` frames. */
  readonly orders: number;
  /** Blocks are no smaller: the order of a soft page. */
  readonly leastOrder: number;
  private readonly frames: Frames;
  private readonly first: Pfn;
  private readonly end: Pfn;
  /**
   * By mobility and order: the first free block on its list, or NO_FRAME. Linked through `frames.next` and `previous`; what is before
   * the first one is left undefined.
   */
  private readonly heads: Int32Array;
  /** By largest block, from that of `first`: what it is for; null where memory is not grouped. */
  private readonly groups: SparseInt8 | null;
  /** By order: blocks on its list. */
  private readonly listed: Int32Array;
  private readonly runs: Run[] = [];
  /** By frame, from `first`: order + 1 if a free block begins there, -(order + 1) if a taken one does, 0 if none. */
  private readonly blocks: SparseInt8;
  private free = 0;

  /** An empty buddy system for the frames `[first, end)`; `add` gives it memory. */
  constructor(
    frames: Frames,
    first: Pfn,
    end: Pfn,
    orders: number = MAX_ORDERS,
    grouping: "grouped" | "mixed" = "mixed",
  ) {
    this.frames = frames;
    this.first = first;
    this.end = end;
    this.orders = orders;
    this.leastOrder = frames.softOrder;
    this.heads = new Int32Array(2 * orders).fill(NO_FRAME);
    this.groups = grouping === "grouped" ? new SparseInt8(Math.ceil((end - first) / 2 ** (orders - 1)) + 1) : null;
    this.listed = new Int32Array(orders);
    this.blocks = new SparseInt8(end - first);
  }

  /** Free frames. */
  get freePages(): number {
    return this.free;
  }

  /** Gives the buddy system the frames `[first, end)`, never seen before; ranges come in ascending order. */
  add(first: Pfn, end: Pfn): void {
    if (first < this.first || end > this.end) bug(`frames ${first}..${end} are not of this zone`);
    const largest = 1 << (this.orders - 1);
    const runFirst = Math.min(Math.ceil(first / largest) * largest, end);
    const runEnd = Math.max(Math.floor(end / largest) * largest, runFirst);
    this.addBlocks(first, runFirst);
    if (runEnd > runFirst) this.runs.push({ first: runFirst, end: runEnd });
    this.addBlocks(runEnd, end);
    this.free += end - first;
  }

  /** A block of 2^order frames, or NO_FRAME. */
  take(order: number, mobility: Mobility = MOVABLE): Pfn {
    const group = this.groups === null ? MOVABLE : mobility;
    const first = group * this.orders;
    for (let have = order; have < this.orders; have++) {
      const block = this.heads[first + have];
      if (block !== NO_FRAME) {
        this.heads[first + have] = this.frames.next.read(block);
        this.listed[have]--;
        return this.carve(block, have, order);
      }
    }
    const block = this.takeFromRun();
    if (block === NO_FRAME) return this.groups === null ? NO_FRAME : this.steal(order, group);
    if (group !== MOVABLE) this.setGroup(block, group);
    return this.carve(block, this.orders - 1, order);
  }

  /** A block of the other group: the largest there is, which changes groups if it is as large as can be. */
  private steal(order: number, group: Mobility): Pfn {
    const other = (1 - group) * this.orders;
    for (let have = this.orders - 1; have >= order; have--) {
      const block = this.heads[other + have];
      if (block === NO_FRAME) continue;
      this.unlink(block, have);
      if (have === this.orders - 1) this.setGroup(block, group);
      return this.carve(block, have, order);
    }
    return NO_FRAME;
  }

  /** What the largest block around `frame` is for. */
  groupOf(frame: Pfn): Mobility {
    return this.groups === null ? MOVABLE : (this.groups.read(this.groupAt(frame)) as Mobility);
  }

  private setGroup(block: Pfn, group: Mobility): void {
    this.groups?.write(this.groupAt(block), group);
  }

  private groupAt(frame: Pfn): number {
    return (frame >>> (this.orders - 1)) - (this.first >>> (this.orders - 1));
  }

  /**
   * The single frames that the next so many calls of `take(0)` would give, as far as they lie side by side; at most `most`.
   * The smallest free block goes first, from its lower end to its upper one, and until it is gone nothing smaller comes.
   */
  takeRun(most: number): FrameRun | null {
    let run: { first: Pfn; end: Pfn } | null = null;
    for (let left = most; left > 0; ) {
      const block = this.nextSingle();
      if (block === NO_FRAME || (run !== null && block !== run.end)) break;
      const taken = this.takeFirst(left);
      if (run === null) run = { first: block, end: block + taken };
      else run.end += taken;
      left -= taken;
    }
    return run;
  }

  /** The frame that `take(0)` would give. */
  private nextSingle(): Pfn {
    const listed = this.firstListed();
    return listed >= 0 ? this.heads[listed] : (this.runs[0]?.first ?? NO_FRAME);
  }

  /** The smallest order of which a block is listed that pages which can be moved may have; or -1. */
  private firstListed(): number {
    const { heads, orders } = this;
    for (let order = 0; order < orders; order++) if (heads[order] !== NO_FRAME) return order;
    return -1;
  }

  /** Takes single frames of the smallest free block, or of the first run, until it is gone, or `most`; how many. */
  private takeFirst(most: number): number {
    const { heads, frames } = this;
    const listed = this.firstListed();
    const order = listed < 0 ? this.orders - 1 : listed;
    const largest = 1 << order;
    let count = Math.min(most, largest);
    const first = this.nextSingle();
    if (listed >= 0) {
      heads[order] = frames.next.read(first);
      this.listed[order]--;
    } else {
      const run = this.runs[0]!;
      count = Math.max(count, Math.min(most - (most % largest), run.end - run.first));
      run.first += Math.ceil(count / largest) * largest;
      if (run.first === run.end) this.runs.shift();
    }
    this.free -= count;
    this.blocks.put(first - this.first, first - this.first + count, -1);
    // Each but the first began a block, alone on its list, before it was taken.
    frames.next.fill(first + 1, first + count, NO_FRAME);
    const end = first + Math.ceil(count / largest) * largest;
    for (let block = first + count; block < end; block += block & -block)
      this.link(block, 31 - Math.clz32(block & -block));
    return count;
  }

  /**
   * 2^order frames, aligned to their size, that largest blocks lie in whole: the lowest there are, as largest blocks taken
   * one by one, which is how they are given back. NO_FRAME if there are none.
   *
   * @models linux-6.1 mm/page_alloc.c alloc_contig_pages
   * @differs nothing is moved out of the way
   */
  takeContiguous(order: number): Pfn {
    const pages = 2 ** order;
    const step = 1 << (this.orders - 1);
    for (let start = Math.ceil(this.first / pages) * pages; start + pages <= this.end; start += pages) {
      let block = start;
      while (block < start + pages && this.isLargestFree(block)) block += step;
      if (block < start + pages) continue;
      for (let at = start; at < start + pages; at += step) this.takeLargest(at);
      return start;
    }
    return NO_FRAME;
  }

  private isLargestFree(block: Pfn): boolean {
    if (this.blocks.read(block - this.first) === this.orders) return true;
    return this.runs.some(({ first, end }) => block >= first && block < end);
  }

  /** Takes the free largest block at `block`, off its list or out of its run. */
  private takeLargest(block: Pfn): void {
    const order = this.orders - 1;
    const size = 1 << order;
    const at = this.runs.findIndex(({ first, end }) => block >= first && block < end);
    if (at < 0) this.unlink(block, order);
    else {
      const { first, end } = this.runs[at]!;
      const left = [
        { first, end: block },
        { first: block + size, end },
      ];
      this.runs.splice(at, 1, ...left.filter((run) => run.end > run.first));
    }
    this.carve(block, order, order);
  }

  /** A block that `take` gave is so many single frames from now on, which are given back one by one. */
  breakUp(block: Pfn, order: number): void {
    const at = block - this.first;
    if (this.blocks.read(at) !== -(order + 1)) this.refuse(block, order);
    this.blocks.fill(at, at + (1 << order), -1);
  }

  /**
   * What is in the aligned 2^order frames from `block` on: blocks that end there, smaller than that, each with its order, and
   * whether it is free; or null if a larger block, or memory that is not this zone's, reaches in.
   */
  within(block: Pfn, order: number): BlockWithin[] | null {
    const found: BlockWithin[] = [];
    const end = block + (1 << order);
    if (block < this.first || end > this.end) return null;
    for (let at = block; at < end; ) {
      const state = this.blocks.read(at - this.first);
      const have = Math.abs(state) - 1;
      if (state === 0 || have >= order) return null;
      found.push({ first: at, order: have, isFree: state > 0 });
      at += 1 << have;
    }
    return found;
  }

  /** Takes a free block that `within` has shown, as single frames. */
  takeSingles(block: Pfn, order: number): void {
    this.unlink(block, order);
    this.free -= 1 << order;
    const at = block - this.first;
    this.blocks.fill(at, at + (1 << order), -1);
  }

  /** Takes a block back. It must be one that `take` gave, whole. */
  give(block: Pfn, order: number): void {
    const at = block - this.first;
    if (this.blocks.read(at) !== -(order + 1)) this.refuse(block, order);
    this.free += 1 << order;
    this.merge(at, order);
  }

  /** Takes the frames `[first, end)`, which were never its own, as free single ones. */
  adopt(first: Pfn, end: Pfn): void {
    const at = first - this.first;
    const stop = end - this.first;
    const nobodys = this.blocks.endOf(0, at, stop);
    if (nobodys < stop) this.refuse(nobodys + this.first, 0);
    this.blocks.fill(at, stop, -1);
    this.giveRun(first, end);
  }

  /**
   * Takes back the single frames `[first, end)`. The lists are then as if they had been given one after the other: what
   * lies within an aligned block meets only the rest of that block until it is whole.
   */
  giveRun(first: Pfn, end: Pfn): void {
    const at = first - this.first;
    const stop = end - this.first;
    const single = this.blocks.endOf(-1, at, stop);
    if (single < stop) this.refuse(single + this.first, 0);
    this.free += end - first;
    this.blocks.fill(at, stop, 0);
    for (let block = first; block < end; ) {
      const order = this.largestOrder(block, end);
      this.merge(block - this.first, order);
      block += 1 << order;
    }
  }

  /** Free blocks of exactly this order (nr_free). */
  freeBlocks(order: number): number {
    const listed = this.listed[order];
    return order === this.orders - 1 ? listed + this.blocksInRuns() : listed;
  }

  /** Whether some free block has at least this order. */
  holds(order: number): boolean {
    if (this.runs.length > 0) return true;
    for (let have = order; have < this.orders; have++) if (this.listed[have]! > 0) return true;
    return false;
  }

  /** Visits each free block on a list, then the runs as largest blocks. */
  *freeRanges(): Generator<{ first: Pfn; end: Pfn }> {
    for (let at = 0; at < this.heads.length; at++) {
      const order = at % this.orders;
      for (let block = this.heads[at]; block !== NO_FRAME; block = this.frames.next.read(block)) {
        yield { first: block, end: block + (1 << order) };
      }
    }
    yield* this.runs;
  }

  /** What is known of the frames `[first, end)` is to stay for long, as far as they are here. */
  compact(first: Pfn, end: Pfn): void {
    const [from, to] = [Math.max(first, this.first), Math.min(end, this.end)];
    if (from < to) this.blocks.compact(from - this.first, to - this.first);
  }

  get hostBytes(): number {
    return this.blocks.hostBytes;
  }

  /** Gives back the upper halves of `block` until 2^order frames are left, and marks those as taken. */
  private carve(block: Pfn, have: number, order: number): Pfn {
    for (let size = have - 1; size >= order; size--) this.link(block + (1 << size), size);
    this.blocks.write(block - this.first, -(order + 1));
    this.free -= 1 << order;
    return block;
  }

  /** Lists the free block at `at`, counted from `first`, as the largest that it makes with its buddies. */
  private merge(at: number, order: number): void {
    let start = at;
    let size = order;
    while (size < this.orders - 1) {
      const buddy = this.buddyOf(start, size);
      if (buddy < 0 || this.blocks.read(buddy) !== size + 1) break;
      this.unlink(buddy + this.first, size);
      this.blocks.write(Math.max(start, buddy), 0);
      if (buddy < start) start = buddy;
      size++;
    }
    this.link(start + this.first, size);
  }

  private takeFromRun(): Pfn {
    const run = this.runs[0];
    if (run === undefined) return NO_FRAME;
    const block = run.first;
    run.first += 1 << (this.orders - 1);
    if (run.first === run.end) this.runs.shift();
    return block;
  }

  private blocksInRuns(): number {
    return this.runs.reduce((sum, run) => sum + (run.end - run.first), 0) / (1 << (this.orders - 1));
  }

  /** The other half of the pair that makes a block of the next order; both count from `first`. -1: no such memory. */
  private buddyOf(at: number, order: number): number {
    const size = 1 << order;
    const buddy = (at + this.first) ^ size;
    return buddy + size > this.end ? -1 : buddy - this.first;
  }

  /** Lists `[first, end)`, which holds no largest block, as the largest aligned blocks that fit. */
  private addBlocks(first: Pfn, end: Pfn): void {
    let block = first;
    while (block < end) {
      const order = this.largestOrder(block, end);
      this.link(block, order);
      block += 1 << order;
    }
  }

  /** The order of the largest aligned block that starts at `block` and fits before `end`. */
  private largestOrder(block: Pfn, end: Pfn): number {
    let order = 0;
    while (order < this.orders - 1 && block % (2 << order) === 0 && block + (2 << order) <= end) order++;
    return order;
  }

  private link(block: Pfn, order: number): void {
    const { next, previous } = this.frames;
    const list = this.listOf(block, order);
    const head = this.heads[list];
    next.write(block, head);
    if (head !== NO_FRAME) previous.write(head, block);
    this.heads[list] = block;
    this.listed[order]++;
    this.blocks.write(block - this.first, order + 1);
  }

  private listOf(block: Pfn, order: number): number {
    return this.groups === null ? order : this.groupOf(block) * this.orders + order;
  }

  private unlink(block: Pfn, order: number): void {
    const { next, previous } = this.frames;
    const after = next.read(block);
    this.listed[order]--;
    const list = this.listOf(block, order);
    if (this.heads[list] === block) {
      this.heads[list] = after;
      return;
    }
    const before = previous.read(block);
    next.write(before, after);
    if (after !== NO_FRAME) previous.write(after, before);
  }

  private refuse(block: Pfn, order: number): never {
    const state = this.blocks.read(block - this.first);
    const found =
      state < 0 ? `taken with order ${-state - 1}` : state > 0 ? "free already" : "not the start of a block";
    bug(`frame ${block} is given back with order ${order}, and is ${found}`);
  }
}
