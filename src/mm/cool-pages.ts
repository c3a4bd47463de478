/**
 * Advice that memory is not needed soon, on a machine without swap. MADV_FREE marks anonymous pages as not worth
 * keeping; MADV_COLD makes pages old; MADV_PAGEOUT makes them old and then reclaims what can be had without swap: clean
 * pages of files, and pages that MADV_FREE marked and nobody has written since.
 *
 * @models linux-6.1 mm/madvise.c madvise_free_pte_range, madvise_cold_or_pageout_pte_range; mm/vmscan.c reclaim_pages
 */
import type { FileIndex, Pfn, Vpn } from "../base/units.ts";
import { type OpenTable, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PROT_NONE, PTE_SWAP } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { FileObject } from "./file.ts";
import { dropPage, setFrameDirty } from "./file-pages.ts";
import { PG_ANON, PG_DIRTY, PG_LOCKED, PG_SWAPBACKED, PG_SWAPCACHE, PG_WRITEBACK } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { unmapFrame } from "./mapped-frame.ts";
import { tryLockPage, unlockPage } from "./page-lock.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { clearSwapEntry, giveSlotBack } from "./swap/swap-cache.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { gatherEmptied } from "./tables/emptied.ts";
import { Gather } from "./tlb/gather.ts";
import { VM_DROPPABLE, type Vma } from "./vma.ts";

/** MADV_FREE: the contents of the anonymous pages of `[first, end)` may be lost from now on, until they are written. */
export function* freePages(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<void> {
  yield* eachLeaf(kernel, vma, first, end, { mapped: freeLazily, swapped: clearSwapEntry });
}

/** MADV_COLD: the pages of `[first, end)` that nobody else maps become old. */
export function* coolPages(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<void> {
  yield* eachLeaf(kernel, vma, first, end, { mapped: cool });
}

/** MADV_PAGEOUT: the same, and what can be reclaimed is. */
export function* pageOut(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<void> {
  yield* eachLeaf(kernel, vma, first, end, { mapped: cool });
  yield* eachLeaf(kernel, vma, first, end, { mapped: reclaim });
}

/** One entry that maps a frame with a struct page of its own. */
interface Mapped {
  readonly table: OpenTable;
  readonly index: number;
  readonly page: Vpn;
  readonly frame: Pfn;
  readonly flags: number;
}

interface Treatment {
  mapped(kernel: Kernel, gather: Gather, vma: Vma, mapped: Mapped): void;
  /** The entry names a swap slot. Left out: it stays as it is. */
  swapped?(kernel: Kernel, vma: Vma, table: OpenTable, index: number): void;
}

function* eachLeaf(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn, treat: Treatment): Path<void> {
  const { tables } = kernel;
  const gather = new Gather(kernel, vma.mm);
  let page = tables.nextLeaf(vma.mm, first, end);
  while (page < end) {
    const stop = tables.endOf(page, LEAF, end);
    if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
    const table = tables.openLeaf(vma.mm, page);
    if (table !== NO_TABLE) {
      treatLeaf(kernel, gather, vma, table, { first: page, end: stop, treat });
      tables.close(table);
      gatherEmptied(kernel, gather, page);
    }
    unlockTables(kernel, vma.mm);
    yield* gather.flush();
    page = tables.nextLeaf(vma.mm, stop, end);
  }
}

interface LeafTreatment {
  readonly first: Vpn;
  readonly end: Vpn;
  readonly treat: Treatment;
}

function treatLeaf(kernel: Kernel, gather: Gather, vma: Vma, table: OpenTable, range: LeafTreatment): void {
  const { entries, zeroFrame } = kernel;
  let index = kernel.tables.indexAt(range.first, LEAF);
  for (let page = range.first; page < range.end; page++, index++) {
    const flags = entries.flags(table, index);
    if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) {
      if (flags === PTE_SWAP) range.treat.swapped?.(kernel, vma, table, index);
      continue;
    }
    const frame = entries.frame(table, index);
    if (frame !== zeroFrame) range.treat.mapped(kernel, gather, vma, { table, index, page, frame, flags });
  }
}

function freeLazily(kernel: Kernel, gather: Gather, _vma: Vma, mapped: Mapped): void {
  const { frames, counters } = kernel;
  if ((frames.flags.read(mapped.frame) & (PG_DIRTY | PG_SWAPCACHE)) !== 0) {
    if (frames.mapCount.read(mapped.frame) !== 1 || !isOutOfSwap(kernel, mapped.frame)) return;
    frames.clearFlag(mapped.frame, PG_DIRTY);
  }
  makeOld(kernel, gather, mapped, PTE_ACCESSED | PTE_DIRTY);
  if (!frames.has(mapped.frame, PG_ANON | PG_SWAPBACKED)) return;
  kernel.reclaim.deactivate(mapped.frame);
  frames.clearFlag(mapped.frame, PG_SWAPBACKED);
  counters.pagesLazilyFreed++;
}

/** Whether the page has no swap slot, or could give it back. */
function isOutOfSwap(kernel: Kernel, frame: Pfn): boolean {
  if (!kernel.frames.has(frame, PG_SWAPCACHE)) return true;
  if (!tryLockPage(kernel, frame)) return false;
  const isOut = giveSlotBack(kernel, frame);
  unlockPage(kernel, frame);
  return isOut;
}

function cool(kernel: Kernel, gather: Gather, _vma: Vma, mapped: Mapped): void {
  const { frames, counters } = kernel;
  if (frames.mapCount.read(mapped.frame) !== 1) return;
  makeOld(kernel, gather, mapped, PTE_ACCESSED);
  kernel.reclaim.deactivate(mapped.frame);
  counters.pagesCooled++;
}

/** Takes bits that the MMU set off an entry. */
function makeOld(kernel: Kernel, gather: Gather, { table, index, page, flags }: Mapped, bits: number): void {
  if ((flags & bits) === 0) return;
  kernel.entries.setFlags(table, index, flags & ~bits);
  gather.cover(page, page + 1);
}

/** @models linux-6.1 mm/vmscan.c shrink_folio_list; mm/rmap.c try_to_unmap_one */
function reclaim(kernel: Kernel, gather: Gather, vma: Vma, mapped: Mapped): void {
  const { frames } = kernel;
  if (frames.mapCount.read(mapped.frame) !== 1 || frames.has(mapped.frame, PG_LOCKED)) return;
  const state = frames.flags.read(mapped.frame);
  if ((state & PG_ANON) !== 0) reclaimAnonymous(kernel, gather, vma, mapped, state);
  else if (vma.file !== null) reclaimFilePage(kernel, gather, vma, vma.file, mapped);
}

/** Without swap only what MADV_FREE gave up can go, and only if it has not been written since. */
function reclaimAnonymous(kernel: Kernel, gather: Gather, vma: Vma, mapped: Mapped, state: number): void {
  if ((state & PG_SWAPBACKED) !== 0) return;
  const isWritten = (mapped.flags & PTE_DIRTY) !== 0 || (state & PG_DIRTY) !== 0;
  if (isWritten && (vma.flags & VM_DROPPABLE) === 0) {
    kernel.frames.setFlag(mapped.frame, PG_SWAPBACKED | PG_DIRTY);
    return;
  }
  unmap(kernel, gather, vma, mapped);
  gather.add(mapped.frame);
  kernel.counters.pagesReclaimed++;
}

/** The entry goes in any case; a clean page leaves the cache with it. */
function reclaimFilePage(kernel: Kernel, gather: Gather, vma: Vma, file: FileObject, mapped: Mapped): void {
  const { frames, counters } = kernel;
  const { frame } = mapped;
  if ((mapped.flags & PTE_DIRTY) !== 0) setFrameDirty(kernel, file, frame);
  const index: FileIndex = frames.index.read(frame);
  unmap(kernel, gather, vma, mapped);
  gather.add(frame);
  if ((frames.flags.read(frame) & (PG_DIRTY | PG_WRITEBACK)) !== 0) return;
  if (frames.mapping.read(frame) === file.id) dropPage(kernel, file, index, frame);
  counters.pagesReclaimed++;
}

function unmap(kernel: Kernel, gather: Gather, vma: Vma, { table, index, page, frame }: Mapped): void {
  kernel.entries.clear(table, index);
  unmapFrame(kernel, vma, frame, kernel.entries.slotOf(table, index));
  gather.cover(page, page + 1);
}
