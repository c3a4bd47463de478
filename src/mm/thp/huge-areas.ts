/**
 * What becomes of large entries when areas are unmapped, copied, protected and moved: one entry is one step, where the
 * whole of it is meant; otherwise it is split, and the walk over leaf tables that follows finds small pages.
 *
 * @models linux-6.1 mm/huge_memory.c zap_huge_pmd, copy_huge_pmd, change_huge_pmd, move_huge_pmd
 */
import { ENOMEM } from "../../base/errno.ts";
import type { Pfn, Vpn } from "../../base/units.ts";
import {
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PCD,
  PTE_PRESENT,
  PTE_PWT,
  PTE_SOFT1,
  PTE_SOFT2,
  PTE_SOFT3,
  PTE_WRITE,
} from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import { EVENT_COPY, EVENT_MOVE, EVENT_PROTECT, EVENT_ZAP } from "../events.ts";
import { PG_EXCLUSIVE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { entryFlags } from "../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { giveTableRoom, lockTables, takeTableRoom, tryLockTables, unlockTables } from "../table-lock.ts";
import type { Gather } from "../tlb/gather.ts";
import { isCopyOnWrite, type Vma } from "../vma.ts";
import {
  clearHuge,
  countHuge,
  flagsOfHuge,
  HUGE_LEVEL,
  type HugeEntry,
  headOfHuge,
  hugeEntries,
  hugeEntryAt,
  isHugeZero,
  setHuge,
  splitEntry,
  uncountHuge,
} from "./huge-entries.ts";

/** Takes the large entries of `[first, end)` away, into `gather`; those that reach beyond are split. */
export function* zapHuge(kernel: Kernel, gather: Gather, vma: Vma, first: Vpn, end: Vpn): Path<void> {
  const { mm } = vma;
  const { pages } = kernel.transparent.pages;
  for (const entry of hugeEntries(kernel, mm, first, end)) {
    if (gather.room < pages) yield* gather.flush();
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    // Until the lock was had, reclaim could split it.
    if (flagsOfHuge(kernel, entry) !== 0) {
      if (entry.page < first || entry.page + pages > end) splitEntry(kernel, mm, entry);
      else zapEntry(kernel, gather, mm, entry);
    }
    unlockTables(kernel, mm);
  }
}

function zapEntry(kernel: Kernel, gather: Gather, mm: AddressSpace, entry: HugeEntry): void {
  const { tables, counters, transparent } = kernel;
  const { pages } = transparent.pages;
  const head = headOfHuge(kernel, entry);
  clearHuge(kernel, entry);
  gather.cover(entry.page, entry.page + pages);
  if (isHugeZero(kernel, head)) transparent.pages.zeroMaps--;
  else {
    uncountHuge(kernel, mm, head);
    gather.addRun(head, head + pages);
  }
  tables.dropReservedLeaf(mm);
  counters.ptesZapped++;
  kernel.events.record(EVENT_ZAP, mm.id, entry.page, pages, head, 0, 0);
}

/** fork: the child's area maps the same huge pages, which neither may write. 0 or -ENOMEM. */
export function* copyHuge(kernel: Kernel, child: Vma, parent: Vma): Path<number> {
  for (const entry of hugeEntries(kernel, parent.mm, parent.start, parent.end)) {
    const table = yield* kernel.tables.ensure(child.mm, entry.page, HUGE_LEVEL);
    if (table < 0) return table;
    for (let failures = 1; !kernel.tables.tryReserveLeaf(child.mm, entry.page); failures++) {
      if (!(yield* kernel.allocator.waitForMemory(failures))) return -ENOMEM;
    }
    yield* copyLocked(kernel, child, parent, entry, { ...entry, table });
  }
  return 0;
}

/** As for small pages: both locks, the child's first, which is nobody else's yet. */
function* copyLocked(kernel: Kernel, child: Vma, parent: Vma, source: HugeEntry, target: HugeEntry): Path<void> {
  const { task } = kernel.current;
  const childLock = child.mm.birthLock;
  const parentLock = parent.mm.pageTableLock;
  if (kernel.tables.takesRoom) yield* takeTableRoom(kernel);
  if (!childLock.tryAcquire(task)) yield* childLock.acquire(task);
  if (!parentLock.tryAcquire(task)) yield* parentLock.acquire(task);
  // Until the locks were had, reclaim could split it: its small pages are copied next.
  if (flagsOfHuge(kernel, source) !== 0) copyEntry(kernel, child, parent, source, target);
  else kernel.tables.dropReservedLeaf(child.mm);
  parentLock.release(task);
  childLock.release(task);
  if (kernel.tables.takesRoom) giveTableRoom(kernel);
}

function copyEntry(kernel: Kernel, child: Vma, parent: Vma, source: HugeEntry, target: HugeEntry): void {
  const { frames, counters, transparent } = kernel;
  const { pages } = transparent.pages;
  const head = headOfHuge(kernel, source);
  let flags = flagsOfHuge(kernel, source);
  if (isHugeZero(kernel, head)) transparent.pages.zeroMaps++;
  else {
    for (let frame = head; frame < head + pages; frame++) {
      frames.addReference(frame);
      frames.clearFlag(frame, PG_EXCLUSIVE);
    }
    countHuge(kernel, child.mm, target.page, head);
    if (isCopyOnWrite(parent.flags) && (flags & PTE_WRITE) !== 0) {
      flags &= ~PTE_WRITE;
      setHuge(kernel, source, head, flags);
      counters.ptesWriteProtected++;
    }
  }
  setHuge(kernel, target, head, flags & ~PTE_ACCESSED);
  counters.ptesCopied++;
  kernel.events.record(EVENT_COPY, parent.mm.id, source.page, pages, head, 0, child.mm.id);
}

/** What an entry keeps when its rights change. */
const KEPT = PTE_ACCESSED | PTE_DIRTY | PTE_PWT | PTE_PCD | PTE_SOFT1 | PTE_SOFT2 | PTE_SOFT3;

/** Gives the large entries of `[first, end)` the rights that `vma` now has; for how many pages. Others are split. */
export function* protectHuge(kernel: Kernel, gather: Gather, vma: Vma, first: Vpn, end: Vpn): Path<number> {
  const { mm } = vma;
  const { pages } = kernel.transparent.pages;
  let changed = 0;
  for (const entry of hugeEntries(kernel, mm, first, end)) {
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    const old = flagsOfHuge(kernel, entry);
    if (old !== 0) {
      if (entry.page < first || entry.page + pages > end) splitEntry(kernel, mm, entry);
      else {
        const flags = (old & KEPT) | (entryFlags(kernel, vma) & ~KEPT);
        setHuge(kernel, entry, headOfHuge(kernel, entry), flags);
        if ((old & PTE_PRESENT) !== 0) gather.cover(entry.page, entry.page + pages);
        changed += pages;
        kernel.events.record(EVENT_PROTECT, mm.id, entry.page, pages, -1, 0, 0);
      }
    }
    unlockTables(kernel, mm);
  }
  return changed;
}

/** A move of pages within one address space. */
export interface HugeMove {
  readonly from: Vpn;
  readonly to: Vpn;
  readonly pages: number;
}

/**
 * Splits the large entries that a move cannot take whole: those that reach beyond what moves, and all if the new place is
 * not aligned as the old one is.
 */
export function* splitUnmovable(kernel: Kernel, mm: AddressSpace, { from, to, pages }: HugeMove): Path<void> {
  const span = kernel.transparent.pages.pages;
  const isAligned = (to - from) % span === 0;
  for (const entry of hugeEntries(kernel, mm, from, from + pages)) {
    if (isAligned && entry.page >= from && entry.page + span <= from + pages) continue;
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    if (flagsOfHuge(kernel, entry) !== 0) splitEntry(kernel, mm, entry);
    unlockTables(kernel, mm);
  }
}

/**
 * Moves the large entry at the old place, if there is one: whether it did. Where a leaf table is in the way, it is split
 * instead. What is left to be flushed is in `gather`.
 */
export function* moveHuge(kernel: Kernel, gather: Gather, mm: AddressSpace, move: HugeMove): Path<number | "small"> {
  const { tables } = kernel;
  if (hugeEntryAt(kernel, mm, move.from) === null) return "small";
  const table = yield* tables.ensure(mm, move.to, HUGE_LEVEL);
  if (table < 0) return table;
  if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
  const source = hugeEntryAt(kernel, mm, move.from);
  const target = { page: move.to, table, index: tables.indexAt(move.to, HUGE_LEVEL) };
  let moved: number | "small" = "small";
  if (source !== null) {
    if (tables.tableAt(mm, move.to, LEAF) !== NO_TABLE) splitEntry(kernel, mm, source);
    else moved = moveEntry(kernel, gather, mm, source, target);
  }
  yield* gather.flushLocked();
  unlockTables(kernel, mm);
  return moved;
}

function moveEntry(kernel: Kernel, gather: Gather, mm: AddressSpace, source: HugeEntry, target: HugeEntry): number {
  const { counters, transparent } = kernel;
  const { pages } = transparent.pages;
  const head: Pfn = headOfHuge(kernel, source);
  const flags = flagsOfHuge(kernel, source);
  clearHuge(kernel, source);
  setHuge(kernel, target, head, flags);
  if (!isHugeZero(kernel, head)) transparent.largeMap.moveLarge(head, head + pages, target.page);
  gather.cover(source.page, source.page + pages);
  counters.ptesMoved++;
  kernel.events.record(EVENT_MOVE, mm.id, source.page, pages, head, 0, HUGE_LEVEL);
  return pages;
}
