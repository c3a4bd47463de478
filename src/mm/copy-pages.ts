/**
 * Fork's copy of page tables: the child maps the same frames. Private pages become read-only on both sides and are no
 * longer anybody's own, so that whoever writes first gets a copy.
 *
 * @models linux-6.1 mm/memory.c copy_page_range, copy_pte_range, copy_present_pte
 * @models linux-2.6.11 mm/memory.c copy_page_range, copy_one_pte
 */
import { ENOMEM } from "../base/errno.ts";
import type { Pfn, Vpn } from "../base/units.ts";
import {
  forbidsFetch,
  type OpenTable,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_NO_EXECUTE,
  PTE_PRESENT,
  PTE_PROT_NONE,
  PTE_SWAP,
  PTE_WRITE,
  presentFrame,
} from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { EVENT_COPY } from "./events.ts";
import { PG_ANON, PG_EXCLUSIVE, PG_SWAPBACKED } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { waitToMap } from "./mapped-frame.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { copyRawLeaf } from "./pfnmap/raw-entries.ts";
import { slotOfEntry } from "./swap/swap-cache.ts";
import { giveTableRoom, takeTableRoom } from "./table-lock.ts";
import { lockShared, unlockShared } from "./tables/sharing/shared-lock.ts";
import { copyHuge } from "./thp/huge-areas.ts";
import { isCopyOnWrite, VM_BIG, VM_RAW, VM_SHARED, type Vma } from "./vma.ts";

/** Who copies from whom. */
export interface Copy {
  readonly child: Vma;
  readonly parent: Vma;
}

/**
 * Copies the parent's entries to the child's area of the same pages. 0, or -ENOMEM with a part copied. The parent's TLB
 * entries are stale afterwards: flush before anybody runs.
 */
export function* copyPages(kernel: Kernel, child: Vma, parent: Vma): Path<number> {
  if (!kernel.personality.pages.copiesOnFork(parent) || kernel.tableSharing.leavesToFaults(kernel, parent)) return 0;
  if ((parent.flags & VM_BIG) !== 0) return yield* kernel.bigPages.copy(kernel, child, parent);
  const { tables } = kernel;
  if (parent.mm.reservedLeaves.length > 0 && (yield* copyHuge(kernel, child, parent)) < 0) return -ENOMEM;
  return yield* copyBelow(kernel, { child, parent }, parent.mm.root, tables.levels, parent.start, parent.end);
}

/** Copies what `[first, end)` has below the parent's table `frame` of `level`. */
function* copyBelow(kernel: Kernel, copy: Copy, frame: Pfn, level: number, first: Vpn, end: Vpn): Path<number> {
  const { tables, tableSharing } = kernel;
  const childMm = copy.child.mm;
  for (let page = first; page < end; ) {
    const next = tables.endOf(page, level - 1, end);
    const source = tables.below(frame, tables.indexAt(page, level));
    if (source !== NO_TABLE && level - 1 === LEAF && tableSharing.maySharePages(kernel, copy.parent.mm, page)) {
      if ((yield* tableSharing.shareAtFork(kernel, childMm, copy.parent.mm, page)) < 0) return -ENOMEM;
      copy.child.file?.mappings.spread();
    } else if (source !== NO_TABLE) {
      const target = yield* tables.ensure(childMm, page, level - 1);
      if (target < 0) return target;
      const result =
        level - 1 === LEAF
          ? yield* copyTable(kernel, copy, page, next)
          : yield* copyBelow(kernel, copy, source, level - 1, page, next);
      if (result < 0) return result;
    }
    page = next;
  }
  return 0;
}

/**
 * Copies the entries of one leaf table: 0 or -ENOMEM. Where the reverse map has no memory, the locks are given up until
 * there is some, and the copy goes on where it was.
 */
function* copyTable(kernel: Kernel, copy: Copy, first: Vpn, end: Vpn): Path<number> {
  let page = first;
  for (let failures = 1; ; failures++) {
    const next = yield* copyLocked(kernel, copy, page, end);
    if (next === end) return 0;
    if (next > page) failures = 1;
    page = next;
    if (!(yield* waitToMap(kernel, failures))) return -ENOMEM;
  }
}

/**
 * Copies entries with both page_table_locks held, the child's first; returns the first page that is not copied, or `end`. It
 * is the only place that takes two, and the child's is nobody else's yet.
 */
function* copyLocked(kernel: Kernel, copy: Copy, first: Vpn, end: Vpn): Path<Vpn> {
  const { task } = kernel.current;
  const target = copy.child.mm.birthLock;
  const source = copy.parent.mm.pageTableLock;
  if (kernel.tables.takesRoom) yield* takeTableRoom(kernel);
  if (!target.tryAcquire(task)) yield* target.acquire(task);
  if (!source.tryAcquire(task)) yield* source.acquire(task);
  const shared = kernel.tables.shared.exist ? yield* lockShared(kernel, copy.parent.mm, first) : null;
  const done = copyThere(kernel, copy, first, end);
  if (shared !== null) unlockShared(kernel, shared);
  copy.child.file?.mappings.spread();
  source.release(task);
  target.release(task);
  if (kernel.tables.takesRoom) giveTableRoom(kernel);
  return done;
}

/**
 * Copies entries from one leaf table to the other, as they are now that the locks are held: until then reclaim could take
 * the last entry of either, and the table with it, if tables go when they are empty.
 */
function copyThere(kernel: Kernel, copy: Copy, first: Vpn, end: Vpn): Vpn {
  const { tables } = kernel;
  const from = tables.tableAt(copy.parent.mm, first, LEAF);
  if (from === NO_TABLE) return end;
  const to = tables.tryEnsureLeaf(copy.child.mm, first);
  if (to === NO_TABLE) return first;
  if ((copy.parent.flags & VM_RAW) !== 0) return copyRawLeaf(kernel, copy, from, to, { first, end });
  return copyLeaf(kernel, copy, from, to, first, end);
}

/**
 * Copies entries of one leaf table into another, until the reverse map has no memory; the page after the last. Requires: the
 * locks of both are held.
 */
export function copyLeaf(kernel: Kernel, { child, parent }: Copy, from: Pfn, to: Pfn, first: Vpn, end: Vpn): Vpn {
  const { tables, entries, frames, reverseMap, zeroFrame, counters } = kernel;
  const source = tables.openSecond(from);
  const target = tables.open(to);
  const isCow = isCopyOnWrite(parent.flags);
  const dropped = (parent.flags & VM_SHARED) !== 0 ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
  const { resident } = child.mm;
  const targetSlot = entries.slotOf(target, 0);
  const firstIndex = tables.indexAt(first, LEAF);
  const endIndex = firstIndex + (end - first);
  let copied = 0;
  let index = firstIndex;
  for (; index < endIndex; index++) {
    const low = entries.low(source, index);
    const high = entries.high(source, index);
    if ((low | high) === 0) continue;
    const isPresent = (low & PTE_PRESENT) !== 0;
    let flags = isPresent ? presentFlags(low, high) : entries.flags(source, index);
    if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) {
      copyAbsent(kernel, child, source, target, index);
      copied++;
      continue;
    }
    const frame = isPresent ? presentFrame(low, high) : entries.frame(source, index);
    if (frame !== zeroFrame) {
      if (reverseMap.add(frame, targetSlot + index, child) < 0) break;
      const head = frames.head(frame);
      frames.refs.add(head, 1);
      const state = frames.flags.read(head);
      if ((state & PG_ANON) !== 0) {
        resident.anon++;
        if ((state & PG_EXCLUSIVE) !== 0) frames.flags.write(head, state & ~PG_EXCLUSIVE);
      } else if ((state & PG_SWAPBACKED) !== 0) resident.shmem++;
      else resident.file++;
    }
    if (isCow && (flags & PTE_WRITE) !== 0) {
      flags &= ~PTE_WRITE;
      entries.set(source, index, frame, flags);
      counters.ptesWriteProtected++;
    }
    entries.set(target, index, frame, flags & ~dropped);
    copied++;
  }
  tables.close(target);
  tables.closeSecond(source);
  counters.ptesCopied += copied;
  if (copied > 0) kernel.events.record(EVENT_COPY, parent.mm.id, first, copied, -1, 0, child.mm.id);
  return first + (index - firstIndex);
}

/** The child names the same place in swap, or in its file, as the parent: neither is alone in that any more. */
function copyAbsent(kernel: Kernel, child: Vma, source: OpenTable, target: OpenTable, index: number): void {
  const { entries, swap } = kernel;
  if (entries.flags(source, index) === PTE_SWAP) {
    if (entries.isSwapExclusive(source, index)) entries.clearSwapExclusive(source, index);
    swap.duplicate(slotOfEntry(kernel, source, index));
    child.mm.resident.swap++;
  }
  entries.copy(source, index, target, index);
}

/** The flags that the low word of a present entry holds as they are. */
const IN_PLACE = PTE_NO_EXECUTE - 1;

/** The flags of an entry whose words are at hand already. */
const presentFlags = (low: number, high: number): number =>
  (low & IN_PLACE) | (forbidsFetch(high) ? PTE_NO_EXECUTE : 0);
