/**
 * Huge pages when memory is short. Whether one is used is asked of all entries that map it, large and small; one that is to
 * leave memory is split first, and leaves as small pages do. Pages of which some frames are idle are split before anything
 * is reclaimed: those frames are free at once.
 *
 * @models linux-6.1 mm/vmscan.c shrink_folio_list (folio_test_large); mm/huge_memory.c split_huge_page_to_list, deferred_split_scan
 * @differs huge pages are never swapped in one piece (CONFIG_THP_SWAP)
 */
import type { Pfn } from "../../base/units.ts";
import { PTE_ACCESSED } from "../../hw/pte.ts";
import { PG_PART } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { VM_LOCKED } from "../vma.ts";
import { flagsOfHuge, headOfHuge, hugeEntryAt, setHuge, splitEntry } from "./huge-entries.ts";

/**
 * How many large entries have used the page since the last look, which clears what it finds. A page that is locked in
 * memory counts as used.
 */
export function usesOfHuge(kernel: Kernel, head: Pfn): number {
  const { transparent, reclaim, personality, tlbFlush } = kernel;
  let uses = 0;
  if (kernel.frames.largeMaps.read(head) === 0) return uses;
  transparent.largeMap.forEachLarge(head, (mm, page) => {
    reclaim.costs.entriesVisited++;
    const entry = hugeEntryAt(kernel, mm, page)!;
    const flags = flagsOfHuge(kernel, entry);
    if (((mm.vmas.find(page)?.flags ?? 0) & VM_LOCKED) !== 0) uses++;
    if ((flags & PTE_ACCESSED) !== 0) {
      setHuge(kernel, entry, headOfHuge(kernel, entry), flags & ~PTE_ACCESSED);
      if (personality.pages.flushesYoung) tlbFlush.page(mm, page);
      uses++;
    }
    return true;
  });
  return uses;
}

/**
 * Makes small pages of a huge one; whether it did: an address space whose page tables are busy keeps its large entry, and
 * the page must be tried again. Other CPUs may be owed flushes afterwards.
 */
export function splitPage(kernel: Kernel, head: Pfn): boolean {
  const { frames, transparent, current, reclaim, counters } = kernel;
  if (frames.largeMaps.read(head) > 0) {
    transparent.largeMap.forEachLarge(head, (mm, page) => {
      if (!mm.pageTableLock.attempt(current.task)) {
        reclaim.costs.trylocksFailed++;
        return true;
      }
      splitEntry(kernel, mm, hugeEntryAt(kernel, mm, page)!);
      mm.pageTableLock.release(current.task);
      return true;
    });
  }
  if (frames.largeMaps.read(head) > 0) {
    counters.thpSplitPageFailed++;
    return false;
  }
  transparent.pages.unbind(kernel, head);
  return true;
}

/** Splits the pages of which some frames are idle, and frees the zeros that nobody maps; how many frames were free then. */
export function freeIdle(kernel: Kernel): number {
  const { pages } = kernel.transparent;
  let freed = pages.freeZero(kernel);
  for (const head of pages.partly) {
    const idle = pages.idleOf(head);
    if (splitPage(kernel, head)) freed += idle;
  }
  return freed;
}

/** The frame is a small page from now on, if it is a part of a huge page that nobody maps whole. */
export function makeSmall(kernel: Kernel, frame: Pfn): void {
  const { frames, transparent } = kernel;
  if (!frames.has(frame, PG_PART)) return;
  const head = frames.headOf(frame);
  if (frames.largeMaps.read(head) === 0) transparent.pages.unbind(kernel, head);
}
