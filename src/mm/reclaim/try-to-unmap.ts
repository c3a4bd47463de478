/**
 * Takes a page from everybody who maps it, so that it can be written out, freed, or cut off its file. Entries are found
 * through the reverse map, in the opposite order of a fault's: page first, then page_table_lock. So that lock is only
 * tried: an address space that is busy keeps its entry, and the page must be tried again.
 *
 *     PG_locked -> for each entry: page_table_lock (try) -> clear -> what is left in its place -> unlock
 *               -> flush TLBs -> the entries' references go
 *
 * What is left: the name of its slot for a page that is in the swap cache; the page's index for one that is mapped out
 * of its file's order; nothing else, where a fault finds the page again in its file.
 *
 * @models linux-2.6.11 mm/rmap.c try_to_unmap, try_to_unmap_one
 * @models linux-6.1 mm/rmap.c try_to_unmap_one (pages that MADV_FREE gave up)
 * @differs page_table_lock is tried, as in 2.6.0, also where 2.6.11 waits for it; TLBs are flushed once for all entries
 */

import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_ACCESSED, PTE_DIRTY } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { setFrameDirty } from "../file-pages.ts";
import { PG_ANON, PG_DIRTY, PG_MLOCKED, PG_SWAPBACKED, PG_SWAPCACHE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { unmapFrame } from "../mapped-frame.ts";
import { scanClusters } from "../nonlinear/cluster-scan.ts";
import { clearFilePage } from "../nonlinear/file-entries.ts";
import { setSwapEntry } from "../swap/swap-cache.ts";
import { giveTableRoom, takeTableRoom } from "../table-lock.ts";
import { freeEmptied, listEmptied } from "../tables/emptied.ts";
import { flushEntry } from "../tables/sharing/shared-entries.ts";
import { unlockShared } from "../tables/sharing/shared-lock.ts";
import { VM_DROPPABLE, VM_LOCKED, VM_PFNMAP, type Vma } from "../vma.ts";
import { isInFile } from "./page-place.ts";

/**
 * What became of it (SWAP_SUCCESS, SWAP_AGAIN, SWAP_FAIL): nobody maps it now; somebody still does, and may not the next
 * time; it is in use, or locked in memory.
 */
export type Unmapped = "all" | "again" | "refused";

export interface UnmapRules {
  /** Whether a page that is mlocked, or was used since it was last looked at, stays. */
  readonly locked: "respect" | "override";
}

/** Areas whose pages nobody may take away. */
const KEPT = VM_LOCKED | VM_PFNMAP;

/** Requires: the page is locked, and the caller has a reference to it. No spinlock is held. */
export function* tryToUnmap(kernel: Kernel, frame: Pfn, rules: UnmapRules): Path<Unmapped> {
  const { reverseMap, tables, tlbFlush, frames } = kernel;
  let refused = rules.locked === "respect" && frames.has(frame, PG_MLOCKED);
  if (refused) return "refused";
  const emptied: Pfn[] = [];
  let unmapped = 0;
  let unknown = frames.mapCount.read(frame);
  if (tables.takesRoom) yield* takeTableRoom(kernel);
  const { userPages } = kernel.layout;
  const unmap = (slot: PteSlot): boolean => {
    unknown--;
    // The first entry of a whole page takes the others with it.
    if (slot % userPages !== 0) return true;
    kernel.reclaim.costs.entriesVisited++;
    const outcome = unmapEntry(kernel, { frame, slot }, rules, emptied);
    if (outcome === "unmapped") unmapped += userPages;
    refused = outcome === "refused";
    return !refused;
  };
  if (rules.locked === "override") reverseMap.forEach(frame, unmap);
  else reverseMap.forEachKnown(frame, unmap);
  if (tables.takesRoom) giveTableRoom(kernel);
  kernel.reclaim.costs.entriesUnmapped += unmapped;
  if (tlbFlush.owes) yield* tlbFlush.settle();
  freeEmptied(kernel, emptied);
  frames.refs.add(frame, -unmapped);
  // Only a page of a file may be mapped where the reverse map does not find it.
  if (!refused && unknown > 0 && isInFile(frames, frame)) refused = (yield* scanClusters(kernel, frame)) === "refused";
  if (refused) return "refused";
  return frames.mapCount.read(frame) === 0 ? "all" : "again";
}

type Outcome = "unmapped" | "busy" | "refused";

/** Takes the page from one entry; a table that is empty then is added to `emptied`. */
function unmapEntry(kernel: Kernel, entry: Entry, rules: UnmapRules, emptied: Pfn[]): Outcome {
  const { tables, current, reclaim } = kernel;
  const { frame, slot } = entry;
  const mm = tables.mmOf(slot);
  const page = tables.pageOf(slot);
  if (!mm.pageTableLock.attempt(current.task)) {
    reclaim.costs.trylocksFailed++;
    return "busy";
  }
  const shared = tables.shared.find(kernel.entries.tableOf(slot));
  if (shared !== undefined && !shared.lock.attempt(current.task)) {
    reclaim.costs.trylocksFailed++;
    mm.pageTableLock.release(current.task);
    return "busy";
  }
  const vma = mm.vmas.find(page);
  // An area that is being unmapped is off its address space already.
  const outcome = vma === null || vma.start > page ? "busy" : unmapFrom(kernel, { frame, slot, vma, page }, rules);
  if (outcome === "unmapped") listEmptied(kernel, mm, page, emptied);
  if (shared !== undefined) unlockShared(kernel, shared);
  mm.pageTableLock.release(current.task);
  return outcome;
}

/** An entry that maps the page, or a part of it. */
interface Entry {
  readonly frame: Pfn;
  readonly slot: PteSlot;
}

/** The same, and its place. */
export interface Mapping extends Entry {
  readonly vma: Vma;
  readonly page: Vpn;
}

/**
 * Takes the page from an entry that is known to map it, and from those that go with it. TLBs may still be owed a flush, and
 * the entries' references are the caller's. Requires: page_table_lock is held, and the page locked.
 */
export function unmapFrom(kernel: Kernel, mapping: Mapping, { locked }: UnmapRules): Outcome {
  const { tables, entries, layout } = kernel;
  const { vma, frame } = mapping;
  const table = tables.open(entries.tableOf(mapping.slot));
  const first = firstOfWhole(layout.userPages, mapping);
  const refuses =
    (locked === "respect" && ((vma.flags & KEPT) !== 0 || wasUsed(kernel, first, table))) ||
    isKeptAfterAll(kernel, vma, frame, flagsOf(kernel, first, table));
  for (let part = 0; part < layout.userPages && !refuses; part++) clearEntry(kernel, first, table, part);
  tables.close(table);
  return refuses ? "refused" : "unmapped";
}

/** The first of the entries that come and go with this one. */
function firstOfWhole(userPages: number, mapping: Mapping): Mapping {
  const part = mapping.slot % userPages;
  return part === 0 ? mapping : { ...mapping, slot: mapping.slot - part, page: mapping.page - part };
}

/** The flags that some entry of the whole page has. */
function flagsOf({ entries, layout }: Kernel, { slot }: Mapping, table: OpenTable): number {
  const index = entries.indexOf(slot);
  let flags = 0;
  for (let part = 0; part < layout.userPages; part++) flags |= entries.flags(table, index + part);
  return flags;
}

/** Whether some entry of the whole page was used since it was last looked at; from now on none was. */
function wasUsed(kernel: Kernel, { vma, page, slot }: Mapping, table: OpenTable): boolean {
  const { entries, personality, layout } = kernel;
  const index = entries.indexOf(slot);
  let used = false;
  for (let part = 0; part < layout.userPages; part++) {
    if ((entries.flags(table, index + part) & PTE_ACCESSED) === 0) continue;
    entries.makeOld(table, index + part);
    if (personality.pages.flushesYoung) flushEntry(kernel, vma.mm, page + part, slot + part);
    used = true;
  }
  return used;
}

/** A page that MADV_FREE gave up, and that was written since: its contents count again, and it has no place to go. */
function isKeptAfterAll({ frames }: Kernel, vma: Vma, frame: Pfn, flags: number): boolean {
  if ((frames.flags.read(frame) & (PG_ANON | PG_SWAPBACKED)) !== PG_ANON) return false;
  const isWritten = (flags & PTE_DIRTY) !== 0 || frames.has(frame, PG_DIRTY);
  if (!isWritten || (vma.flags & VM_DROPPABLE) !== 0) return false;
  frames.setFlag(frame, PG_SWAPBACKED | PG_DIRTY);
  return true;
}

function clearEntry(kernel: Kernel, mapping: Mapping, table: OpenTable, part: number): void {
  const { entries, frames } = kernel;
  const { vma, frame } = mapping;
  const { mm } = vma;
  const page = mapping.page + part;
  const slot = mapping.slot + part;
  const index = entries.indexOf(slot);
  const flags = entries.flags(table, index);
  const isAnonymous = frames.has(frame, PG_ANON);
  const mapped = entries.frame(table, index);
  unmapFrame(kernel, vma, mapped, slot);
  if ((flags & PTE_DIRTY) !== 0) setFrameDirty(kernel, isAnonymous ? null : vma.file, frame);
  if (isAnonymous || frames.mapping.read(frame) === 0) entries.clear(table, index);
  else clearFilePage(kernel, table, index, vma, page, mapped);
  if (frames.has(frame, PG_SWAPCACHE | PG_ANON)) setSwapEntry(kernel, mm, table, index, mapped);
  flushEntry(kernel, mm, page, slot);
}
