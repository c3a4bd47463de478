/**
 * Getting a leaf table of one's own again: a copy of the one that others have too, or nothing at all, if nobody needs what
 * is in it here.
 *
 *     unshare   a new table -> locks -> copy the entries (private ones read-only in both) -> hang it -> flush -> off the list
 *     leave                    locks ->                                                    unhang -> flush -> off the list
 *
 * A copy is what fork would have made, and needs the same memory: it is had before any lock is taken, and where the reverse
 * map has none in the midst of it, all that was copied is undone, the locks are given up until there is some, and it begins
 * again. Whoever leaves is on the table's list, and holds its lock, until no CPU of his can use it any more: an entry that
 * another sharer's fault or reclaim changes is flushed there until then.
 *
 * When one place is left, the table is that one's own, and may be written through his entry again.
 *
 * @models McCracken 2002-10 shpte-2.5.43 (what unshares)
 */
import { ENOMEM } from "../../../base/errno.ts";
import { bug } from "../../../base/errors.ts";
import type { Pfn, Vpn } from "../../../base/units.ts";
import { type OpenTable, PTE_PRESENT, PTE_PROT_NONE, PTE_SWAP } from "../../../hw/pte.ts";
import type { Path } from "../../../sync/path.ts";
import type { AddressSpace } from "../../address-space.ts";
import { copyLeaf } from "../../copy-pages.ts";
import type { Kernel } from "../../kernel.ts";
import { unmapFrame, waitToMap } from "../../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../../page-table.ts";
import { clearSwapEntry } from "../../swap/swap-cache.ts";
import { lockTables, unlockTables } from "../../table-lock.ts";
import { lockShared, sharedAt, unlockShared } from "./shared-lock.ts";
import type { SharedTable } from "./shared-tables.ts";

/**
 * The leaf tables of `[first, end)` are nobody else's from now on: 0, or -ENOMEM with some of them still shared. Requires:
 * mmap_sem is held, and keeps others from sharing them again until it is let go.
 */
export function* ownTables(kernel: Kernel, mm: AddressSpace, first: Vpn, end: Vpn): Path<number> {
  const { tables } = kernel;
  if (!tables.shared.exist) return 0;
  for (let page = tables.nextLeaf(mm, first, end); page < end; ) {
    if ((yield* unshareTable(kernel, mm, page)) < 0) return -ENOMEM;
    page = tables.nextLeaf(mm, tables.endOf(page, LEAF, end), end);
  }
  return 0;
}

/** The same for those tables of which the range has a part, and another area a part that stays. */
export function* ownEdges(kernel: Kernel, mm: AddressSpace, first: Vpn, end: Vpn): Path<number> {
  if (!kernel.tables.shared.exist) return 0;
  for (const page of [first, end - 1]) {
    if (isNeededOutside(kernel, mm, page, first, end) && (yield* unshareTable(kernel, mm, page)) < 0) return -ENOMEM;
  }
  return 0;
}

/** Whether an area has pages in the leaf table of `page` that are not in `[first, end)`. */
export function isNeededOutside({ tables }: Kernel, mm: AddressSpace, page: Vpn, first: Vpn, end: Vpn): boolean {
  const start = page - (page % tables.span(LEAF));
  const stop = start + tables.span(LEAF);
  return (
    (start < first && mm.vmas.intersecting(start, first) !== null) ||
    (end < stop && mm.vmas.intersecting(end, stop) !== null)
  );
}

/** page_table_lock, while the leaf table of `page` is nobody else's: 0, or -ENOMEM without the lock. */
export function* lockOwnTable(kernel: Kernel, mm: AddressSpace, page: Vpn): Path<number> {
  for (;;) {
    yield* lockTables(kernel, mm);
    if (sharedAt(kernel, mm, page) === undefined) return 0;
    unlockTables(kernel, mm);
    if ((yield* unshareTable(kernel, mm, page)) < 0) return -ENOMEM;
  }
}

/** The leaf table of `page`, if there is one, is nobody else's from now on: 0, or -ENOMEM with nothing changed. */
export function* unshareTable(kernel: Kernel, mm: AddressSpace, page: Vpn): Path<number> {
  const { tables, allocator } = kernel;
  if (sharedAt(kernel, mm, page)?.host != null) return yield* leaveHosted(kernel, mm, page);
  for (let failures = 1; sharedAt(kernel, mm, page) !== undefined; failures++) {
    const copy = tables.tryMakeLeaf(mm, page);
    if (copy === NO_TABLE) {
      if (!(yield* allocator.waitForMemory(failures))) return -ENOMEM;
      continue;
    }
    yield* lockTables(kernel, mm);
    const shared = yield* lockShared(kernel, mm, page);
    const isHung = shared !== null && (yield* replace(kernel, shared, mm, page, copy));
    if (shared !== null) unlockShared(kernel, shared);
    unlockTables(kernel, mm);
    if (isHung) return 0;
    tables.release(mm, copy, LEAF);
    if (shared !== null && !(yield* waitToMap(kernel, failures))) return -ENOMEM;
  }
  return 0;
}

/** A guest of a file's table needs no copy: what the table maps is found in the file again. */
function* leaveHosted(kernel: Kernel, mm: AddressSpace, page: Vpn): Path<0> {
  yield* lockTables(kernel, mm);
  const shared = yield* lockShared(kernel, mm, page);
  if (shared !== null) {
    yield* leaveTable(kernel, shared, mm, page);
    unlockShared(kernel, shared);
  }
  unlockTables(kernel, mm);
  return 0;
}

/** `copy` takes the place of the shared table; false, and nothing changed, without memory. Requires: both locks are held. */
function* replace(kernel: Kernel, shared: SharedTable, mm: AddressSpace, page: Vpn, copy: Pfn): Path<boolean> {
  const { tables, counters } = kernel;
  const first = page - (page % tables.span(LEAF));
  if (!copyEntries(kernel, shared.frame, mm, first, copy)) return false;
  const parent = tables.tableAt(mm, first, LEAF + 1);
  const index = tables.indexAt(first, LEAF + 1);
  tables.unhang(mm, parent, LEAF + 1, index);
  tables.hang(mm, parent, LEAF + 1, index, copy);
  counters.tablesUnshared++;
  yield* letGo(kernel, shared, mm, first);
  return true;
}

/** The address space has the table no longer, and nothing in its place. Requires: both locks are held. */
export function* leaveTable(kernel: Kernel, shared: SharedTable, mm: AddressSpace, page: Vpn): Path<void> {
  const { tables, counters } = kernel;
  const leaf = page - (page % tables.span(LEAF));
  // A guest may have it by the table above, with all that hangs there.
  const isDirect = shared.placeOf(mm, leaf) >= 0;
  const left = isDirect ? shared : (shared.above ?? bug(`address space ${mm.id} has no table ${shared.frame}`));
  const level = isDirect ? LEAF : LEAF + 1;
  const first = page - (page % tables.span(level));
  tables.unhang(mm, tables.tableAt(mm, first, level + 1), level + 1, tables.indexAt(first, level + 1));
  counters.tablesLeft++;
  yield* letGo(kernel, left, mm, first);
}

/** No CPU that runs in the address space uses the table any more; then it comes off the list. */
function* letGo(kernel: Kernel, shared: SharedTable, mm: AddressSpace, first: Vpn): Path<void> {
  const { tables, tlbFlush, tableSharing } = kernel;
  if (mm.cpus.size > 0) tlbFlush.all(mm);
  if (tlbFlush.owes) yield* tlbFlush.settle();
  const isOver = tables.shared.remove(shared, mm, first);
  if (shared.host === null) mm.tablesByLevel[LEAF]!--;
  tableSharing.placesGone(isOver ? 2 : 1);
  if (isOver && shared.readOnly) restoreWrites(kernel, shared);
}

/** Whoever is left may write through his entry again; a CPU that knows the old one faults once more, and walks. */
function restoreWrites({ tables }: Kernel, { frame, mms, firsts }: SharedTable): void {
  const parent = tables.tableAt(mms[0]!, firsts[0]!, LEAF + 1);
  const index = tables.indexAt(firsts[0]!, LEAF + 1);
  if (parent === NO_TABLE || tables.below(parent, index) !== frame) bug(`shared table ${frame} hangs in no tree`);
  tables.allowWrites(parent, index, "all");
}

/** Copies what the areas have in the table at `first`, as fork does. False, and nothing copied, without memory. */
function copyEntries(kernel: Kernel, table: Pfn, mm: AddressSpace, first: Vpn, copy: Pfn): boolean {
  const end = first + kernel.tables.span(LEAF);
  for (let vma = mm.vmas.find(first); vma !== null && vma.start < end; vma = vma.above) {
    const stop = Math.min(end, vma.end);
    vma.file?.mappings.spread();
    if (copyLeaf(kernel, { child: vma, parent: vma }, table, copy, Math.max(first, vma.start), stop) < stop) {
      dropEntries(kernel, mm, first, copy);
      return false;
    }
  }
  return true;
}

/** Takes a copy back that no CPU has seen. */
function dropEntries(kernel: Kernel, mm: AddressSpace, first: Vpn, copy: Pfn): void {
  const { tables, entries, frames, zeroFrame } = kernel;
  const length = tables.span(LEAF);
  const table = tables.open(copy) as OpenTable;
  for (let at = entries.nextUsed(table, 0, length); at < length; at = entries.nextUsed(table, at + 1, length)) {
    const vma = mm.vmas.containing(first + at) ?? bug(`page ${first + at} was copied, and is in no area`);
    const flags = entries.flags(table, at);
    const frame = (flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0 ? zeroFrame : entries.frame(table, at);
    if (flags === PTE_SWAP) clearSwapEntry(kernel, vma, table, at);
    else entries.clear(table, at);
    if (frame === zeroFrame) continue;
    unmapFrame(kernel, vma, frame, entries.slotOf(table, at));
    frames.refs.add(frames.head(frame), -1);
  }
  tables.close(table);
}
