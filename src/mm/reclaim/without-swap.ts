/**
 * What reclaim finds where there is no swap: pages of processes and of files in memory have nowhere to go. Kernels that keep
 * them on lists of their own do not look at those; here they are on lists with the others, and when there are no others
 * nobody looks.
 *
 * @models linux-6.1 mm/vmscan.c get_scan_count, can_reclaim_anon_pages
 * @differs beside pages of regular files, those that need swap are looked at, too
 */
import type { Kernel } from "../kernel.ts";
import { VM_DROPPABLE } from "../vma.ts";

/** Whether every page needs swap, there is none, and this kernel knows it without a look. */
export function isAllStuck({ swap, files, personality, counters, spaces }: Kernel): boolean {
  if (swap.totalPages > 0 || personality.pages.withoutSwap === "looks at all" || counters.pagesLazilyFreed > 0)
    return false;
  for (const { kind, pages } of files.all()) if (kind === "regular" && pages.count > 0) return false;
  for (const { vmas } of spaces) for (const { flags } of vmas) if ((flags & VM_DROPPABLE) !== 0) return false;
  return true;
}
