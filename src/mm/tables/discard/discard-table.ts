/**
 * One leaf table goes, if everything that it says can be had again: its entries pass on what they know of their pages,
 * the reverse map forgets them, and the table is freed after the flush.
 *
 * @models MAIL-BIGPAGE (discarding page tables of non-anonymous objects)
 * @differs page_table_lock is tried, and areas are looked at under it, as reclaim does when it unmaps a page
 */
import type { Pfn, Vpn } from "../../../base/units.ts";
import { type OpenTable, PTE_ACCESSED, PTE_PRESENT, PTE_PROT_NONE } from "../../../hw/pte.ts";
import type { Path } from "../../../sync/path.ts";
import type { AddressSpace } from "../../address-space.ts";
import { PG_ANON } from "../../frames.ts";
import type { Kernel } from "../../kernel.ts";
import { LEAF, NO_TABLE } from "../../page-table.ts";
import { giveTableRoom, takeTableRoom } from "../../table-lock.ts";
import { Gather } from "../../tlb/gather.ts";
import { VM_LOCKED, VM_NONLINEAR, VM_RAW } from "../../vma.ts";
import { zapTable } from "../../zap.ts";
import type { DiscardCosts } from "./table-discard.ts";

/** Areas whose entries nobody can make again, or may take away. */
const KEPT = VM_LOCKED | VM_NONLINEAR | VM_RAW;

/**
 * Discards the leaf table of `page`; whether it did. A table that was used since it was last looked at is kept, and
 * counts as unused from now on. Requires: no page_table_lock is held.
 */
export function* discardTable(kernel: Kernel, mm: AddressSpace, page: Vpn, costs: DiscardCosts): Path<boolean> {
  const { tables, current } = kernel;
  if (tables.takesRoom) yield* takeTableRoom(kernel);
  const gathers: Gather[] = [];
  let discarded = false;
  if (mm.users > 0 && mm.pageTableLock.attempt(current.task)) {
    const table = tables.tableAt(mm, page, LEAF);
    // A table that several places have is used by several.
    const isOwn = table !== NO_TABLE && tables.shared.find(table) === undefined;
    if (isOwn && isReconstructible(kernel, mm, page)) {
      costs.tablesScanned++;
      discarded = isUnused(kernel, table, costs);
      if (discarded) {
        const before = kernel.counters.ptesZapped;
        takeDown(kernel, mm, page, gathers);
        costs.entriesDiscarded += kernel.counters.ptesZapped - before;
        costs.tablesDiscarded++;
      }
    }
    mm.pageTableLock.release(current.task);
  }
  if (tables.takesRoom) giveTableRoom(kernel);
  for (const gather of gathers) yield* gather.flush();
  return discarded;
}

/** Whether all areas in the span of the leaf table map files in their files' order. */
function isReconstructible({ tables }: Kernel, mm: AddressSpace, page: Vpn): boolean {
  const span = tables.span(LEAF);
  const start = Math.floor(page / span) * span;
  for (let vma = mm.vmas.find(start); vma !== null && vma.start < start + span; vma = vma.above) {
    if (vma.file === null || (vma.flags & KEPT) !== 0) return false;
  }
  return true;
}

/**
 * Whether it has entries, each of which maps a page of a file and was not used. Those that were used are old from now on. A
 * table without entries is somebody's who has just made it, and would make it again.
 */
function isUnused(kernel: Kernel, frame: Pfn, costs: DiscardCosts): boolean {
  const { tables, entries, format, frames } = kernel;
  const table = tables.open(frame);
  const length = format.entriesPerTable(LEAF);
  const first = entries.nextUsed(table, 0, length);
  let unused = first < length;
  for (let index = first; index < length; index = entries.nextUsed(table, index + 1, length)) {
    costs.entriesScanned++;
    const flags = entries.flags(table, index);
    const mapped = (flags & (PTE_PRESENT | PTE_PROT_NONE)) !== 0 ? frames.head(entries.frame(table, index)) : -1;
    // An entry in swap, a private copy, the zero page, or what has left its file: nobody else knows of it.
    if (mapped < 0 || frames.has(mapped, PG_ANON) || frames.mapping.read(mapped) === 0) {
      unused = false;
      break;
    }
    if ((flags & PTE_ACCESSED) !== 0) unused = makeOld(kernel, table, index, mapped);
  }
  tables.close(table);
  return unused;
}

function makeOld(kernel: Kernel, table: OpenTable, index: number, frame: Pfn): false {
  kernel.entries.makeOld(table, index);
  if (kernel.personality.pages.flushesYoung) {
    const slot = kernel.entries.slotOf(table, index);
    kernel.tlbFlush.page(kernel.tables.mmOf(slot), kernel.tables.pageOf(slot));
  }
  kernel.reclaim.touched(frame);
  return false;
}

/** Clears the entries, area by area, and takes the table off its tree. Requires: page_table_lock is held. */
function takeDown(kernel: Kernel, mm: AddressSpace, page: Vpn, gathers: Gather[]): void {
  const { tables } = kernel;
  const span = tables.span(LEAF);
  const start = Math.floor(page / span) * span;
  let gather = newGather(kernel, mm, gathers);
  for (let vma = mm.vmas.find(start); vma !== null && vma.start < start + span; vma = vma.above) {
    const end = Math.min(vma.end, start + span);
    for (let at = Math.max(vma.start, start); at < end; ) {
      if (gather.isFull) gather = newGather(kernel, mm, gathers);
      at = zapTable(kernel, gather, vma, { first: at, end, cows: "all" });
    }
  }
  const parent = tables.tableAt(mm, page, LEAF + 1);
  const index = tables.indexAt(page, LEAF + 1);
  // Where empty tables are freed it went with its last entry.
  if (tables.below(parent, index) === NO_TABLE) return;
  const table = tables.unhang(mm, parent, LEAF + 1, index);
  tables.uncount(mm, table, LEAF);
  gather.addTable(table, LEAF, start, start + span);
}

function newGather(kernel: Kernel, mm: AddressSpace, gathers: Gather[]): Gather {
  const gather = new Gather(kernel, mm);
  gathers.push(gather);
  return gather;
}
