/**
 * Leaf tables of which a range has every page are freed as soon as the range is emptied, although areas still lie
 * there: what a program gives back by MADV_DONTNEED is not kept from others by the tables that mapped it.
 *
 * @models linux-6.18 mm/pt_reclaim.c try_get_and_clear_pmd, free_pte; mm/memory.c reclaim_pt_is_enabled
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import type { Gather } from "../tlb/gather.ts";

/**
 * Frees the leaf tables that lie in `[first, end)` as a whole, but for those that somebody has faulted into again. Requires:
 * page_table_lock is held.
 */
export function freeWholeLeaves(kernel: Kernel, gather: Gather, mm: AddressSpace, first: Vpn, end: Vpn): void {
  const { tables } = kernel;
  const span = tables.span(LEAF);
  for (let page = Math.ceil(first / span) * span; page + span <= end; page += span) {
    const parent = tables.tableAt(mm, page, LEAF + 1);
    if (parent === NO_TABLE) continue;
    const index = tables.indexAt(page, LEAF + 1);
    const table = tables.below(parent, index);
    if (table === NO_TABLE || !isEmpty(kernel, table)) continue;
    tables.unhang(mm, parent, LEAF + 1, index);
    tables.uncount(mm, table, LEAF);
    gather.addTable(table, LEAF, page, page + span);
  }
}

function isEmpty({ tables, entries }: Kernel, frame: Pfn): boolean {
  const table = tables.open(frame);
  const entriesPerTable = tables.span(LEAF);
  const used = entries.nextUsed(table, 0, entriesPerTable);
  tables.close(table);
  return used === entriesPerTable;
}
