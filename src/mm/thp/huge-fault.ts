/**
 * Faults where no leaf table is: the first touch of a place that can be mapped by a large entry is given a zeroed huge
 * page, or for a read the huge page of zeros; a write to one that is shared splits its entry, and what is copied is a small
 * page. Where a huge page cannot be had, a small one is given; by the policy of defragmentation memory is moved first.
 *
 *     no entry      write    a huge page of its own            no block of its size: one is made, or a small page
 *                   read     the huge page of zeros
 *     large entry   write    one's own: made writable          the zero page, or shared: split, then as for small pages
 *                   read     repaired already
 *
 * @models linux-6.1 mm/huge_memory.c do_huge_pmd_anonymous_page, __do_huge_pmd_anonymous_page, set_huge_zero_page
 * @models linux-6.1 mm/huge_memory.c do_huge_pmd_wp_page
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_WRITE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { anonVmaPrepare } from "../anon-vma.ts";
import { writtenEntry } from "../anonymous-fault.ts";
import { NO_FRAME, PG_ANON, PG_EXCLUSIVE, PG_PART, PG_SWAPBACKED, PG_UPTODATE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { entryFlags } from "../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { lockTables, unlockTables } from "../table-lock.ts";
import { FAULT_MINOR, type Intent, NEEDS_BLOCK, NEEDS_MEMORY, type Verdict } from "../verdict.ts";
import { VM_DROPPABLE, VM_WRITE, type Vma } from "../vma.ts";
import {
  countHuge,
  flagsOfHuge,
  HUGE_LEVEL,
  type HugeEntry,
  headOfHuge,
  hugeEntryAt,
  isHugeZero,
  setHuge,
  splitEntry,
} from "./huge-entries.ts";

/** Not an end: the place has, or may have, a leaf table: it is small pages' business. */
export const SMALL_PAGES = -100;

/** A fault of an anonymous area at a page that has no leaf table. Requires: page_table_lock is held. */
export function hugeFault(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Verdict {
  const entry = hugeEntryAt(kernel, vma.mm, page);
  if (entry !== null) return presentFault(kernel, vma, entry, intent);
  if (!kernel.transparent.admits(vma, page)) return SMALL_PAGES;
  kernel.transparent.khugepaged.enter(vma.mm);
  const { tables } = kernel;
  const table = tables.tryEnsure(vma.mm, page, HUGE_LEVEL);
  if (table === NO_TABLE) return NEEDS_MEMORY;
  const first = page - (page % tables.span(HUGE_LEVEL - 1));
  const place = { page: first, table, index: tables.indexAt(page, HUGE_LEVEL) };
  if (intent === "read" && kernel.tunables.thpZeroPage) return mapHugeZero(kernel, vma, place);
  return mapOwnHuge(kernel, vma, place, intent);
}

function mapHugeZero(kernel: Kernel, vma: Vma, place: HugeEntry): Verdict {
  const { tables, transparent, counters, personality } = kernel;
  if (!tables.tryReserveLeaf(vma.mm, place.page)) return NEEDS_MEMORY;
  const head = transparent.pages.takeZero(kernel);
  if (head === NO_FRAME) {
    tables.dropReservedLeaf(vma.mm);
    counters.thpFaultFallback++;
    return SMALL_PAGES;
  }
  transparent.pages.zeroMaps++;
  setHuge(kernel, place, head, entryFlags(kernel, vma) | personality.pages.zeroPageFlags);
  counters.zeroPageFaults++;
  return FAULT_MINOR;
}

function mapOwnHuge(kernel: Kernel, vma: Vma, place: HugeEntry, intent: Intent): Verdict {
  const { transparent, counters } = kernel;
  if (anonVmaPrepare(kernel, vma) < 0) return NEEDS_MEMORY;
  const head = transparent.pages.take(kernel);
  if (head === NO_FRAME) {
    const effort = transparent.whenShort(kernel, vma);
    if (effort === "now") return NEEDS_BLOCK;
    if (effort === "later") transparent.wantsBlocks = true;
    counters.thpFaultFallback++;
    return SMALL_PAGES;
  }
  return mapTaken(kernel, vma, place, intent, head);
}

/** Maps the huge page at `head`; NEEDS_MEMORY, and it is given back, if there is none for a table in reserve. */
function mapTaken(kernel: Kernel, vma: Vma, place: HugeEntry, intent: Intent, head: Pfn): Verdict {
  const { tables, transparent, counters } = kernel;
  if (!tables.tryReserveLeaf(vma.mm, place.page)) {
    transparent.pages.giveBack(kernel, head);
    return NEEDS_MEMORY;
  }
  zeroHuge(kernel, head);
  mapNewHuge(kernel, vma, place, head);
  const flags = intent === "write" ? writtenEntry(kernel, vma) : writtenEntry(kernel, vma) & ~PTE_DIRTY;
  setHuge(kernel, place, head, flags);
  counters.anonymousFaults++;
  counters.thpFaultAlloc++;
  return FAULT_MINOR;
}

/**
 * NEEDS_BLOCK's end: memory is moved and freed for a huge page. Null: there is none, and the place has a leaf table, so that
 * small pages are repaired there. Requires: mmap_sem is held.
 */
export function* hugeFaultSlowly(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Path<Verdict | null> {
  const { tables, transparent, counters } = kernel;
  const { mm } = vma;
  const head = yield* transparent.takeSlowly(kernel);
  yield* lockTables(kernel, mm);
  // Until the lock was had, somebody else could map something there.
  const isEmpty = hugeEntryAt(kernel, mm, page) === null && tables.tableAt(mm, page, LEAF) === NO_TABLE;
  const table = isEmpty && head !== NO_FRAME ? tables.tryEnsure(mm, page, HUGE_LEVEL) : NO_TABLE;
  let verdict: Verdict | null = null;
  if (table !== NO_TABLE) {
    const first = page - (page % tables.span(HUGE_LEVEL - 1));
    const place = { page: first, table, index: tables.indexAt(page, HUGE_LEVEL) };
    verdict = mapTaken(kernel, vma, place, intent, head);
  } else {
    if (head !== NO_FRAME) transparent.pages.giveBack(kernel, head);
    else if (isEmpty) counters.thpFaultFallback++;
    if (isEmpty && tables.tryEnsureLeaf(mm, page) === NO_TABLE) verdict = NEEDS_MEMORY;
  }
  unlockTables(kernel, mm);
  return verdict;
}

function zeroHuge({ contents, counters, transparent }: Kernel, head: Pfn): void {
  const { pages } = transparent.pages;
  for (let frame = head; frame < head + pages; frame++) contents.zero(frame);
  counters.pagesZeroed += pages;
}

/**
 * A new huge page becomes anonymous memory of `vma`, and goes on a page list; the large entry is yet to be written.
 * Requires: the area has an anon_vma, `mm` a leaf table in reserve for the entry.
 */
export function mapNewHuge(kernel: Kernel, vma: Vma, { page }: HugeEntry, head: Pfn): void {
  const { frames, transparent, personality } = kernel;
  const { pages } = transparent.pages;
  const backed = (vma.flags & VM_DROPPABLE) !== 0 ? 0 : PG_SWAPBACKED;
  const state = PG_ANON | backed | PG_UPTODATE | PG_PART | personality.pages.newAnonymousFlags;
  belongTo(kernel, vma, page, head);
  const own = frames.flags.read(head);
  frames.flags.fill(head, head + pages, state);
  frames.setFlag(head, own);
  kernel.reclaim.adopt(head);
  countHuge(kernel, vma.mm, page, head);
}

/** The frames name the area's anon_vma, and their places in it. */
function belongTo({ frames, transparent }: Kernel, vma: Vma, page: Vpn, head: Pfn): void {
  const { pages } = transparent.pages;
  frames.mapping.fill(head, head + pages, vma.anonVma!.id);
  const index = vma.indexAt(page);
  for (let at = 0; at < pages; at++) frames.index.write(head + at, index + at);
}

/** Somebody else repaired it, or it may be written now; or SMALL_PAGES, and the entry is split. */
function presentFault(kernel: Kernel, vma: Vma, entry: HugeEntry, intent: Intent): Verdict {
  const flags = flagsOfHuge(kernel, entry);
  const head = headOfHuge(kernel, entry);
  const { counters } = kernel;
  if (intent === "read" || (flags & PTE_WRITE) !== 0) {
    const used = intent === "write" ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
    if ((flags & used) !== used) setHuge(kernel, entry, head, flags | used);
    counters.spuriousFaults++;
    return FAULT_MINOR;
  }
  if (!isHugeZero(kernel, head) && mayReuseHuge(kernel, head)) {
    belongTo(kernel, vma, entry.page, head);
    const { pages } = kernel.transparent.pages;
    const exclusive = kernel.personality.pages.newAnonymousFlags & PG_EXCLUSIVE;
    for (let frame = head; frame < head + pages; frame++) kernel.frames.setFlag(frame, exclusive);
    const rights = (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
    setHuge(kernel, entry, head, flags | PTE_ACCESSED | PTE_DIRTY | rights);
    counters.reusedPages++;
    return FAULT_MINOR;
  }
  splitEntry(kernel, vma.mm, entry);
  return SMALL_PAGES;
}

/** Whether nobody else has any part of the page. */
function mayReuseHuge({ frames, transparent }: Kernel, head: Pfn): boolean {
  const end = head + transparent.pages.pages;
  if (frames.largeMaps.read(head) !== 1) return false;
  return frames.refs.endOf(1, head, end) === end && frames.mapCount.endOf(1, head, end) === end;
}
