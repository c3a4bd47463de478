/**
 * Mappings of memory that has no struct page. An entry of such an area names either a page, which is counted, chained
 * and freed as any other, or a frame of a segment, which is nobody's: *raw*. After a private write both stand side by
 * side in one area, and fork, unmap, mremap, reclaim and all others must know which is which. Who asks is told by one
 * predicate, `normalPage`; the options differ in what they keep for it, and so in what they allow and cost.
 *
 *     refuse-cow    nothing: private mappings are refused, so all is raw
 *     linear-rule   nothing: raw is what lies at its place by the formula frame = index + distance from the start; the
 *                   area must be mapped whole, from consecutive frames
 *     special-bit   a bit of the entry says: raw
 *     cow-bit       a bit of the entry says: copied
 *     shadow-bits   the same bit, in memory of its own beside each leaf table; a page each for shadow-pages
 *     vma-split     the area: each copy gets an ordinary area of its own, which takes mmap_sem for writing
 *     struct-pages  everything is a page: segments have struct pages
 *
 * Operations ask once, at their entry, whether an area is VM_RAW; the loops for such areas are in raw-entries.ts and
 * raw-fault.ts. Ordinary areas hold pages only.
 *
 * @models MAIL-NOPFN; linux-6.1 mm/memory.c vm_normal_page
 */
import { bug } from "../../base/errors.ts";
import type { FileIndex, Pfn, PteSlot, Vpn } from "../../base/units.ts";
import type { OpenTable } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import type { Thread } from "../process.ts";
import type { TableCache } from "../tables/cache/table-cache.ts";
import type { Intent, Verdict } from "../verdict.ts";
import { isCopyOnWrite, VM_RAW, type Vma } from "../vma.ts";
import type { SegmentFile } from "./segments.ts";

/** What an area will be. */
export interface RawRegion {
  /** VM_* bits. */
  readonly flags: number;
  /** Pages of the file. */
  readonly first: FileIndex;
  readonly end: FileIndex;
}

/** What knowing what is a page has cost so far. */
export interface PfnCosts {
  /** Bits read, written, and bytes of memory for them, now and at most. */
  lookups: number;
  marks: number;
  shadowBytes: number;
  mostShadowBytes: number;
  /** Faults that had to give mmap_sem up and take it for writing. */
  relocks: number;
  /** Areas that such faults made. */
  areasMade: number;
}

export interface PfnMappings {
  readonly costs: PfnCosts;
  /** Bits that a raw entry has beside its rights, and those that a page's entry has in such an area. */
  readonly rawBits: number;
  readonly pageBits: number;

  /** Whether the present entry of an area that is VM_RAW names a page. */
  normalPage(kernel: Kernel, vma: Vma, page: Vpn, table: OpenTable, index: number): boolean;

  // Areas.

  /** Whether such an area may not be: 0 or -EINVAL. */
  refuses(file: SegmentFile, region: RawRegion): number;
  /** Whether the area's index counts frames, not pages of its file. */
  countsFrames(vma: Vma): boolean;
  /** Whether mmap maps all of the area at once. */
  mapsAtOnce(vma: Vma): boolean;
  /** Whether entries of the area may be filled one by one, with whatever frames. */
  mayFill(vma: Vma): boolean;

  // Entries: page_table_lock is held.

  /** An entry is about to name a frame of the area's file: 0, or -ENOMEM with nothing changed. */
  enter(kernel: Kernel, vma: Vma, frame: Pfn, slot: PteSlot): number;
  /** The entry names a copy from now on. */
  copied(table: OpenTable, index: number): void;
  /** The entry is none from now on. */
  cleared(table: OpenTable, index: number): void;
  /** An entry says what another one does (fork, mremap). */
  repeated(from: OpenTable, fromIndex: number, to: OpenTable, toIndex: number): void;
  /** Where leaf tables come from, with what is kept beside them. */
  tablesFrom(cache: TableCache): TableCache;

  // Faults.

  /** Whether a write to a raw page of a private area, or the return of one, changes the area. */
  readonly copies: "in place" | "to an area";
  /**
   * Such a fault: FAULT_MINOR if the access is to be tried again. Requires: mmap_sem is held for reading, and is so again
   * afterwards; in between anything may change.
   */
  changeArea(kernel: Kernel, thread: Thread, page: Vpn, intent: Intent): Path<Verdict>;

  // Files.

  /** The file has its frames from now on, and no longer. */
  opened(kernel: Kernel, file: FileObject, raw: SegmentFile): void;
  closed(kernel: Kernel, raw: SegmentFile): void;
}

/** The frame at `page` by the formula, in an area whose index counts frames. */
export const frameByFormula = (vma: Vma, page: Vpn): Pfn => vma.indexAt(page) as number;

/** Whether the present entry of any area names a page, as opposed to memory without a struct page. */
export const namesPage = (kernel: Kernel, vma: Vma, page: Vpn, table: OpenTable, index: number): boolean =>
  (vma.flags & VM_RAW) === 0 || kernel.pfnMappings.normalPage(kernel, vma, page, table, index);

/** What most options have in common: segments have no struct pages, and entries may name any frame of them. */
export abstract class RawMappings implements PfnMappings {
  readonly costs: PfnCosts = {
    lookups: 0,
    marks: 0,
    shadowBytes: 0,
    mostShadowBytes: 0,
    relocks: 0,
    areasMade: 0,
  };
  readonly rawBits: number = 0;
  readonly pageBits: number = 0;
  readonly copies: "in place" | "to an area" = "in place";

  abstract normalPage(kernel: Kernel, vma: Vma, page: Vpn, table: OpenTable, index: number): boolean;

  refuses(_file: SegmentFile, _region: RawRegion): number {
    return 0;
  }

  countsFrames(vma: Vma): boolean {
    return isCopyOnWrite(vma.flags) && this.mapsAtOnce(vma);
  }

  mapsAtOnce(vma: Vma): boolean {
    return vma.file?.raw?.way === "remap";
  }

  mayFill(_vma: Vma): boolean {
    return true;
  }

  enter(_kernel: Kernel, _vma: Vma, _frame: Pfn, _slot: PteSlot): number {
    return 0;
  }

  copied(_table: OpenTable, _index: number): void {}

  cleared(_table: OpenTable, _index: number): void {}

  repeated(_from: OpenTable, _fromIndex: number, _to: OpenTable, _toIndex: number): void {}

  tablesFrom(cache: TableCache): TableCache {
    return cache;
  }

  changeArea(_kernel: Kernel, thread: Thread, page: Vpn, _intent: Intent): Path<Verdict> {
    bug(`page ${page} of ${thread.name} needs an area of its own, and areas stay as they are`);
  }

  opened(_kernel: Kernel, _file: FileObject, _raw: SegmentFile): void {}

  closed(_kernel: Kernel, _raw: SegmentFile): void {}
}
