/**
 * Making one huge page of the small pages of a leaf table: their contents are copied into a new block, a large entry takes
 * the table's place, and the table is kept in reserve. khugepaged does so for tables that look worth it; MADV_COLLAPSE for
 * those that a program names, whatever they look like.
 *
 *     leaf table  [a][ ][b][zero][swap]...   --look, find a block, bring in from swap, look again-->   large entry
 *
 * A table is worth it if one of its pages may be written, all are anonymous, on the page lists and held by nobody but the
 * entries that map them; khugepaged also wants one of them used since the last look, and not more empty, swapped and shared
 * entries than it is told.
 *
 * @models linux-6.1 mm/khugepaged.c hpage_collapse_scan_pmd, collapse_huge_page, __collapse_huge_page_isolate, __collapse_huge_page_copy
 * @differs with page_table_lock held from the flush to the end: nobody waits for a page's lock meanwhile
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import {
  type OpenTable,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_PROT_NONE,
  PTE_SWAP,
  PTE_WRITE,
} from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import { makePresent } from "../fault.ts";
import { NO_FRAME, PG_ANON, PG_LOCKED, PG_LRU, PG_PART, PG_REFERENCED, PG_SWAPCACHE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { entryFlags } from "../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import type { Process } from "../process.ts";
import { giveSlotBackIfUnmapped } from "../swap/swap-cache.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import { isRepaired } from "../verdict.ts";
import { VM_WRITE, type Vma } from "../vma.ts";
import { HUGE_LEVEL, hugeEntryAt, setHuge } from "./huge-entries.ts";
import { mapNewHuge } from "./huge-fault.ts";

/** What a table must be like. */
export interface CollapseRules {
  /** Whether a page must have been used since the last look. */
  readonly wantsUse: boolean;
  /** The most entries that are none or zeros, that name swap, and whose pages others map too. */
  readonly mostNone: number;
  readonly mostSwapped: number;
  readonly mostShared: number;
}

/** What MADV_COLLAPSE asks for. */
export const asAsked: CollapseRules = {
  wantsUse: false,
  mostNone: Number.POSITIVE_INFINITY,
  mostSwapped: Number.POSITIVE_INFINITY,
  mostShared: Number.POSITIVE_INFINITY,
};

/**
 * What became of it (enum scan_result). collapsed, large: a large entry maps it, now or before. no-block: there was none.
 * busy: another time. Otherwise: it is not worth it, or cannot be.
 */
export type Collapsed = "collapsed" | "large" | "no-block" | "busy" | "unfit";

/** One table, looked at. */
interface Look {
  readonly result: "worth it" | "large" | "busy" | "unfit";
  readonly swapped: number;
}

const unfit: Look = { result: "unfit", swapped: 0 };

/** Who asks, and where. */
export interface Collapse {
  readonly mm: AddressSpace;
  /** The first page of a huge one. */
  readonly page: Vpn;
  /** Who pays for what must be read from swap. */
  readonly payer: Process;
}

/** Makes a huge page of what the leaf table of `page` maps, if it is worth it. Requires: mmap_sem is not held. May sleep. */
export function* collapse(kernel: Kernel, what: Collapse, rules: CollapseRules): Path<Collapsed> {
  const { transparent, counters } = kernel;
  const { mm } = what;
  const { task } = kernel.current;
  if (!mm.mmapSem.tryRead(task)) yield* mm.mmapSem.read(task);
  const first = yield* look(kernel, what, rules);
  mm.mmapSem.releaseRead(task);
  if (first.result !== "worth it") return first.result;
  const head = yield* transparent.takeSlowly(kernel);
  if (head === NO_FRAME) {
    counters.thpCollapseAllocFailed++;
    return "no-block";
  }
  counters.thpCollapseAlloc++;
  if (first.swapped > 0 && !(yield* swapIn(kernel, what))) {
    transparent.pages.giveBack(kernel, head);
    return "busy";
  }
  if (!mm.mmapSem.tryWrite(task)) yield* mm.mmapSem.write(task);
  const result = yield* replace(kernel, what, rules, head);
  mm.mmapSem.releaseWrite(task);
  if (result !== "collapsed") transparent.pages.giveBack(kernel, head);
  return result;
}

/** The area, if it may still have a huge page there. */
function areaOf({ transparent }: Kernel, { mm, page }: Collapse, rules: CollapseRules): Vma | null {
  const vma = mm.vmas.containing(page);
  if (vma === null || vma.anonVma === null) return null;
  // Who asks by name needs no other advice.
  return (rules.wantsUse ? transparent.admits(vma, page) : transparent.fits(vma, page)) ? vma : null;
}

function* look(kernel: Kernel, what: Collapse, rules: CollapseRules): Path<Look> {
  const vma = areaOf(kernel, what, rules);
  if (vma === null) return unfit;
  if (!tryLockTables(kernel, what.mm)) yield* lockTables(kernel, what.mm);
  const found = lookAt(kernel, vma, what.page, rules);
  unlockTables(kernel, what.mm);
  return found;
}

/** Requires: page_table_lock is held. */
function lookAt(kernel: Kernel, vma: Vma, page: Vpn, rules: CollapseRules): Look {
  const { tables } = kernel;
  if (hugeEntryAt(kernel, vma.mm, page) !== null) return { result: "large", swapped: 0 };
  const leaf = tables.tableAt(vma.mm, page, LEAF);
  if (leaf === NO_TABLE) return unfit;
  const table = tables.open(leaf);
  const found = lookThrough(kernel, table, rules);
  tables.close(table);
  return found;
}

function lookThrough(kernel: Kernel, table: OpenTable, rules: CollapseRules): Look {
  const { entries, frames, zeroFrame, transparent } = kernel;
  let none = 0;
  let swapped = 0;
  let shared = 0;
  let used = 0;
  let isWritable = false;
  for (let index = 0; index < transparent.pages.pages; index++) {
    const flags = entries.flags(table, index);
    if (flags === PTE_SWAP) {
      if (++swapped > rules.mostSwapped) return unfit;
      continue;
    }
    const isPresent = (flags & PTE_PRESENT) !== 0;
    if (!isPresent && flags !== 0) return unfit;
    const frame = isPresent ? entries.frame(table, index) : zeroFrame;
    if (frame === zeroFrame) {
      if (++none > rules.mostNone) return unfit;
      continue;
    }
    const state = frames.flags.read(frame);
    if ((state & PG_ANON) === 0) return unfit;
    if (frames.mapCount.read(frame) > 1 && ++shared > rules.mostShared) return unfit;
    if (isHeld(kernel, frame, state)) return { result: "busy", swapped };
    if ((flags & PTE_WRITE) !== 0) isWritable = true;
    if ((flags & PTE_ACCESSED) !== 0 || (state & PG_REFERENCED) !== 0) used++;
  }
  if (!isWritable || (rules.wantsUse && (used === 0 || (swapped > 0 && used < transparent.pages.pages / 2))))
    return unfit;
  return { result: "worth it", swapped };
}

/** Whether somebody has a use for the page that its entries do not account for, or it is on no list. */
function isHeld({ frames }: Kernel, frame: Pfn, state: number): boolean {
  if ((state & PG_LOCKED) !== 0) return true;
  // The head is on the list for all parts; where it is idle none is.
  const isListed = (state & PG_PART) !== 0 ? frames.has(frames.headOf(frame), PG_LRU) : (state & PG_LRU) !== 0;
  const cached = (state & PG_SWAPCACHE) !== 0 ? 1 : 0;
  return !isListed || frames.refs.read(frame) !== frames.mapCount.read(frame) + cached;
}

/** Brings in what the table names of swap: whether all came. */
function* swapIn(kernel: Kernel, what: Collapse): Path<boolean> {
  const { mm, page, payer } = what;
  const { task } = kernel.current;
  const end = page + kernel.transparent.pages.pages;
  if (!mm.mmapSem.tryRead(task)) yield* mm.mmapSem.read(task);
  let all = true;
  for (let at = page; at < end && all; at++) {
    const vma = areaOf(kernel, what, asAsked);
    if (vma === null) all = false;
    else if (isSwapped(kernel, mm, at)) all = isRepaired(yield* makePresent(kernel, payer, vma, at, "read"));
  }
  mm.mmapSem.releaseRead(task);
  return all;
}

function isSwapped({ tables, entries }: Kernel, mm: AddressSpace, page: Vpn): boolean {
  const table = tables.openLeaf(mm, page);
  if (table === NO_TABLE) return false;
  const flags = entries.flags(table, tables.indexAt(page, LEAF));
  tables.close(table);
  return flags === PTE_SWAP;
}

/** Puts the huge page at `head` in the place of the small ones. Requires: mmap_sem is held for writing. */
function* replace(kernel: Kernel, what: Collapse, rules: CollapseRules, head: Pfn): Path<Collapsed> {
  const { tables, tlbFlush } = kernel;
  const { mm, page } = what;
  const vma = areaOf(kernel, what, rules);
  if (vma === null) return "unfit";
  if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
  const now = lookAt(kernel, vma, page, { ...rules, wantsUse: false, mostSwapped: 0 });
  if (now.result !== "worth it") {
    unlockTables(kernel, mm);
    return now.result;
  }
  const table = tables.tableAt(mm, page, HUGE_LEVEL);
  const place = { page, table, index: tables.indexAt(page, HUGE_LEVEL) };
  const leaf = tables.unhang(mm, table, HUGE_LEVEL, place.index);
  tlbFlush.range(mm, page, page + kernel.transparent.pages.pages);
  // From here on no CPU reads or writes the small pages through this address space.
  if (tlbFlush.owes) yield* tlbFlush.settle();
  const old = moveContents(kernel, vma, leaf, head);
  tables.reserveLeaf(mm, leaf);
  mapNewHuge(kernel, vma, place, head);
  const rights = (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0;
  setHuge(kernel, place, head, entryFlags(kernel, vma) | PTE_DIRTY | rights);
  unlockTables(kernel, mm);
  for (const frame of old) {
    giveSlotBackIfUnmapped(kernel, frame);
    kernel.allocator.release(frame);
  }
  return "collapsed";
}

/** Copies what the table's entries map to the frames from `head` on, and clears them; the frames, whose references are the caller's. */
function moveContents(kernel: Kernel, vma: Vma, leaf: Pfn, head: Pfn): Pfn[] {
  const { tables, entries, contents, reverseMap, zeroFrame, counters, transparent } = kernel;
  const table = tables.open(leaf);
  const old: Pfn[] = [];
  for (let index = 0; index < transparent.pages.pages; index++) {
    const flags = entries.flags(table, index);
    const frame = (flags & (PTE_PRESENT | PTE_PROT_NONE)) !== 0 ? entries.frame(table, index) : zeroFrame;
    if (flags !== 0) entries.clear(table, index);
    if (frame === zeroFrame) {
      contents.zero(head + index);
      counters.pagesZeroed++;
      continue;
    }
    contents.copy(frame, head + index);
    if (isTouched(kernel, frame)) transparent.pages.touched.mark(head, head + index);
    counters.pagesCopied++;
    reverseMap.remove(frame, entries.slotOf(table, index), vma);
    vma.mm.resident.anon--;
    old.push(frame);
  }
  tables.close(table);
  return old;
}

/** Whether a program has accessed the frame: a small page came by a fault; a part of a huge page need not have. */
function isTouched({ frames, transparent }: Kernel, frame: Pfn): boolean {
  return !frames.has(frame, PG_PART) || transparent.pages.touched.has(frames.headOf(frame), frame);
}
