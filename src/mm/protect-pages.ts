/**
 * New rights for entries that exist, after an area's flags have changed. What the MMU noted (A and D) and the frame
 * stay; a page that others may share never becomes writable here, only by a fault.
 *
 * @models linux-6.1 mm/mprotect.c change_protection, change_pte_range
 */
import type { Vpn } from "../base/units.ts";
import {
  type OpenTable,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PCD,
  PTE_PRESENT,
  PTE_PROT_NONE,
  PTE_PWT,
  PTE_SOFT1,
  PTE_SOFT2,
  PTE_SOFT3,
  PTE_WRITE,
} from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { entriesTogether } from "./cluster/whole.ts";
import { EVENT_PROTECT } from "./events.ts";
import type { Kernel } from "./kernel.ts";
import { entryFlags } from "./mapped-frame.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { namesPage } from "./pfnmap/pfn-mappings.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { protectHuge } from "./thp/huge-areas.ts";
import { Gather } from "./tlb/gather.ts";
import { VM_BIG, VM_WRITE, type Vma } from "./vma.ts";

/** What an entry keeps when its rights change (_PAGE_CHG_MASK). */
const KEPT = PTE_ACCESSED | PTE_DIRTY | PTE_PWT | PTE_PCD | PTE_SOFT1 | PTE_SOFT2 | PTE_SOFT3;

/** Gives the entries of `[first, end)` the rights that `vma` now has; returns how many there were. */
export function* protectPages(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<number> {
  if ((vma.flags & VM_BIG) !== 0) return yield* kernel.bigPages.protect(kernel, vma, first, end);
  const { tables, counters } = kernel;
  const { mm } = vma;
  const gather = new Gather(kernel, mm);
  const rights = entryFlags(kernel, vma);
  let changed = mm.reservedLeaves.length > 0 ? yield* protectHuge(kernel, gather, vma, first, end) : 0;
  let page = tables.nextLeaf(mm, first, end);
  while (page < end) {
    const stop = tables.endOf(page, LEAF, end);
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    const table = tables.openLeaf(mm, page);
    if (table !== NO_TABLE) {
      changed += protectLeaf(kernel, gather, vma, table, page, stop, rights);
      tables.close(table);
    }
    unlockTables(kernel, mm);
    page = tables.nextLeaf(mm, stop, end);
  }
  counters.ptesProtected += changed;
  if (changed > 0) kernel.events.record(EVENT_PROTECT, mm.id, first, changed, -1, 0, 0);
  yield* gather.flush();
  return changed;
}

function protectLeaf(
  kernel: Kernel,
  gather: Gather,
  vma: Vma,
  table: OpenTable,
  first: Vpn,
  end: Vpn,
  rights: number,
): number {
  const { entries, frames } = kernel;
  const policy = kernel.personality.pages;
  const mayWrite = (vma.flags & VM_WRITE) !== 0;
  const together = entriesTogether(kernel, vma);
  let index = kernel.tables.indexAt(first, LEAF);
  let changed = 0;
  let widened = 0;
  for (let page = first; page < end; page++, index++) {
    const old = entries.flags(table, index);
    if ((old & (PTE_PRESENT | PTE_PROT_NONE)) === 0) continue;
    const frame = entries.frame(table, index);
    let flags = (old & KEPT) | (rights & ~KEPT);
    if (index % together === 0) {
      const isAsked = mayWrite && (flags & PTE_WRITE) === 0 && namesPage(kernel, vma, page, table, index);
      widened = isAsked && policy.mayMakeWritable(frames, vma, frames.head(frame), flags) ? PTE_WRITE : 0;
    }
    flags |= widened;
    if (flags !== old) entries.set(table, index, frame, flags);
    if (flags !== old && (old & PTE_PRESENT) !== 0) gather.cover(page, page + 1);
    changed++;
  }
  return changed;
}
