/**
 * A virtual memory area: a range of pages of one address space, with one set of rights and one backing.
 * Ranges are half-open and counted in pages: `[start, end)`.
 */
import type { FileIndex, Vpn } from "../base/units.ts";
import type { AddressSpace } from "./address-space.ts";
import type { AnonVma, AnonVmaChain } from "./anon-vma.ts";
import type { PrivatePromise } from "./bigpages/huge-file.ts";
import type { FileObject, OpenFile } from "./file.ts";

// Linux's VM_* values (include/linux/mm.h).
export const VM_READ = 0x1;
export const VM_WRITE = 0x2;
export const VM_EXEC = 0x4;
export const VM_SHARED = 0x8;
export const VM_MAYREAD = 0x10;
export const VM_MAYWRITE = 0x20;
export const VM_MAYEXEC = 0x40;
export const VM_MAYSHARE = 0x80;
export const VM_GROWSDOWN = 0x100;
/** Its pages may go when memory is short (MAP_DROPPABLE). Linux has it above bit 31; here it is where nothing else is. */
export const VM_DROPPABLE = 0x200;
export const VM_PFNMAP = 0x400;
export const VM_DENYWRITE = 0x800;
export const VM_LOCKED = 0x2000;
export const VM_IO = 0x4000;
export const VM_SEQ_READ = 0x8000;
export const VM_RAND_READ = 0x1_0000;
export const VM_DONTCOPY = 0x2_0000;
export const VM_DONTEXPAND = 0x4_0000;
/** Today; the same bit was VM_RESERVED, of which 2.6.11 has none here. */
export const VM_LOCKONFAULT = 0x8_0000;
export const VM_RESERVED = 0x8_0000;
export const VM_ACCOUNT = 0x10_0000;
export const VM_NORESERVE = 0x20_0000;
export const VM_HUGETLB = 0x40_0000;
/** The sketch of May 2002 names it, and gives it no value. */
export const VM_MAGIC = 0x100_0000;
export const VM_NONLINEAR = 0x80_0000;
export const VM_WIPEONFORK = 0x200_0000;
export const VM_DONTDUMP = 0x400_0000;
/** Today's MAP_SYNC. Linux has it where VM_NONLINEAR was; here it has the place of VM_SOFTDIRTY, which nothing sets. */
export const VM_SYNC = 0x800_0000;
export const VM_MIXEDMAP = 0x1000_0000;
export const VM_HUGEPAGE = 0x2000_0000;
export const VM_NOHUGEPAGE = 0x4000_0000;
/** The area may be merged with equal pages' areas by KSM: a bit of the sign, so test it with `&` only. */
export const VM_MERGEABLE = 0x8000_0000 | 0;

/** Areas of big pages, which `kernel.bigPages` deals with and nobody else. */
export const VM_BIG = VM_HUGETLB | VM_MAGIC;

/** Areas whose entries may name memory that has no struct page: `kernel.pfnMappings` knows which of them do. */
export const VM_RAW = VM_PFNMAP | VM_MIXEDMAP;

/** What mprotect may change. */
export const VM_ACCESS = VM_READ | VM_WRITE | VM_EXEC;
/** Areas with one of these are nobody's to merge, lock or advise about. */
export const VM_SPECIAL = VM_IO | VM_DONTEXPAND | VM_PFNMAP | VM_MIXEDMAP;

export class Vma {
  readonly mm: AddressSpace;
  start: Vpn;
  end: Vpn;
  /** VM_* bits. */
  flags: number;
  /** The page of the file at `start`; of a private anonymous area the page number that `start` had when it was made. */
  fileIndex: FileIndex;
  readonly file: FileObject | null;
  /** Through which open the file was mapped (Linux's vm_file): areas of different opens do not merge. */
  readonly opened: OpenFile | null;
  /** Who may find this area's anonymous pages; null until the first of them. */
  anonVma: AnonVma | null = null;
  /** Every anon_vma whose pages may be in this area, oldest first: its ancestors', then its own. */
  anonVmaChain: AnonVmaChain[] = [];
  /** How many pages of a nonlinear area reclaim has been through in passing (vm_private_data). */
  cursor = 0;
  /** The huge pages that a private area was promised, if any; parts of one area share it. */
  privatePromise: PrivatePromise | null = null;
  /** A huge page was taken from it for one who had been promised it: its next missing page kills. */
  isRobbed = false;
  /** The area below and the area above, while this one is in a set. */
  below: Vma | null = null;
  above: Vma | null = null;

  constructor(
    mm: AddressSpace,
    start: Vpn,
    end: Vpn,
    flags: number,
    file: FileObject | null,
    fileIndex: FileIndex,
    opened: OpenFile | null = null,
  ) {
    this.mm = mm;
    this.start = start;
    this.end = end;
    this.flags = flags;
    this.file = file;
    this.fileIndex = fileIndex;
    this.opened = opened;
  }

  get pages(): number {
    return this.end - this.start;
  }

  /** The file page (or, if anonymous, the pgoff) that belongs at `page`. */
  indexAt(page: Vpn): FileIndex {
    return this.fileIndex + (page - this.start);
  }

  contains(page: Vpn): boolean {
    return page >= this.start && page < this.end;
  }
}

/** Whether writes to pages of such an area must be copied: private, and writable now or later. */
export const isCopyOnWrite = (flags: number): boolean => (flags & (VM_SHARED | VM_MAYWRITE)) === VM_MAYWRITE;
/** The index that a page of private memory has when it is first written: its own number there and then. */
export const anonymousIndex = (page: Vpn): FileIndex => page as number;
/** Whether a program may touch it at all: not PROT_NONE. */
export const isAccessible = (vma: Vma): boolean => (vma.flags & VM_ACCESS) !== 0;
