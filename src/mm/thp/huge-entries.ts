/**
 * Large entries that map transparent huge pages: finding them, making them, taking them away, and splitting one into a
 * leaf table's entries. Each has a leaf table in reserve (`PageTables.tryReserveLeaf`), so that splitting cannot fail.
 *
 *     level 2  [ large -> head, 512 frames ]   +  a leaf table in reserve
 *                        | split
 *     level 2  [ link  -> leaf table        ]
 *     level 1    [ head ] [ head + 1 ] ... [ head + 511 ]       the same frames, the same rights, the same A and D
 *
 * No reference and no map count changes when an entry is split: each frame counted the large entry before, and counts its
 * own afterwards.
 *
 * @models linux-6.1 mm/huge_memory.c __split_huge_pmd, __split_huge_zero_page_pmd, vma_adjust_trans_huge
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import { PTE_DIRTY, PTE_LARGE, PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import { type AddressSpace, MEMORY } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { isLarge, NO_TABLE } from "../page-table.ts";
import type { Vma } from "../vma.ts";

/** The level of the tables that large entries are in. */
export const HUGE_LEVEL = 2;

/** A large entry: the first page that it maps, and where it is. */
export interface HugeEntry {
  readonly page: Vpn;
  readonly table: Pfn;
  readonly index: number;
}

/** The large entry that maps `page`, or null. Address spaces without any are not searched. */
export function hugeEntryAt({ tables, current }: Kernel, mm: AddressSpace, page: Vpn): HugeEntry | null {
  if (mm.reservedLeaves.length === 0) return null;
  current.task.watch?.touch(MEMORY, "read");
  const found = tables.largeAt(mm, page);
  if (found === null || found.level !== HUGE_LEVEL) return null;
  return { page: page - (page % tables.span(HUGE_LEVEL - 1)), table: found.table, index: found.index };
}

/** The large entries that map pages of `[first, end)`, in order. Who holds no lock finds some of them split when he comes to them. */
export function hugeEntries({ tables, entries, current }: Kernel, mm: AddressSpace, first: Vpn, end: Vpn): HugeEntry[] {
  const found: HugeEntry[] = [];
  current.task.watch?.touch(MEMORY, "read");
  if (mm.reservedLeaves.length === 0) return found;
  const span = tables.span(HUGE_LEVEL - 1);
  for (let page = first - (first % span); page < end; ) {
    const stop = tables.endOf(page, HUGE_LEVEL, end);
    const table = tables.tableAt(mm, page, HUGE_LEVEL);
    if (table !== NO_TABLE) {
      for (let at = tables.nextUsed(table, HUGE_LEVEL, page, stop); at < stop; ) {
        const index = tables.indexAt(at, HUGE_LEVEL);
        const open = tables.open(table);
        if (isLarge(entries.flags(open, index))) found.push({ page: at, table, index });
        tables.close(open);
        at = tables.nextUsed(table, HUGE_LEVEL, at + span, stop);
      }
    }
    page = stop;
  }
  return found;
}

/** What an entry says, if it is still large; 0 otherwise. */
export function flagsOfHuge({ tables, entries }: Kernel, { table, index }: HugeEntry): number {
  const open = tables.open(table);
  const flags = entries.flags(open, index);
  tables.close(open);
  return isLarge(flags) ? flags : 0;
}

export function headOfHuge({ tables, entries }: Kernel, { table, index }: HugeEntry): Pfn {
  const open = tables.open(table);
  const head = entries.frame(open, index);
  tables.close(open);
  return head;
}

/** `flags` are those of a small page; the entry is large. */
export function setHuge({ tables, entries }: Kernel, { table, index }: HugeEntry, head: Pfn, flags: number): void {
  const open = tables.open(table);
  entries.set(open, index, head, flags | PTE_LARGE);
  tables.close(open);
}

/** The entry is none from now on. */
export function clearHuge({ tables, entries }: Kernel, { table, index }: HugeEntry): void {
  const open = tables.open(table);
  entries.clear(open, index);
  tables.close(open);
}

/** Whether the page is the one of zeros, which nobody counts. */
export const isHugeZero = ({ transparent }: Kernel, head: Pfn): boolean => head === transparent.pages.zeroHead;

/** A large entry of `mm` maps the page whole from now on: its frames have their references. */
export function countHuge(kernel: Kernel, mm: AddressSpace, page: Vpn, head: Pfn): void {
  const { frames, transparent } = kernel;
  const { pages } = transparent;
  transparent.largeMap.addLarge(head, head + pages.pages, mm, page);
  if (frames.largeMaps.add(head, 1) === 1) pages.mapped++;
  mm.resident.anon += pages.pages;
}

/** A large entry, cleared already, maps the page no longer; its frames' references are the caller's. */
export function uncountHuge(kernel: Kernel, mm: AddressSpace, head: Pfn): void {
  const { transparent } = kernel;
  const { pages } = transparent;
  transparent.largeMap.removeLarge(head, head + pages.pages);
  dropLargeMap(kernel, head);
  mm.resident.anon -= pages.pages;
}

function dropLargeMap({ frames, transparent }: Kernel, head: Pfn): void {
  if (frames.largeMaps.add(head, -1) === 0) transparent.pages.mapped--;
}

/** The frames of a large entry are mapped by a leaf table from now on. Requires: page_table_lock is held. */
export function splitEntry(kernel: Kernel, mm: AddressSpace, entry: HugeEntry): void {
  const { tables, entries, zeroFrame, counters, personality } = kernel;
  const head = headOfHuge(kernel, entry);
  const flags = flagsOfHuge(kernel, entry) & ~PTE_LARGE;
  const isZero = isHugeZero(kernel, head);
  // No CPU may see the page by both sizes: the large one goes first.
  clearHuge(kernel, entry);
  kernel.tlbFlush.page(mm, entry.page);
  const leaf = tables.useReservedLeaf(mm, entry.page);
  const open = tables.open(leaf);
  const pages = tables.span(HUGE_LEVEL - 1);
  if (isZero) {
    const ofZero = (flags & ~PTE_DIRTY) | personality.pages.zeroPageFlags;
    for (let index = 0; index < pages; index++) entries.set(open, index, zeroFrame, ofZero);
  } else if ((flags & PTE_PROT_NONE) === 0 && (flags & PTE_PRESENT) !== 0) entries.setAll(leaf, leaf + 1, head, flags);
  else for (let index = 0; index < pages; index++) entries.set(open, index, head + index, flags);
  tables.close(open);
  tables.hang(mm, entry.table, HUGE_LEVEL, entry.index, leaf);
  if (isZero) kernel.transparent.pages.zeroMaps--;
  else dropLargeMap(kernel, head);
  counters.thpSplitPmd++;
}

/** An area will end at `page`, or begin: a large entry that reaches across is split. */
export function cutHuge(kernel: Kernel, { mm }: Vma, page: Vpn): void {
  const entry = hugeEntryAt(kernel, mm, page);
  if (entry !== null && entry.page !== page) splitEntry(kernel, mm, entry);
}

/** Splits the large entries that map pages of `[first, end)`: who works on small pages finds no others there. */
export function splitRange(kernel: Kernel, mm: AddressSpace, first: Vpn, end: Vpn): void {
  for (const entry of hugeEntries(kernel, mm, first, end)) splitEntry(kernel, mm, entry);
}
