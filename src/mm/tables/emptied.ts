/** What every path does that has cleared entries: the leaf table may go, if the machine frees empty ones. */
import type { Vpn } from "../../base/units.ts";
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
