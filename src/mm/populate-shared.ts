/**
 * Leaf tables that several address spaces have, where a range of pages is touched before anybody uses it. The first touch
 * hangs such a table. What others have filled in it is there at once, and needs no look page by page; nor do the other tables
 * that came with it, where a file's tree is entered by the table above them, and the file is resident there whole.
 *
 *     page   0  1  2  3 ... 511 | 512 ...              the fault of page 0 hangs the table, or a gigabyte of tables
 *            ^  \________________________ passed over
 */
import type { Vpn } from "../base/units.ts";
import { type OpenTable, PTE_DIRTY, PTE_PRESENT, PTE_WRITE } from "../hw/pte.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import type { SharedTable } from "./tables/sharing/shared-tables.ts";
import type { HostedPlace } from "./tables/sharing/table-sharing.ts";
import type { Intent } from "./verdict.ts";
import type { Vma } from "./vma.ts";

/**
 * How many pages after `page` are there as it is: in the same table, or in all tables of a gigabyte of its file. Requires: the
 * page is there for that intent, its table is open, and the area reaches to `end`.
 */
export function filledAfter(
  kernel: Kernel,
  vma: Vma,
  { page, end }: PageRange,
  table: OpenTable,
  intent: Intent,
): number {
  const { tables, entries, tlbFlush } = kernel;
  const shared = tables.shared.find(table);
  if (shared === undefined || tlbFlush.interrupts !== null || tables.takesRoom) return 0;
  if (intent === "read" && isWhole(vma, shared) && tables.tableAt(vma.mm, page, LEAF + 1) === shared.above?.frame) {
    return tables.endOf(page, LEAF + 1, end) - page - 1;
  }
  const index = tables.indexAt(page, LEAF);
  const stop = index + tables.endOf(page, LEAF, end) - page;
  const flags = intent === "write" ? PTE_PRESENT | PTE_WRITE | PTE_DIRTY : PTE_PRESENT;
  return entries.endOfFlags(table, index + 1, stop, flags) - index - 1;
}

/** Pages `[page, end)`. */
export interface PageRange {
  readonly page: Vpn;
  readonly end: Vpn;
}

/** Whether the file's own tree, which the table is of, maps every page of the file. */
function isWhole({ file }: Vma, { host }: SharedTable): boolean {
  if (host === null) return false;
  const { resident } = host;
  return resident.file + resident.shmem === file!.endIndex;
}

/** Where a hole of the page's leaf table is filled: there, or in its file's own tree; null if other places have the table. */
export function placeToFill({ tables }: Kernel, vma: Vma, page: Vpn): HostedPlace | null {
  const leaf = tables.shared.exist ? tables.tableAt(vma.mm, page, LEAF) : NO_TABLE;
  const shared = leaf === NO_TABLE ? undefined : tables.shared.find(leaf);
  if (shared === undefined) return { vma, page };
  if (shared.host === null) return null;
  const place = shared.firsts[0]! + (page % tables.span(LEAF));
  return { vma: shared.host.vmas.find(place)!, page: place };
}
