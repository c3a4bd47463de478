/**
 * The frames of physical memory: Linux's `struct page`, one array per field, by frame number. The arrays are sparse,
 * so that a terabyte of memory that nobody has used yet costs nothing.
 *
 * @models linux-2.6.11 include/linux/mm.h struct page
 * @differs mapCount counts PTEs from 0 (Linux stores it less one); mapping and index name an object by number
 */
import { bug } from "../base/errors.ts";
import { SparseFloat64, SparseInt8, SparseInt32 } from "../base/sparse-array.ts";
import type { Pfn } from "../base/units.ts";

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

export class Frames {
  /** How many frames there are; frame numbers are below it. */
  readonly count: number;
  /** By frame: references; 0 = free. */
  readonly refs: SparseInt32;
  /** By frame: page-table entries that map it; 0 = unmapped. */
  readonly mapCount: SparseInt32;
  /** Frames that some entry maps (nr_mapped). */
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

  constructor(count: number) {
    this.count = count;
    this.refs = new SparseInt32(count);
    this.mapCount = new SparseInt32(count);
    this.flags = new SparseInt32(count);
    this.mapping = new SparseInt32(count);
    this.index = new SparseFloat64(count);
    this.next = new SparseInt32(count, NO_FRAME);
    this.previous = new SparseInt32(count, NO_FRAME);
    this.swapSlot = new SparseFloat64(count);
    this.owner = new SparseInt8(count);
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
    if (this.mapCount.add(frame, 1) === 1) this.mapped++;
  }

  /** One entry less maps it; how many are left. */
  dropMapping(frame: Pfn): number {
    const left = this.mapCount.add(frame, -1);
    if (left === 0) this.mapped--;
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
    const { refs, mapCount, flags, mapping, index, next, previous, swapSlot, owner } = this;
    return [refs, mapCount, flags, mapping, index, next, previous, swapSlot, owner].reduce(
      (sum, array) => sum + array.hostBytes,
      0,
    );
  }
}
