/**
 * A leaf table goes with its last entry. Its count says when (counted-entries.ts); page_table_lock keeps others from
 * filling it meanwhile, and whoever has let go of that lock looks for the table again.
 *
 * Linus Torvalds thought that it would not help in real life, and where every entry is live, as in a shared area that
 * all backends have touched, there is nothing to free. Where address spaces are sparse, or truncation and reclaim have
 * emptied them, there is.
 *
 * @models MAIL-BIGPAGE ("keep a pte count around, and when it goes to zero you zap the pmd")
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";

/** References to the frame of a table without entries. */
const EMPTY = 1;

export function takeEmpty({ tables, frames, counters }: Kernel, mm: AddressSpace, page: Vpn): Pfn {
  const parent = tables.tableAt(mm, page, LEAF + 1);
  if (parent === NO_TABLE) return NO_TABLE;
  const index = tables.indexAt(page, LEAF + 1);
  const table = tables.below(parent, index);
  if (table === NO_TABLE || frames.refs.read(table) !== EMPTY) return NO_TABLE;
  tables.unhang(mm, parent, LEAF + 1, index);
  tables.uncount(mm, table, LEAF);
  counters.tablesFreedEmpty++;
  return table;
}
