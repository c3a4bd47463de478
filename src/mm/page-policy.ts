/**
 * How kernels differ below the system calls: what a fault makes ready beforehand, who may write a private page in
 * place, what fork copies, how mremap moves entries and when page tables are freed. Part of a personality.
 */
import type { Pfn } from "../base/units.ts";
import type { Tunables } from "../tunables.ts";
import type { Frames } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import type { FreeTables } from "./tables/freeing.ts";
import type { Intent } from "./verdict.ts";
import type { Vma } from "./vma.ts";

/** What a swap entry says of its slot beside its place: that nobody else names it, or nothing. */
export type SwapMark = "exclusive" | "none";

export interface PagePolicy {
  /** The lowest level of tables that a fault of a file makes before it looks for the page. */
  readonly firstTables: 1 | 2;
  /** The window of cached pages, a power of two, that a read fault of a file maps. */
  faultAroundPages(tunables: Tunables): number;
  /** Flags that an entry for the zero page has beside its rights. */
  readonly zeroPageFlags: number;
  /** PG_* bits of a new anonymous page, beside those that say that it is one. */
  readonly newAnonymousFlags: number;
  /** An area needs one of these VM_* bits to be read. */
  readonly readRights: number;
  /**
   * Whether the one who maps this anonymous page is the only one who ever will without a fork; here as below `own` entries,
   * side by side, are his: one, or as many as there are parts of a soft page.
   */
  isOwn(frames: Frames, frame: Pfn, own: number): boolean;
  /** Whether the one who writes to this anonymous page, mapped read-only, may keep it. */
  mayReuse(kernel: Kernel, frame: Pfn, own: number): boolean;
  /** Whether a page that a fault has brought in from swap returns its slot, if nobody else uses that. */
  returnsSlot(
    kernel: Kernel,
    vma: Vma,
    arrival: { readonly frame: Pfn; readonly intent: Intent; readonly own: number },
  ): boolean;
  /**
   * Whether a page that a fault has brought in from swap is that area's alone, in memory and in swap; one entry has been
   * given to it already, which named its slot before, and said `mark` of it. Requires: it is locked.
   */
  isAlone(kernel: Kernel, frame: Pfn, mark: SwapMark, own: number): boolean;
  /** Whether entries of a shared writable area stay read-only until written, so that the file learns of it. */
  noticesWrites(vma: Vma): boolean;
  /** Whether mprotect may make this entry of a writable area writable at once. */
  mayMakeWritable(frames: Frames, vma: Vma, frame: Pfn, flags: number): boolean;
  /** Whether fork copies the area's entries, rather than leave them to faults. */
  copiesOnFork(vma: Vma): boolean;
  /** How mlock and MAP_POPULATE touch the area's pages. */
  populateIntent(vma: Vma): Intent;
  /** Whether populating for reading leaves untouched anonymous pages alone. */
  readonly sparesZeroPages: boolean;
  /**
   * What mremap moves: each entry alone; whole tables where both ends are aligned; or those also where an area starts
   * within one and is alone in it.
   */
  readonly moves: "entries" | "tables" | "realigned-tables";
  /** What MADV_DONTNEED frees: pages, or also the leaf tables that it leaves empty. */
  readonly dontNeedFrees: "pages" | "empty-tables";
  /** Where there is no swap: whether reclaim looks at pages that need it. */
  readonly withoutSwap: "looks at all" | "looks at files";
  /** Whether taking the A bit off an entry takes its translation out of TLBs, so that the next use is seen. */
  readonly flushesYoung: boolean;
  /** How tables are freed leaf by leaf when areas are unmapped. */
  readonly freeTables: FreeTables;
}
