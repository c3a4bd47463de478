/**
 * Advice that memory is not needed soon. MADV_FREE marks anonymous pages as not worth keeping; MADV_COLD makes pages old;
 * MADV_PAGEOUT makes them old and then reclaims them at once: anonymous pages if there is swap, or if MADV_FREE marked
 * them and nobody has written since; pages of files if they are clean.
 *
 * @models linux-6.1 mm/madvise.c madvise_free_pte_range, madvise_cold_or_pageout_pte_range; mm/vmscan.c reclaim_pages
 * @differs transparent huge pages are split, where Linux leaves one whole that is advised whole
 */
import type { Pfn, Vpn } from "../base/units.ts";
import { type OpenTable, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PROT_NONE, PTE_SWAP } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { entriesIn } from "./cluster/beside.ts";
import { type Frames, PG_ANON, PG_DIRTY, PG_LRU, PG_MLOCKED, PG_SWAPBACKED, PG_SWAPCACHE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { tryLockPage, unlockPage } from "./page-lock.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { namesPage } from "./pfnmap/pfn-mappings.ts";
import { atOnce, shrinkPage } from "./reclaim/shrink-page.ts";
import { clearSwapEntry, giveSlotBack } from "./swap/swap-cache.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { gatherEmptied } from "./tables/emptied.ts";
import { splitRange } from "./thp/huge-entries.ts";
import { makeSmall } from "./thp/huge-reclaim.ts";
import { Gather } from "./tlb/gather.ts";
import type { Vma } from "./vma.ts";

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
  const { frames, reclaim, allocator, counters } = kernel;
  const held: Pfn[] = [];
  const take: Treatment["mapped"] = (_kernel, gather, area, mapped) => {
    const { frame } = mapped;
    if (!isWhole(frames, mapped)) return;
    cool(kernel, gather, area, mapped);
    if (!frames.has(frame, PG_LRU)) return;
    reclaim.forget(frame);
    frames.addReference(frame);
    held.push(frame);
  };
  yield* eachLeaf(kernel, vma, first, end, { mapped: take });
  for (const frame of held) {
    if ((yield* shrinkPage(kernel, frame, atOnce)) === "freed") counters.pagesReclaimed++;
    else putBack(kernel, frame);
    allocator.release(frame);
  }
}

/** The page is among the old ones again, unless somebody has put it on a list, or locked it, meanwhile. */
function putBack({ frames, reclaim }: Kernel, frame: Pfn): void {
  if ((frames.flags.read(frame) & (PG_LRU | PG_MLOCKED)) !== 0) return;
  reclaim.adopt(frame);
  reclaim.deactivate(frame);
}

/** One entry that maps a page, or a part of it. */
interface Mapped {
  readonly table: OpenTable;
  readonly index: number;
  readonly page: Vpn;
  readonly frame: Pfn;
  readonly flags: number;
  /** Entries of the range, side by side with this one, that map parts of the same page, itself included. */
  readonly beside: number;
}

/** Whether nobody maps the page but the entries of the range. */
const isWhole = ({ mapCount }: Frames, { frame, beside }: Mapped): boolean => mapCount.read(frame) === beside;

interface Treatment {
  mapped(kernel: Kernel, gather: Gather, vma: Vma, mapped: Mapped): void;
  /** The entry names a swap slot. Left out: it stays as it is. */
  swapped?(kernel: Kernel, vma: Vma, table: OpenTable, index: number): void;
}

function* eachLeaf(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn, treat: Treatment): Path<void> {
  const { tables } = kernel;
  const gather = new Gather(kernel, vma.mm);
  splitRange(kernel, vma.mm, first, end);
  let page = tables.nextLeaf(vma.mm, first, end);
  while (page < end) {
    const stop = tables.endOf(page, LEAF, end);
    if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
    const table = tables.openLeaf(vma.mm, page);
    // What is in a table that others have is theirs too: it is not for one of them to call it unused.
    if (table !== NO_TABLE && tables.shared.find(table) !== undefined) tables.close(table);
    else if (table !== NO_TABLE) {
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
  const { entries, frames, zeroFrame } = kernel;
  let index = kernel.tables.indexAt(range.first, LEAF);
  for (let page = range.first; page < range.end; page++, index++) {
    const flags = entries.flags(table, index);
    if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) {
      if (flags === PTE_SWAP) range.treat.swapped?.(kernel, vma, table, index);
      continue;
    }
    if (!namesPage(kernel, vma, page, table, index)) continue;
    const frame = frames.head(entries.frame(table, index));
    makeSmall(kernel, frame);
    if (frame !== zeroFrame) {
      const beside = entriesIn(kernel, vma, page, table, frame, range);
      range.treat.mapped(kernel, gather, vma, { table, index, page, frame, flags, beside });
    }
  }
}

function freeLazily(kernel: Kernel, gather: Gather, _vma: Vma, mapped: Mapped): void {
  const { frames, counters } = kernel;
  // Of a page of several parts none may be lost that was not named.
  if (frames.softFrames > 1 && !isWhole(frames, mapped)) return;
  if ((frames.flags.read(mapped.frame) & (PG_DIRTY | PG_SWAPCACHE)) !== 0) {
    if (!isWhole(frames, mapped) || !isOutOfSwap(kernel, mapped.frame)) return;
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
  if (!isWhole(frames, mapped)) return;
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
