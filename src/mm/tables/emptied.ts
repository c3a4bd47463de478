/** What every path does that has cleared entries: the leaf table may go, if the machine frees empty ones. */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { Gather } from "../tlb/gather.ts";

/** Entries of the leaf table of `page` have been cleared. Requires: page_table_lock is held since before they were. */
export function gatherEmptied(kernel: Kernel, gather: Gather, page: Vpn): void {
  const table = kernel.tableFreeing.takeEmpty(kernel, gather.mm, page);
  if (table !== NO_TABLE) gatherTable(kernel, gather, table, page);
}

/** The same for who has no gather: one with the table, to be flushed once page_table_lock is released; null if it stays. */
export function gatherOfEmptied(kernel: Kernel, mm: AddressSpace, page: Vpn): Gather | null {
  const table = kernel.tableFreeing.takeEmpty(kernel, mm, page);
  if (table === NO_TABLE) return null;
  const gather = new Gather(kernel, mm);
  gatherTable(kernel, gather, table, page);
  return gather;
}

function gatherTable(kernel: Kernel, gather: Gather, table: Pfn, page: Vpn): void {
  const span = kernel.tables.span(LEAF);
  const start = Math.floor(page / span) * span;
  gather.addTable(table, LEAF, start, start + span);
}
