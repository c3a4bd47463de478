/**
 * Taking pages out of page tables: the common end of munmap, exit, truncation and MADV_DONTNEED. Entries are cleared
 * one leaf table at a time; what they mapped goes through a gather, so that no frame is freed while a TLB still holds
 * it.
 *
 * @models linux-6.1 mm/memory.c unmap_vmas, zap_pte_range, zap_page_range_single, unmap_mapping_pages
 */
import { ENOMEM } from "../base/errno.ts";
import { bug } from "../base/errors.ts";
import type { FileIndex, Pfn, Vpn } from "../base/units.ts";
import {
  type Entries,
  type OpenTable,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_PRESENT,
  PTE_PROT_NONE,
  PTE_SWAP,
  presentFrame,
} from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { AddressSpace } from "./address-space.ts";
import { EVENT_ZAP } from "./events.ts";
import type { FileObject } from "./file.ts";
import { untilStill } from "./file-mappings.ts";
import { setFrameDirty } from "./file-pages.ts";
import { PG_ACTIVE, PG_ANON, PG_DIRTY, PG_LRU, PG_REFERENCED, PG_SWAPBACKED } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import type { FileRange } from "./nonlinear/truncation.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { zapRawLeaf } from "./pfnmap/raw-entries.ts";
import { clearSwapEntry } from "./swap/swap-cache.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { gatherEmptied } from "./tables/emptied.ts";
import { tellOthers } from "./tables/sharing/shared-entries.ts";
import { lockShared, unlockShared } from "./tables/sharing/shared-lock.ts";
import { isNeededOutside, leaveTable, ownEdges } from "./tables/sharing/unshare.ts";
import { freeWholeLeaves } from "./tables/whole-leaves.ts";
import { zapHuge } from "./thp/huge-areas.ts";
import { Gather } from "./tlb/gather.ts";
import { VM_BIG, VM_NONLINEAR, VM_RAW, VM_SEQ_READ, type Vma } from "./vma.ts";

/** Which pages go: all, or only those that are still the file's own (private copies stay). */
export type Cows = "all" | "shared";

/**
 * Unmaps areas that are off the set already, and frees the page tables that no neighbour uses: those between `floor`,
 * where the area below ends, and `ceiling`, where the area above starts.
 */
export function* unmapRegion(
  kernel: Kernel,
  mm: AddressSpace,
  vmas: readonly Vma[],
  floor: Vpn,
  ceiling: Vpn,
): Path<void> {
  const gather = new Gather(kernel, mm);
  mm.notePeaks();
  for (const vma of vmas) yield* zapPages(kernel, gather, vma, vma.start, vma.end, "all");
  const top = ceiling === 0 || ceiling >= kernel.layout.taskEnd ? Number.POSITIVE_INFINITY : ceiling;
  if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
  kernel.tableFreeing.afterUnmap(kernel, gather, mm, vmas, { floor, ceiling: top });
  unlockTables(kernel, mm);
  yield* gather.flush();
}

/** Takes the pages of `[first, end)`, all within `vma`, out of its page tables, which stay: 0 or -ENOMEM. */
export function* zapRange(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<number> {
  if ((yield* ownEdges(kernel, vma.mm, first, end)) < 0) return -ENOMEM;
  const gather = new Gather(kernel, vma.mm);
  vma.mm.notePeaks();
  yield* discardPages(kernel, gather, vma, first, end);
  yield* gather.flush();
  return 0;
}

/**
 * The same for a program that does not need the pages any more: some kernels free tables that get empty, too.
 *
 * @models linux-6.18 mm/madvise.c madvise_dontneed_single_vma
 */
export function* discardRange(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<number> {
  if ((yield* ownEdges(kernel, vma.mm, first, end)) < 0) return -ENOMEM;
  const gather = new Gather(kernel, vma.mm);
  vma.mm.notePeaks();
  yield* discardPages(kernel, gather, vma, first, end);
  if (kernel.personality.pages.dontNeedFrees === "empty-tables") {
    if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
    freeWholeLeaves(kernel, gather, vma.mm, first, end);
    unlockTables(kernel, vma.mm);
  }
  yield* gather.flush();
  return 0;
}

/** The pages go; where they were in a nonlinear area may be remembered. */
function* discardPages(kernel: Kernel, gather: Gather, vma: Vma, first: Vpn, end: Vpn): Path<void> {
  if ((vma.flags & VM_NONLINEAR) === 0) yield* zapPages(kernel, gather, vma, first, end, "all");
  else yield* kernel.nonlinear.discard(kernel, gather, vma, first, end);
}

/**
 * Unmaps pages `[firstIndex, endIndex)` of a file wherever linear areas map them. Areas may be split, copied and moved
 * while this waits for page tables: it looks at all of them again if any has.
 */
export function* unmapFileRange(
  kernel: Kernel,
  file: FileObject,
  firstIndex: FileIndex,
  endIndex: FileIndex,
  cows: Cows,
): Path<void> {
  const { mappings } = file;
  const range: FileRange = { first: firstIndex, end: endIndex, cows };
  yield* untilStill(mappings, function* () {
    for (const vma of mappings.overlapping(firstIndex, endIndex)) yield* unmapFromArea(kernel, vma, file, range);
  });
}

/** Unmaps the places of an area that belong to pages of the file, if the area still maps it. */
export function* unmapFromArea(kernel: Kernel, vma: Vma, file: FileObject, range: FileRange): Path<void> {
  const gather = new Gather(kernel, vma.mm);
  vma.mm.notePeaks();
  let next = range.first;
  while (next < range.end) {
    if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
    const left = { first: next, end: range.end, cows: range.cows };
    const page = kernel.tables.shared.exist ? firstOfFile(kernel, vma, file, left) : null;
    const shared = page === null ? null : yield* lockShared(kernel, vma.mm, page);
    // While that lock was waited for, the area could change.
    if (shared === null || firstOfFile(kernel, vma, file, left) === page)
      next = zapSomeOfFile(kernel, gather, vma, file, left);
    if (shared !== null) unlockShared(kernel, shared);
    unlockTables(kernel, vma.mm);
    if (gather.isFull) yield* gather.flush();
  }
  yield* gather.flush();
}

/**
 * Clears entries of the area's next leaf table that has pages of a range of the file; returns the index after them, or the
 * range's end. What the area is must be asked each time: until the lock was had it could shrink, move, or leave the file
 * (which it does before others can be mapped in its place, and before its address space's tables are gone).
 */
function zapSomeOfFile(kernel: Kernel, gather: Gather, vma: Vma, file: FileObject, range: FileRange): FileIndex {
  const first = firstOfFile(kernel, vma, file, range);
  if (first === null) return range.end;
  const toPage = vma.start - vma.fileIndex;
  const end = Math.min(range.end + toPage, vma.end);
  const done = zapTable(kernel, gather, vma, { first, end: kernel.tables.endOf(first, LEAF, end), cows: range.cows });
  return done < end ? done - toPage : range.end;
}

/** The first page of the area that has a leaf table, of those that belong to the range of the file; or null. */
function firstOfFile({ tables }: Kernel, vma: Vma, file: FileObject, range: FileRange): Vpn | null {
  if (!file.mappings.has(vma)) return null;
  const toPage = vma.start - vma.fileIndex;
  const end = Math.min(range.end + toPage, vma.end);
  const from = Math.max(range.first + toPage, vma.start);
  const first = from < end ? tables.nextLeaf(vma.mm, from, end) : end;
  return first < end ? first : null;
}

/** Clears the entries of `[first, end)`, leaf table by leaf table, into `gather`. */
export function* zapPages(kernel: Kernel, gather: Gather, vma: Vma, first: Vpn, end: Vpn, cows: Cows): Path<void> {
  if ((vma.flags & VM_BIG) !== 0) return yield* kernel.bigPages.zap(kernel, vma, first, end);
  const { tables } = kernel;
  const { mm } = vma;
  if (mm.reservedLeaves.length > 0) yield* zapHuge(kernel, gather, vma, first, end);
  let page = tables.nextLeaf(mm, first, end);
  while (page < end) {
    const stop = tables.endOf(page, LEAF, end);
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    const shared = tables.shared.exist ? yield* lockShared(kernel, mm, page) : null;
    let done = stop;
    // A guest of a file's table loses nothing that the file does not have.
    const isGuest = shared?.host != null;
    if (shared !== null && (isGuest || (cows === "all" && !isNeededOutside(kernel, mm, page, first, end)))) {
      yield* leaveTable(kernel, shared, mm, page);
    } else {
      if (shared?.readOnly === true) bug(`a part of shared table ${shared.frame} is to be unmapped for one place`);
      done = zapTable(kernel, gather, vma, { first: page, end: stop, cows });
    }
    if (shared !== null) unlockShared(kernel, shared);
    unlockTables(kernel, mm);
    if (gather.isFull) yield* gather.flush();
    page = done < stop ? done : tables.nextLeaf(mm, stop, end);
  }
}

interface LeafRange {
  /** Pages of one leaf table. */
  readonly first: Vpn;
  readonly end: Vpn;
  readonly cows: Cows;
}

/**
 * Clears entries in the leaf table of the range, if there is one still; returns the page after the last. Where others have
 * the table, theirs are cleared too.
 */
export function zapTable(kernel: Kernel, gather: Gather, vma: Vma, range: LeafRange): Vpn {
  const { tables } = kernel;
  const { mm } = vma;
  const table = tables.openLeaf(mm, range.first);
  if (table === NO_TABLE) return range.end;
  const shared = tables.shared.find(table);
  if (shared?.host != null && shared.isSharedFor(mm)) {
    // The file's own area has its entries cleared, once for all.
    tables.close(table);
    return range.end;
  }
  const before = shared === undefined ? mm.resident : { ...mm.resident };
  const zap = (vma.flags & VM_RAW) === 0 ? zapLeaf : zapRawLeaf;
  const done = zap(kernel, gather, vma, table, range);
  tables.close(table);
  if (shared !== undefined) tellOthers(kernel, shared, { mm, first: range.first, end: done }, before);
  gatherEmptied(kernel, gather, range.first);
  return done;
}

/** Clears entries of one leaf table until the range or the gather's room ends; returns the page after the last. */
function zapLeaf(kernel: Kernel, gather: Gather, vma: Vma, table: OpenTable, range: LeafRange): Vpn {
  const { entries, frames, reverseMap, zeroFrame, counters } = kernel;
  const { end } = range;
  const { resident } = vma.mm;
  const sparesCows = range.cows === "shared";
  const firstSlot = entries.slotOf(table, 0);
  const { userPages } = kernel.layout;
  let index = kernel.tables.indexAt(range.first, LEAF);
  let page = range.first;
  let zapped = 0;
  let from = page;
  let to = page;
  // What comes and goes whole is not left in parts, where others may run: the gather takes the rest of it.
  for (; page < end && !(gather.isFull && index % userPages === 0); page++, index++) {
    const low = entries.low(table, index);
    const high = entries.high(table, index);
    if ((low | high) === 0) {
      const next = entries.nextUsed(table, index, index + end - page);
      page += next - index - 1;
      index = next - 1;
      continue;
    }
    const isPresent = (low & PTE_PRESENT) !== 0;
    const flags = isPresent ? low : entries.flags(table, index);
    if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) {
      if (sparesCows) continue;
      clearAbsent(kernel, vma, table, index, flags);
      continue;
    }
    const frame = isPresent ? presentFrame(low, high) : entries.frame(table, index);
    if (frame !== zeroFrame) {
      const head = frames.head(frame);
      const state = frames.flags.read(head);
      const isAnonymous = (state & PG_ANON) !== 0;
      const inRun = isAnonymous
        ? !sparesCows && frames.softFrames === 1 && page + 1 < end && isNext(entries, table, index + 1, frame + 1)
        : frames.refs.isLined(head);
      if (isPresent && inRun) {
        const stop = zapRun(kernel, gather, vma, table, index, index + Math.min(end - page, gather.room));
        if (zapped === 0) from = page;
        zapped += stop - index;
        to = page + stop - index;
        page += stop - index - 1;
        index = stop - 1;
        continue;
      }
      if ((state & PG_ANON) !== 0) {
        if (sparesCows) continue;
        resident.anon--;
      } else {
        passOn(kernel, vma, head, flags);
        if ((state & PG_SWAPBACKED) !== 0) resident.shmem--;
        else resident.file--;
      }
      entries.clear(table, index);
      reverseMap.remove(frame, firstSlot + index, vma);
      gather.add(head);
    } else entries.clear(table, index);
    if (zapped++ === 0) from = page;
    to = page + 1;
  }
  if (zapped === 0) return page;
  gather.cover(from, to);
  counters.ptesZapped += zapped;
  kernel.events.record(EVENT_ZAP, vma.mm.id, range.first, zapped, -1, 0, 0);
  return page;
}

/**
 * Clears the present entries from `index` on that name consecutive pages of a file, alike in their flags, as far as they
 * lie before `end`: the same as one by one, where their counts are lines. Returns where the run ends.
 */
function zapRun(kernel: Kernel, gather: Gather, vma: Vma, table: OpenTable, index: number, end: number): number {
  const { entries, frames, reverseMap } = kernel;
  const { resident } = vma.mm;
  const first = entries.frame(table, index);
  const state = frames.flags.read(first);
  const limit = frames.flags.endOf(state, first, first + entries.endOfRun(table, index, end) - index);
  const flags = entries.flags(table, index);
  if ((state & PG_ANON) !== 0) resident.anon -= limit - first;
  else {
    if (!knowsAll(state, flags)) for (let frame = first; frame < limit; frame++) passOn(kernel, vma, frame, flags);
    if ((state & PG_SWAPBACKED) !== 0) resident.shmem -= limit - first;
    else resident.file -= limit - first;
  }
  const stop = index + limit - first;
  entries.clearRun(table, index, stop);
  reverseMap.removeRun(first, limit, entries.slotOf(table, index), vma);
  gather.addRun(first, limit);
  return stop;
}

/** Whether the entry maps `frame`. */
function isNext(entries: Entries, table: OpenTable, index: number, frame: Pfn): boolean {
  const low = entries.low(table, index);
  return (low & PTE_PRESENT) !== 0 && presentFrame(low, entries.high(table, index)) === frame;
}

/** Whether there is nothing to pass on to a page of that state: it is dirty and as much in use as can be already. */
const knowsAll = (state: number, flags: number): boolean =>
  (state & IN_USE) === IN_USE && ((flags & PTE_DIRTY) === 0 || (state & PG_DIRTY) !== 0);
const IN_USE = PG_LRU | PG_ACTIVE | PG_REFERENCED;

/** An entry that names a place in swap or in the area's file goes, and with it its use of the swap slot. */
function clearAbsent(kernel: Kernel, vma: Vma, table: OpenTable, index: number, flags: number): void {
  kernel.counters.ptesZapped++;
  if (flags === PTE_SWAP) clearSwapEntry(kernel, vma, table, index);
  else kernel.entries.clear(table, index);
}

/** A page of a file keeps what its entry knew of it. */
export function passOn(kernel: Kernel, vma: Vma, head: Pfn, flags: number): void {
  if ((flags & PTE_DIRTY) !== 0) setFrameDirty(kernel, vma.file, head);
  if ((flags & PTE_ACCESSED) === 0 || (vma.flags & VM_SEQ_READ) !== 0) return;
  kernel.reclaim.touched(head);
}
