/** What Linux 6.1 does with pages: exclusive anonymous pages, fault-around, whole tables moved by mremap. */
import { PAGE_SIZE } from "../../base/units.ts";
import { PTE_DIRTY, PTE_PROT_NONE, PTE_SOFT1 } from "../../hw/pte.ts";
import { PG_ANON, PG_EXCLUSIVE, PG_MLOCKED, PG_SWAPCACHE } from "../frames.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import type { PagePolicy } from "../page-policy.ts";
import { giveSlotBack } from "../swap/swap-cache.ts";
import { freeTablesPerArea } from "../tables/per-area.ts";
import { VM_ACCESS, VM_LOCKED, VM_NONLINEAR, VM_PFNMAP, VM_SHARED, VM_WRITE, type Vma } from "../vma.ts";

/**
 * @models linux-6.1 mm/memory.c do_wp_page, vma_needs_copy, do_fault_around, should_try_to_free_swap; mm/mprotect.c can_change_pte_writable
 * @models linux-6.1 mm/mmap.c vma_wants_writenotify
 */
export const pages61: PagePolicy = {
  firstTables: 2,
  faultAroundPages: (tunables) => tunables.faultAroundBytes / PAGE_SIZE,
  zeroPageFlags: PTE_SOFT1, // pte_special: no struct page is counted for it
  newAnonymousFlags: PG_EXCLUSIVE,
  readRights: VM_ACCESS,
  isOwn: (frames, frame) => frames.has(frame, PG_EXCLUSIVE),
  mayReuse(kernel, frame, own) {
    const { frames } = kernel;
    if (frames.has(frame, PG_EXCLUSIVE)) return true;
    const most = frames.has(frame, PG_SWAPCACHE) ? own + 1 : own;
    if (frames.refs.read(frame) > most || !tryLockPage(kernel, frame)) return false;
    if (frames.has(frame, PG_SWAPCACHE)) giveSlotBack(kernel, frame);
    unlockPage(kernel, frame);
    return frames.refs.read(frame) === own;
  },
  returnsSlot({ swap, frames }, vma, { frame, intent, own }) {
    if (swap.isFull || (vma.flags & VM_LOCKED) !== 0 || frames.has(frame, PG_MLOCKED)) return true;
    return intent === "write" && frames.refs.read(frame) === own + 1;
  },
  isAlone: ({ frames }, frame, mark, own) => mark === "exclusive" || frames.refs.read(frame) === own,
  // Who cleans a page does not find its entries in nonlinear areas.
  noticesWrites: (vma) => isSharedWritable(vma) && vma.file?.kind === "regular" && (vma.flags & VM_NONLINEAR) === 0,
  mayMakeWritable(frames, vma, frame, flags) {
    if ((flags & PTE_PROT_NONE) !== 0 || (flags & PTE_DIRTY) === 0) return false;
    return (vma.flags & VM_SHARED) !== 0 || frames.has(frame, PG_ANON | PG_EXCLUSIVE);
  },
  // Of a nonlinear area the entries alone know what is where, as kernels that had both knew (2.6.23 vma_needs_copy).
  copiesOnFork: (vma) => vma.anonVma !== null || (vma.flags & (VM_PFNMAP | VM_NONLINEAR)) !== 0,
  populateIntent: (vma) => ((vma.flags & (VM_WRITE | VM_SHARED)) === VM_WRITE ? "write" : "read"),
  sparesZeroPages: false,
  moves: "tables",
  dontNeedFrees: "pages",
  flushesYoung: false,
  withoutSwap: "looks at files",
  freeTables: freeTablesPerArea,
};

const isSharedWritable = (vma: Vma): boolean => (vma.flags & (VM_WRITE | VM_SHARED)) === (VM_WRITE | VM_SHARED);
