/**
 * The entries around one that may map parts of the same soft page: those of the pages whose indices differ in the low bits only,
 * as far as they lie in its area and in its leaf table.
 *
 *     index   ...7 | 8  9 10 11 | 12...        page of index 10: entries of 8 to 11; fewer at the end of the area, and where
 *     page    ...5 | 6  7  8  9 | 10...        the soft page lies across the end of a page table
 *
 * With soft pages of one frame there is nothing around an entry.
 */
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import { NO_FRAME, PG_ANON, PG_LOCKED, PG_SWAPBACKED, PG_SWAPCACHE, PG_WRITEBACK } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { tryUserFrame } from "../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { namesPage } from "../pfnmap/pfn-mappings.ts";
import { VM_DROPPABLE, type Vma } from "../vma.ts";

const MAPS = PTE_PRESENT | PTE_PROT_NONE;

/** Pages, all in one leaf table. */
export interface PagesBeside {
  readonly first: Vpn;
  readonly end: Vpn;
}

/** The part of its soft page that a page of the area has. */
export const partAt = ({ frames }: Kernel, vma: Vma, page: Vpn): number => vma.indexAt(page) % frames.softFrames;

/** The pages of `page`'s soft page, itself included. */
export function pagesBeside(kernel: Kernel, vma: Vma, page: Vpn): PagesBeside {
  const { tables, frames } = kernel;
  const span = tables.span(LEAF);
  const start = page - partAt(kernel, vma, page);
  const table = page - (page % span);
  return { first: Math.max(start, vma.start, table), end: Math.min(start + frames.softFrames, vma.end, table + span) };
}

/** How many entries around `page`, its own included, map parts of the soft page `head`: 1 where that has one frame. */
export function entriesBeside(kernel: Kernel, vma: Vma, page: Vpn, head: Pfn): number {
  const { tables, frames } = kernel;
  if (frames.softFrames === 1) return 1;
  const table = tables.openLeaf(vma.mm, page);
  if (table === NO_TABLE) return 0;
  const count = countIn(kernel, table, pagesBeside(kernel, vma, page), head);
  tables.close(table);
  return count;
}

/** The same in the open leaf table of `page`; `within`: only for these pages. */
export function entriesIn(
  kernel: Kernel,
  vma: Vma,
  page: Vpn,
  table: OpenTable,
  head: Pfn,
  within?: PagesBeside,
): number {
  if (kernel.frames.softFrames === 1) return 1;
  const beside = pagesBeside(kernel, vma, page);
  const first = Math.max(beside.first, within?.first ?? 0);
  const end = Math.min(beside.end, within?.end ?? Number.POSITIVE_INFINITY);
  return countIn(kernel, table, { first, end }, head);
}

function countIn(
  { tables, entries, frames }: Kernel,
  table: OpenTable,
  { first, end }: PagesBeside,
  head: Pfn,
): number {
  const start = tables.indexAt(first, LEAF);
  let count = 0;
  for (let index = start; index < start + (end - first); index++) {
    if ((entries.flags(table, index) & MAPS) !== 0 && frames.head(entries.frame(table, index)) === head) count++;
  }
  return count;
}

/**
 * A frame for an anonymous page, which may be part of a soft page that this area has already, with a reference for the entry
 * that will map it; contents unknown. Or NO_FRAME. Requires: page_table_lock is held where soft pages have several frames.
 */
export function anonymousFrame(kernel: Kernel, vma: Vma, page: Vpn): Pfn {
  const { frames } = kernel;
  if (frames.softFrames === 1) return tryUserFrame(kernel);
  const part = partAt(kernel, vma, page);
  const beside = roomBeside(kernel, vma, page);
  if (beside !== NO_FRAME) {
    frames.addReference(beside);
    return beside + part;
  }
  const head = tryUserFrame(kernel);
  return head === NO_FRAME ? NO_FRAME : head + part;
}

/**
 * The soft page that has room for `page`: the anonymous one that entries around it map, if nobody else has any of it, in memory
 * or in swap. Since each entry maps the part of its own index, what no entry maps is free then.
 */
function roomBeside(kernel: Kernel, vma: Vma, page: Vpn): Pfn {
  const { tables, entries, frames } = kernel;
  const table = tables.openLeaf(vma.mm, page);
  if (table === NO_TABLE) return NO_FRAME;
  const pages = pagesBeside(kernel, vma, page);
  const own = tables.indexAt(page, LEAF);
  const start = own - (page - pages.first);
  let room = NO_FRAME;
  let seen = NO_FRAME;
  for (let index = start; index < start + (pages.end - pages.first) && room === NO_FRAME; index++) {
    if (index === own || (entries.flags(table, index) & MAPS) === 0) continue;
    if (!namesPage(kernel, vma, pages.first + (index - start), table, index)) continue;
    const head = frames.head(entries.frame(table, index));
    if (head === seen || !isJoinable(kernel, vma, page, head)) continue;
    seen = head;
    const isMappedHere = (entries.flags(table, own) & MAPS) !== 0 && frames.head(entries.frame(table, own)) === head;
    if (!isMappedHere && countIn(kernel, table, pages, head) === frames.refs.read(head)) room = head;
  }
  tables.close(table);
  return room;
}

/** Whether it is an anonymous page of this area and of this place, in memory alone. */
function isJoinable(kernel: Kernel, vma: Vma, page: Vpn, head: Pfn): boolean {
  const { frames } = kernel;
  const wanted = (vma.flags & VM_DROPPABLE) !== 0 ? PG_ANON : PG_ANON | PG_SWAPBACKED;
  if ((frames.flags.read(head) & (wanted | BUSY)) !== wanted) return false;
  const isHere = frames.index.read(head) === vma.indexAt(page) - partAt(kernel, vma, page);
  return isHere && frames.mapping.read(head) === vma.anonVma!.id;
}

const BUSY = PG_SWAPCACHE | PG_LOCKED | PG_WRITEBACK;

/** The places around `page` in its open leaf table, its own excluded: with the page and the part of each. */
export function* placesBeside(
  kernel: Kernel,
  vma: Vma,
  page: Vpn,
  table: OpenTable,
): IterableIterator<{ readonly page: Vpn; readonly index: number; readonly slot: PteSlot; readonly part: number }> {
  const { tables, entries, frames } = kernel;
  const { first, end } = pagesBeside(kernel, vma, page);
  const start = tables.indexAt(first, LEAF);
  let part = vma.indexAt(first) % frames.softFrames;
  for (let at = first; at < end; at++, part++) {
    const index = start + (at - first);
    if (at !== page) yield { page: at, index, slot: entries.slotOf(table, index), part };
  }
}
