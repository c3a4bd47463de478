/**
 * What every path does that has cleared entries: the leaf table may go, if the machine frees empty ones. Who clears many
 * has a gather to put it in; reclaim, which clears one here and one there, keeps a list until TLBs are flushed.
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import type { Gather } from "../tlb/gather.ts";

/** Entries of the leaf table of `page` have been cleared. Requires: page_table_lock is held since before they were. */
export function gatherEmptied(kernel: Kernel, gather: Gather, page: Vpn): void {
  const table = kernel.tableFreeing.takeEmpty(kernel, gather.mm, page);
  if (table === NO_TABLE) return;
  const span = kernel.tables.span(LEAF);
  const start = Math.floor(page / span) * span;
  gather.addTable(table, LEAF, start, start + span);
}

/** The same without a gather: the table, if it goes, is added to `emptied`, and TLBs are owed a flush. */
export function listEmptied(kernel: Kernel, mm: AddressSpace, page: Vpn, emptied: Pfn[]): void {
  const table = kernel.tableFreeing.takeEmpty(kernel, mm, page);
  if (table === NO_TABLE) return;
  kernel.tlbFlush.all(mm);
  emptied.push(table);
}

/** Frees the tables of the list. Requires: TLBs are owed nothing. */
export function freeEmptied({ tables }: Kernel, emptied: readonly Pfn[]): void {
  for (const table of emptied) tables.releaseFrame(table, LEAF);
}
