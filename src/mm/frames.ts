/**
 * The frames of physical memory: Linux's `struct page`, one array per field, by frame number. The arrays are sparse,
 * so that a terabyte of memory that nobody has used yet costs nothing.
 *
 * @models linux-2.6.11 include/linux/mm.h struct page
 * @differs mapCount counts PTEs from 0 (Linux stores it less one); mapping and index name an object by number
 */
import { bug } from "../base/errors.ts";
import type { Runs } from "../base/owed-sums.ts";
import { SparseFloat64, SparseInt8, SparseInt32 } from "../base/sparse-array.ts";
import type { Pfn } from "../base/units.ts";
import { type Watch, watchUses } from "./memmap/watched-arrays.ts";

/** No frame: the end of a list, or an allocation that failed. */
export const NO_FRAME = -1;

// What is true of a frame: bits of `flags`.
export const PG_LOCKED = 1 << 0; // its identity may not change; I/O is under way
export const PG_REFERENCED = 1 << 1; // used since the page lists last looked
export const PG_UPTODATE = 1 << 2; // its contents are those of its place in the file
export const PG_DIRTY = 1 << 3; // its contents are newer than the file's
export const PG_LRU = 1 << 4; // on one of the page lists
export const PG_ACTIVE = 1 << 5; // and that list is the active one
export const PG_RESERVED = 1 << 6; // never swapped, never counted: kernel image, zero page
export const PG_SWAPBACKED = 1 << 7; // its backing is swap: anonymous or shmem
export const PG_MLOCKED = 1 << 8; // some VM_LOCKED area maps it
export const PG_ANON = 1 << 9; // `mapping` is an AnonVma's id, not a FileObject's
export const PG_EXCLUSIVE = 1 << 10; // anonymous, and one PTE only has ever mapped it since it was written
export const PG_TABLE = 1 << 11; // a page table
export const PG_WRITEBACK = 1 << 12; // being written to its file
export const PG_SLAB = 1 << 13; // holds small kernel objects
export const PG_SWAPCACHE = 1 << 14; // `swapSlot` says where in swap its contents are, or will be
export const PG_ORPHAN = 1 << 15; // has left its file while it was mapped, and is known to have
export const PG_PRIVATE = 1 << 16; // has a buffer head

export const PG_HEAD = 1 << 17; // the first frame of a compound page
export const PG_PART = 1 << 18; // one of the frames of a transparent huge page, its head too

/** Who is told of uses of struct pages: of fields, and of links from one to another. */
export interface FrameWatch {
  readonly fields: Watch;
  readonly links: Watch;
}

/** An array of one field of all frames. */
function field<F extends SparseInt32 | SparseFloat64>(array: F, watch: Watch | undefined): F {
  if (watch !== undefined) watchUses(array, watch);
  return array;
}

export class Frames {
  /** How many frames there are; frame numbers are below it. */
  readonly count: number;
  /** By frame: references; 0 = free. */
  readonly refs: SparseInt32;
  /** By frame: page-table entries that map it; 0 = unmapped. */
  readonly mapCount: SparseInt32;
  /** By runs of frames: the version of their counts at which all were mapped. */
  private readonly mappedAt = new WeakMap<Runs, number>();
  /** Frames of pages that some entry maps (nr_mapped). */
  mapped = 0;
  /** By frame: PG_* bits. */
  readonly flags: SparseInt32;
  /** By frame: id of the FileObject or AnonVma whose page it is; 0 = none. */
  readonly mapping: SparseInt32;
  /** By frame: its index in that file, or the linear page number of an anonymous page. */
  readonly index: SparseFloat64;
  /** By frame: its neighbours on the one list that it is on (a free list, or a page list). */
  readonly next: SparseInt32;
  readonly previous: SparseInt32;
  /** By frame in the swap cache: its slot. */
  readonly swapSlot: SparseFloat64;
  /** By frame: who took it out of the allocator (an OWNER_* of zone.ts). */
  readonly owner: SparseInt8;
  /** By head of a compound page: its order. Frames after the head have nothing of their own. */
  private readonly orders: SparseInt8;
  /** By head of a transparent huge page: large entries that map it whole; each is in the counts of all its frames too. */
  readonly largeMaps: SparseInt32;
  /** The orders that compound pages have had. */
  private readonly compoundOrders = new Set<number>();
  /** Whether somebody counts which frames are turned to. */
  readonly isWatched: boolean;
  /** Frames of a soft page, a power of two: the kernel's own page, which has one struct page. */
  readonly softFrames: number;
  /** Its order. */
  readonly softOrder: number;
  /** The bits of a frame's number that name its soft page. */
  private readonly headMask: number;

  /** Soft pages have 2^softOrder frames. `watch` is told of each field that is used, where struct pages must be looked for. */
  constructor(count: number, softOrder = 0, watch: FrameWatch | null = null) {
    const words = (): SparseInt32 => field(new SparseInt32(count), watch?.fields);
    const numbers = (): SparseFloat64 => field(new SparseFloat64(count), watch?.fields);
    const links = (): SparseInt32 => field(new SparseInt32(count, NO_FRAME), watch?.links);
    this.isWatched = watch !== null;
    this.count = count;
    this.softOrder = softOrder;
    this.softFrames = 1 << softOrder;
    this.headMask = -this.softFrames;
    this.refs = words();
    this.mapCount = words();
    this.flags = words();
    this.mapping = words();
    this.index = numbers();
    this.next = links();
    this.previous = links();
    this.swapSlot = numbers();
    this.owner = new SparseInt8(count);
    this.orders = new SparseInt8(count);
    this.largeMaps = new SparseInt32(count);
  }

  /**
   * The 2^order frames from `head` on are one page from now on, whose references, mappings and flags are the head's.
   *
   * @models linux-2.6.11 mm/page_alloc.c prep_compound_page
   * @differs tails do not point to their head: it is found by alignment
   */
  makeCompound(head: Pfn, order: number): void {
    this.compoundOrders.add(order);
    this.orders.write(head, order);
    this.setFlag(head, PG_HEAD);
  }

  /** They are single frames again. */
  unmakeCompound(head: Pfn): void {
    this.orders.write(head, 0);
    this.clearFlag(head, PG_HEAD);
  }

  /** The order of the compound page that begins at `head`. */
  orderOf(head: Pfn): number {
    return this.orders.read(head);
  }

  /** The head of the compound page that `frame` is in; the frame itself if it is in none. */
  headOf(frame: Pfn): Pfn {
    for (const order of this.compoundOrders) {
      const head = frame - (frame % 2 ** order);
      if (this.has(head, PG_HEAD) && this.orders.read(head) === order) return head;
    }
    return frame;
  }

  /** The soft page that `frame` is part of: its first frame, whose struct page is that of all. Requires: it is a frame. */
  head(frame: Pfn): Pfn {
    return frame & this.headMask;
  }

  /** Which part of its soft page the frame is. */
  partOf(frame: Pfn): number {
    return frame & ~this.headMask;
  }

  /** Where what the frame holds belongs in its file, or among anonymous pages: `index` is that of the soft page's first part. */
  indexOf(frame: Pfn): number {
    return this.index.read(frame & this.headMask) + (frame & ~this.headMask);
  }

  /** Entries of leaf tables that map it; its other mappings are large entries. */
  leafMaps(frame: Pfn): number {
    const count = this.mapCount.read(frame);
    return this.has(frame, PG_PART) ? count - this.largeMaps.read(this.headOf(frame)) : count;
  }

  addReference(frame: Pfn): void {
    if (this.refs.add(frame, 1) === 1) bug(`frame ${frame} is free and cannot be referenced`);
  }

  /** Drops a reference; true if that was the last: the caller must free the frame. */
  dropReference(frame: Pfn): boolean {
    const left = this.refs.add(frame, -1);
    if (left < 0) bug(`frame ${frame} is dropped once too often`);
    return left === 0;
  }

  /** One entry more maps it. */
  addMapping(frame: Pfn): void {
    if (this.mapCount.add(frame, 1) === 1) this.mapped += this.softFrames;
  }

  /** The same for all of `[first, end)`: each gets one more. */
  addMappings(first: Pfn, end: Pfn): void {
    for (let at = first; at < end; ) {
      const count = this.mapCount.read(at);
      const stop = this.mapCount.endOf(count, at, end);
      if (count === 0) this.mapped += stop - at;
      at = stop;
    }
    this.mapCount.addAll(first, end, 1);
  }

  /** The same for all frames of `runs`, to which it may happen again and again. */
  addMappingsOf(runs: Runs): void {
    const { mapCount, mappedAt } = this;
    if (mappedAt.get(runs) !== mapCount.versionOf(runs)) {
      for (let run = 0; run < runs.count; run++) {
        for (let at = runs.firsts[run]!; at < runs.ends[run]!; ) {
          const count = mapCount.read(at);
          const stop = mapCount.endOf(count, at, runs.ends[run]!);
          if (count === 0) this.mapped += stop - at;
          at = stop;
        }
      }
    }
    mapCount.addLater(runs, 1);
    mappedAt.set(runs, mapCount.versionOf(runs));
  }

  /** What is known of the frames `[first, end)` is to stay for long. */
  compact(first: Pfn, end: Pfn): void {
    for (const array of this.arrays) array.compact(first, end);
  }

  /** The same as `dropMapping` for all of `[first, end)`. */
  dropMappings(first: Pfn, end: Pfn): void {
    for (let at = first; at < end; ) {
      const count = this.mapCount.read(at);
      const stop = this.mapCount.endOf(count, at, end);
      if (count === 1) this.mapped -= stop - at;
      at = stop;
    }
    this.mapCount.addEach(first, end, -1);
  }

  /** One entry less maps it; how many are left. */
  dropMapping(frame: Pfn): number {
    const left = this.mapCount.add(frame, -1);
    if (left === 0) this.mapped -= this.softFrames;
    return left;
  }

  /** Whether all of `bits` are set. */
  has(frame: Pfn, bits: number): boolean {
    return (this.flags.read(frame) & bits) === bits;
  }

  setFlag(frame: Pfn, bits: number): void {
    this.flags.write(frame, this.flags.read(frame) | bits);
  }

  clearFlag(frame: Pfn, bits: number): void {
    this.flags.write(frame, this.flags.read(frame) & ~bits);
  }

  /** What the arrays cost their host. */
  get hostBytes(): number {
    return this.arrays.reduce((sum, array) => sum + array.hostBytes, 0);
  }

  private get arrays(): readonly (SparseInt8 | SparseInt32 | SparseFloat64)[] {
    const { refs, mapCount, flags, mapping, index, next, previous, swapSlot, owner, orders, largeMaps } = this;
    return [refs, mapCount, flags, mapping, index, next, previous, swapSlot, owner, orders, largeMaps];
  }
}
