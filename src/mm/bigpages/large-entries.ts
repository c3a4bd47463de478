/**
 * The entries of areas of big pages: taken away, copied, changed and moved, one entry for one page. A page's head frame
 * has a reference and a map count for each entry that holds it; reverse maps know nothing of them.
 *
 * @models linux-6.1 mm/hugetlb.c __unmap_hugepage_range, copy_hugetlb_page_range, hugetlb_change_protection, move_hugetlb_page_tables
 */
import { ENOMEM } from "../../base/errno.ts";
import type { Pfn, Vpn } from "../../base/units.ts";
import {
  type OpenTable,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_LARGE,
  PTE_NO_EXECUTE,
  PTE_PRESENT,
  PTE_PROT_NONE,
  PTE_USER,
  PTE_WRITE,
} from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import { EVENT_COPY, EVENT_PROTECT, EVENT_ZAP } from "../events.ts";
import type { Kernel } from "../kernel.ts";
import { isLarge, LEAF, NO_TABLE } from "../page-table.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import { Gather } from "../tlb/gather.ts";
import { isAccessible, isCopyOnWrite, VM_EXEC, VM_SHARED, VM_WRITE, type Vma } from "../vma.ts";
import type { HugePool } from "./huge-pool.ts";
import type { TableSharing } from "./table-sharing.ts";

/** One of these entries: the table that it is in, opened by nobody, and its place there. */
export interface BigEntry {
  readonly table: Pfn;
  readonly index: number;
}

/** The flags that an entry of the area has when it is made: writable at once where the area is shared and writable. */
export function bigFlags(vma: Vma): number {
  if (!isAccessible(vma)) return PTE_PROT_NONE | PTE_USER | PTE_ACCESSED | PTE_NO_EXECUTE | PTE_LARGE;
  let flags = PTE_PRESENT | PTE_USER | PTE_ACCESSED | PTE_LARGE;
  if ((vma.flags & VM_EXEC) === 0) flags |= PTE_NO_EXECUTE;
  const isWritable = (vma.flags & (VM_SHARED | VM_WRITE)) === (VM_SHARED | VM_WRITE);
  return isWritable ? flags | PTE_WRITE | PTE_DIRTY : flags;
}

/** The entry of `page`, which is aligned, if its table is there. */
export function bigEntryAt({ tables }: Kernel, mm: AddressSpace, page: Vpn, pool: HugePool): BigEntry | null {
  const table = tables.tableAt(mm, page, pool.level);
  return table === NO_TABLE ? null : { table, index: tables.indexAt(page, pool.level) };
}

/** The entry's flags; 0 if it is none. */
export function flagsOf({ tables, entries }: Kernel, { table, index }: BigEntry): number {
  const open = tables.open(table);
  const flags = entries.flags(open, index);
  tables.close(open);
  return flags;
}

/** The head of the page that the entry holds. */
export function headAt({ tables, entries }: Kernel, { table, index }: BigEntry): Pfn {
  const open = tables.open(table);
  const head = entries.frame(open, index);
  tables.close(open);
  return head;
}

/** The entry holds `head` from now on, whose reference it takes over. */
export function setBig(
  { tables, entries, frames }: Kernel,
  { table, index }: BigEntry,
  head: Pfn,
  flags: number,
): void {
  frames.mapCount.add(head, 1);
  const open = tables.open(table);
  entries.set(open, index, head, flags);
  tables.close(open);
}

/** The entry has other flags, and the same page. */
export function changeBig({ tables, entries }: Kernel, { table, index }: BigEntry, flags: number): void {
  const open = tables.open(table);
  entries.setFlags(open, index, flags);
  tables.close(open);
}

/** The entry is none from now on: the head whose reference is the caller's, to be dropped after the flush. */
export function clearBig({ tables, entries, frames }: Kernel, { table, index }: BigEntry): Pfn {
  const open = tables.open(table);
  const head = entries.frame(open, index);
  entries.clear(open, index);
  tables.close(open);
  frames.mapCount.add(head, -1);
  return head;
}

/** Pages of one table, and what it holds. */
type Visit = (entry: BigEntry, flags: number, page: Vpn) => void;

/** Visits the entries of `[first, end)` that are not none. Requires: page_table_lock is held. */
function visitBig(kernel: Kernel, vma: Vma, pool: HugePool, first: Vpn, end: Vpn, visit: Visit): void {
  const { tables } = kernel;
  for (let page = first; page < end; ) {
    const stop = tables.endOf(page, pool.level, end);
    const table = tables.tableAt(vma.mm, page, pool.level);
    if (table !== NO_TABLE) {
      for (let at = tables.nextUsed(table, pool.level, page, stop); at < stop; ) {
        const entry = { table, index: tables.indexAt(at, pool.level) };
        const flags = flagsOf(kernel, entry);
        if (isLarge(flags)) visit(entry, flags, at);
        at = tables.nextUsed(table, pool.level, at + pool.pages, stop);
      }
    }
    page = stop;
  }
}

/**
 * The table whose entry for `page` will map a big page, waiting for memory if need be; or -ENOMEM. Tables that hang on that
 * entry, left by what was mapped there before, are freed: nobody has anything in them.
 *
 * @models linux-2.6.11 arch/i386/mm/hugetlbpage.c hugetlb_prefault
 */
export function* bigTable(kernel: Kernel, mm: AddressSpace, page: Vpn, pool: HugePool): Path<Pfn> {
  const { tables } = kernel;
  const table = yield* tables.ensure(mm, page, pool.level);
  if (table < 0) return table;
  const index = tables.indexAt(page, pool.level);
  if (tables.below(table, index) === NO_TABLE) return table;
  const gather = new Gather(kernel, mm);
  if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
  freeBelow(kernel, gather, table, pool.level, page);
  unlockTables(kernel, mm);
  yield* gather.flush();
  return table;
}

/** Takes the tables below the entry for `page` of `table`, of `level`, off their tree. */
function freeBelow(kernel: Kernel, gather: Gather, table: Pfn, level: number, page: Vpn): void {
  const { tables } = kernel;
  const index = tables.indexAt(page, level);
  const below = tables.below(table, index);
  if (below === NO_TABLE) return;
  const span = tables.span(level - 1);
  const first = page - (page % span);
  if (level - 1 > LEAF) {
    const step = tables.span(level - 2);
    for (let at = first; at < first + span; at += step) freeBelow(kernel, gather, below, level - 1, at);
  }
  tables.unhang(gather.mm, table, level, index);
  tables.uncount(gather.mm, below, level - 1);
  gather.addTable(below, level - 1, first, first + span);
}

/** Pages `[first, end)` of an area. */
export interface BigRange {
  readonly first: Vpn;
  readonly end: Vpn;
}

/** What becomes of their pages, whose references are dropped one by one. */
interface Zapped {
  readonly pool: HugePool;
  readonly sharing: TableSharing;
  readonly drop: (head: Pfn, page: Vpn) => void;
}

/** The area's entries, and who else has their tables, are the running task's to change from now on. */
function* lockBig(kernel: Kernel, vma: Vma, sharing: TableSharing): Path<void> {
  const { task } = kernel.current;
  const lock = sharing.lockOf(vma);
  if (lock !== null && !lock.tryAcquire(task)) yield* lock.acquire(task);
  if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
}

/** What is owed to TLBs is done first: nobody frees a table that CPUs of one who has left it may walk through. */
function* unlockBig(kernel: Kernel, vma: Vma, sharing: TableSharing): Path<void> {
  if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
  unlockTables(kernel, vma.mm);
  sharing.lockOf(vma)?.release(kernel.current.task);
}

/**
 * Takes entries away, and drops their pages, each with its place, once TLBs are flushed. `where` is asked once the tables
 * are locked.
 */
export function* zapBig(kernel: Kernel, vma: Vma, where: () => BigRange, zapped: Zapped): Path<void> {
  const { mm } = vma;
  const { pool, sharing, drop } = zapped;
  const { tlbFlush, counters } = kernel;
  const gather = new Gather(kernel, mm);
  const dropped: { readonly head: Pfn; readonly page: Vpn }[] = [];
  yield* lockBig(kernel, vma, sharing);
  const { first, end } = where();
  if (sharing.unshare(kernel, vma, first, end) > 0) tlbFlush.all(mm);
  visitBig(kernel, vma, pool, first, end, (entry, _flags, page) => {
    dropped.push({ head: clearBig(kernel, entry), page });
    gather.cover(page, page + 1);
  });
  yield* unlockBig(kernel, vma, sharing);
  counters.hugeEntriesZapped += dropped.length;
  if (dropped.length > 0) kernel.events.record(EVENT_ZAP, mm.id, first, dropped.length, -1, 0, 0);
  yield* gather.flush();
  for (const { head, page } of dropped) drop(head, page);
}

/** fork: the child holds the same pages; private ones can be written by neither until they are copied. 0 or -ENOMEM. */
export function* copyBig(kernel: Kernel, child: Vma, parent: Vma, pool: HugePool): Path<number> {
  const { tables, frames, counters, current } = kernel;
  for (let page = parent.start; page < parent.end; page = tables.endOf(page, pool.level, parent.end)) {
    if (tables.tableAt(parent.mm, page, pool.level) === NO_TABLE) continue;
    const target = yield* bigTable(kernel, child.mm, page, pool);
    if (target < 0) return -ENOMEM;
    const { birthLock } = child.mm;
    const { pageTableLock } = parent.mm;
    if (!birthLock.tryAcquire(current.task)) yield* birthLock.acquire(current.task);
    if (!pageTableLock.tryAcquire(current.task)) yield* pageTableLock.acquire(current.task);
    const isCow = isCopyOnWrite(parent.flags);
    let copied = 0;
    visitBig(kernel, parent, pool, page, tables.endOf(page, pool.level, parent.end), (entry, old) => {
      let flags = old;
      if (isCow && (flags & PTE_WRITE) !== 0) {
        flags &= ~PTE_WRITE;
        changeBig(kernel, entry, flags);
        counters.ptesWriteProtected++;
      }
      const head = headAt(kernel, entry);
      frames.addReference(head);
      setBig(kernel, { table: target, index: entry.index }, head, flags);
      copied++;
    });
    child.file?.mappings.spread();
    pageTableLock.release(current.task);
    birthLock.release(current.task);
    counters.ptesCopied += copied;
    if (copied > 0) kernel.events.record(EVENT_COPY, parent.mm.id, page, copied, -1, 0, child.mm.id);
  }
  return 0;
}

/** What an entry keeps when its rights change. */
const KEPT = PTE_ACCESSED | PTE_DIRTY;

/** Gives the entries of `[first, end)` the rights that the area has now; returns how many there were. */
export function* protectBig(
  kernel: Kernel,
  vma: Vma,
  pool: HugePool,
  range: BigRange,
  sharing: TableSharing,
): Path<number> {
  const { mm } = vma;
  const gather = new Gather(kernel, mm);
  const rights = bigFlags(vma) & ~KEPT;
  let changed = 0;
  yield* lockBig(kernel, vma, sharing);
  if (sharing.unshare(kernel, vma, range.first, range.end) > 0) kernel.tlbFlush.all(mm);
  visitBig(kernel, vma, pool, range.first, range.end, (entry, old, page) => {
    changeBig(kernel, entry, rights | (old & KEPT));
    if ((old & PTE_PRESENT) !== 0) gather.cover(page, page + 1);
    changed++;
  });
  yield* unlockBig(kernel, vma, sharing);
  kernel.counters.ptesProtected += changed;
  if (changed > 0) kernel.events.record(EVENT_PROTECT, mm.id, range.first, changed, -1, 0, 0);
  yield* gather.flush();
  return changed;
}

/** A move of entries within one address space. */
export interface BigMove {
  readonly fromPage: Vpn;
  readonly toPage: Vpn;
  readonly pages: number;
}

/** Moves entries; for how many pages that is done: fewer than all if there is no memory for tables. */
export function* moveBig(
  kernel: Kernel,
  vma: Vma,
  pool: HugePool,
  { fromPage, toPage, pages }: BigMove,
  sharing: TableSharing,
): Path<number> {
  const { mm } = vma;
  const { tables } = kernel;
  const gather = new Gather(kernel, mm);
  yield* lockBig(kernel, vma, sharing);
  if (sharing.unshare(kernel, vma, fromPage, fromPage + pages) > 0) kernel.tlbFlush.all(mm);
  yield* unlockBig(kernel, vma, sharing);
  let done = 0;
  for (; done < pages; done += pool.pages) {
    const source = bigEntryAt(kernel, mm, fromPage + done, pool);
    if (source === null || flagsOf(kernel, source) === 0) continue;
    const table = yield* bigTable(kernel, mm, toPage + done, pool);
    if (table < 0) break;
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    // Truncation may have taken it while this waited.
    if (flagsOf(kernel, source) !== 0) {
      moveEntry(kernel, source, { table, index: tables.indexAt(toPage + done, pool.level) });
      vma.file?.mappings.spread();
      gather.cover(fromPage + done, fromPage + done + 1);
      yield* gather.flushLocked();
    }
    unlockTables(kernel, mm);
  }
  return Math.min(done, pages);
}

function moveEntry({ tables, entries, counters }: Kernel, source: BigEntry, target: BigEntry): void {
  const from = tables.open(source.table);
  const to: OpenTable = tables.open(target.table);
  entries.copy(from, source.index, to, target.index);
  entries.clear(from, source.index);
  tables.close(to);
  tables.close(from);
  counters.ptesMoved++;
}
