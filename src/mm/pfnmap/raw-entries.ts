/**
 * The loops over entries of areas that are VM_RAW: unmapping, fork's copy, mremap. A page is dealt with as everywhere; of what
 * is raw there is nothing to count, to chain or to free, only an entry to clear or to repeat.
 *
 * @models linux-6.1 mm/memory.c zap_pte_range, copy_present_pte (vm_normal_page is null); mm/mremap.c move_ptes
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
import { EVENT_COPY, EVENT_ZAP } from "../events.ts";
import { NO_FRAME, PG_ANON, PG_EXCLUSIVE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { mapShared, unmapFrame } from "../mapped-frame.ts";
import { LEAF } from "../page-table.ts";
import { clearSwapEntry, slotOfEntry } from "../swap/swap-cache.ts";
import type { Gather } from "../tlb/gather.ts";
import { isCopyOnWrite, VM_SHARED, type Vma } from "../vma.ts";

const MAPS = PTE_PRESENT | PTE_PROT_NONE;

/** Pages of one leaf table, and whether private copies go too. */
export interface RawRange {
  readonly first: Vpn;
  readonly end: Vpn;
  readonly cows: "all" | "shared";
}

/** Clears entries of one leaf table until the range or the gather's room ends; returns the page after the last. */
export function zapRawLeaf(kernel: Kernel, gather: Gather, vma: Vma, table: OpenTable, range: RawRange): Vpn {
  const { entries, tables, counters, pfnMappings } = kernel;
  let index = tables.indexAt(range.first, LEAF);
  let page = range.first;
  let zapped = 0;
  for (; page < range.end && !gather.isFull; page++, index++) {
    const flags = entries.flags(table, index);
    if (flags === 0) continue;
    if ((flags & MAPS) === 0) {
      if (range.cows === "shared") continue;
      if (flags === PTE_SWAP) clearSwapEntry(kernel, vma, table, index);
      else entries.clear(table, index);
    } else if (!zapMapped(kernel, gather, vma, { page, table, index, cows: range.cows })) continue;
    pfnMappings.cleared(table, index);
    zapped++;
  }
  counters.ptesZapped += zapped;
  if (zapped > 0) kernel.events.record(EVENT_ZAP, vma.mm.id, range.first, zapped, -1, 0, 0);
  return page;
}

interface RawPlace {
  readonly page: Vpn;
  readonly table: OpenTable;
  readonly index: number;
  readonly cows: "all" | "shared";
}

/** Clears an entry that names a page or is raw; false if it names a copy that is to stay. */
function zapMapped(kernel: Kernel, gather: Gather, vma: Vma, { page, table, index, cows }: RawPlace): boolean {
  const { entries, frames, pfnMappings } = kernel;
  const isPage = pfnMappings.normalPage(kernel, vma, page, table, index);
  const frame = entries.frame(table, index);
  if (isPage && cows === "shared" && frames.has(frames.head(frame), PG_ANON)) return false;
  entries.clear(table, index);
  if (isPage) {
    unmapFrame(kernel, vma, frame, entries.slotOf(table, index));
    gather.add(frames.head(frame));
  }
  gather.cover(page, page + 1);
  return true;
}

/** Fork: copies entries of one leaf table into another, until the reverse map has no memory; the page after the last. */
export function copyRawLeaf(kernel: Kernel, areas: RawCopy, from: Pfn, to: Pfn, range: Omit<RawRange, "cows">): Vpn {
  const { tables, entries, counters } = kernel;
  const source = tables.openSecond(from);
  const target = tables.open(to);
  let index = tables.indexAt(range.first, LEAF);
  let page = range.first;
  let copied = 0;
  for (; page < range.end; page++, index++) {
    if (entries.flags(source, index) === 0) continue;
    if (!copyRawEntry(kernel, areas, page, { source, target, index })) break;
    kernel.pfnMappings.repeated(source, index, target, index);
    copied++;
  }
  tables.close(target);
  tables.closeSecond(source);
  counters.ptesCopied += copied;
  if (copied > 0) kernel.events.record(EVENT_COPY, areas.parent.mm.id, range.first, copied, -1, 0, areas.child.mm.id);
  return page;
}

/** Who copies from whom. */
interface RawCopy {
  readonly child: Vma;
  readonly parent: Vma;
}

interface TwoTables {
  readonly source: OpenTable;
  readonly target: OpenTable;
  readonly index: number;
}

/** False, and nothing changed, if the reverse map has no memory. */
function copyRawEntry(kernel: Kernel, { child, parent }: RawCopy, page: Vpn, at: TwoTables): boolean {
  const { entries, frames, swap, counters } = kernel;
  const { source, target, index } = at;
  let flags = entries.flags(source, index);
  if ((flags & MAPS) === 0) {
    if (entries.isSwapExclusive(source, index)) entries.clearSwapExclusive(source, index);
    swap.duplicate(slotOfEntry(kernel, source, index));
    child.mm.resident.swap++;
    entries.copy(source, index, target, index);
    return true;
  }
  const frame = entries.frame(source, index);
  if (kernel.pfnMappings.normalPage(kernel, parent, page, source, index)) {
    if (mapShared(kernel, child, frame, entries.slotOf(target, index)) < 0) return false;
    const head = frames.head(frame);
    if (frames.has(head, PG_ANON)) frames.clearFlag(head, PG_EXCLUSIVE);
  }
  if (isCopyOnWrite(parent.flags) && (flags & PTE_WRITE) !== 0) {
    flags &= ~PTE_WRITE;
    entries.set(source, index, frame, flags);
    counters.ptesWriteProtected++;
  }
  const dropped = (parent.flags & VM_SHARED) !== 0 ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
  entries.set(target, index, frame, flags & ~dropped);
  return true;
}

/** A table and an index in it. */
type EntryPlace = readonly [OpenTable, number];

/** mremap: moves one entry of `vma`, that of `page`, to an empty place. False if it is none. */
export function moveRawEntry(kernel: Kernel, vma: Vma, page: Vpn, from: EntryPlace, to: EntryPlace): boolean {
  const { entries, reverseMap, pfnMappings } = kernel;
  const flags = entries.flags(...from);
  if (flags === 0) return false;
  const isPage = (flags & MAPS) !== 0 && pfnMappings.normalPage(kernel, vma, page, ...from);
  const frame = (flags & MAPS) === 0 ? NO_FRAME : entries.frame(...from);
  pfnMappings.repeated(...from, ...to);
  if (frame === NO_FRAME) entries.copy(...from, ...to);
  entries.clear(...from);
  if (frame !== NO_FRAME) entries.set(...to, frame, flags);
  if (isPage) reverseMap.move(frame, entries.slotOf(...from), entries.slotOf(...to));
  pfnMappings.cleared(...from);
  return true;
}
