/** What Linux 2.6.11 does with pages: a page that one entry maps is its owner's, and fork copies every entry. */
import type { Pfn } from "../../base/units.ts";
import { PG_SWAPCACHE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import type { PagePolicy } from "../page-policy.ts";
import { freePmdRanges } from "../tables/pmd-ranges.ts";
import { VM_EXEC, VM_READ, VM_WRITE } from "../vma.ts";

/**
 * @models linux-2.6.11 mm/memory.c do_wp_page, copy_page_range, handle_mm_fault; mm/mremap.c move_one_page
 * @models linux-2.6.11 mm/mmap.c free_pgtables
 */
export const pages2611: PagePolicy = {
  firstTables: 1,
  faultAroundPages: () => 1,
  zeroPageFlags: 0,
  newAnonymousFlags: 0,
  readRights: VM_READ | VM_EXEC,
  isOwn: (frames, frame, own) => frames.mapCount.read(frame) === own,
  mayReuse(kernel, frame, own) {
    if (!tryLockPage(kernel, frame)) return false;
    const isShared = usersOfPage(kernel, frame) > own;
    unlockPage(kernel, frame);
    return !isShared;
  },
  returnsSlot: ({ swap }) => swap.isFull,
  isAlone: (kernel, frame, _mark, own) => usersOfPage(kernel, frame) === own,
  noticesWrites: () => false,
  mayMakeWritable: () => false,
  copiesOnFork: () => true,
  populateIntent: (vma) => ((vma.flags & VM_WRITE) !== 0 ? "write" : "read"),
  sparesZeroPages: true,
  moves: "entries",
  dontNeedFrees: "pages",
  flushesYoung: true,
  withoutSwap: "looks at all",
  freeTables: freePmdRanges,
};

/**
 * Entries that map the page, and those that name its swap slot.
 *
 * @models linux-2.6.11 mm/swapfile.c can_share_swap_page, page_swapcount
 */
function usersOfPage({ frames, swap }: Kernel, frame: Pfn): number {
  const mapped = frames.mapCount.read(frame);
  if (mapped > frames.softFrames || !frames.has(frame, PG_SWAPCACHE)) return mapped;
  return mapped + swap.usersOf(frames.swapSlot.read(frame)) - 1;
}
