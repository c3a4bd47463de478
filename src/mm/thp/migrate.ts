/**
 * Moving one page to another frame: whoever maps it maps the new frame afterwards, and nobody who looks sees it at neither.
 * What nobody can find all users of stays where it is: pages that are locked, written, held by somebody, in the swap cache,
 * or parts of huge pages; tables, slabs and stacks of the kernel above all.
 *
 *     lock the page -> all page_table_locks (try) -> off its list -> clear entries, flush -> copy -> set entries -> unlock
 *                                                                                             -> on a list -> old frame free
 *
 * Between the flush's beginning and its end others run: the page's lock keeps faults and reclaim from it, and that it is on no
 * list keeps reclaim from taking it off one.
 *
 * @models linux-6.1 mm/migrate.c unmap_and_move, move_to_new_folio, folio_migrate_mapping, remove_migration_ptes
 * @differs page_table_locks are held meanwhile, where Linux leaves entries that say so (migration entries); pages in the swap
 *          cache are not moved
 */
import { bug } from "../../base/errors.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import {
  type Frames,
  PG_ACTIVE,
  PG_ANON,
  PG_LOCKED,
  PG_LRU,
  PG_MLOCKED,
  PG_ORPHAN,
  PG_PART,
  PG_PRIVATE,
  PG_RESERVED,
  PG_SWAPCACHE,
  PG_WRITEBACK,
} from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import type { Vma } from "../vma.ts";

/** Pages of these kinds stay. */
const STAYS = PG_LOCKED | PG_WRITEBACK | PG_SWAPCACHE | PG_PART | PG_ORPHAN | PG_MLOCKED | PG_PRIVATE | PG_RESERVED;

/** Whether the page could be moved now: it is on a list, and its entries and its file's cache are all that hold it. */
export function isMovable(frames: Frames, frame: Pfn): boolean {
  const state = frames.flags.read(frame);
  if ((state & PG_LRU) === 0 || (state & STAYS) !== 0) return false;
  const uses = frames.mapCount.read(frame) + ((state & PG_ANON) === 0 ? 1 : 0);
  return uses > 0 && frames.refs.read(frame) === uses;
}

/** One entry that maps the page, as it was, and its area, which may be cut, or leave its address space, meanwhile. */
interface Mapping {
  readonly slot: PteSlot;
  readonly flags: number;
  readonly vma: Vma;
}

/** What the page was before it was taken from all. */
interface Moving {
  /** PG_* bits. */
  readonly state: number;
  readonly mappings: readonly Mapping[];
}

/**
 * Moves the page to the free frame `to`, which is nobody's and has one reference; whether it did. The old frame is free
 * then, and `to` is the page; otherwise `to` is as it was. Requires: no spinlock is held.
 */
export function* migrate(kernel: Kernel, from: Pfn, to: Pfn): Path<boolean> {
  const { frames, counters, allocator } = kernel;
  if (!isMovable(frames, from) || !tryLockPage(kernel, from)) {
    counters.pgmigrateFail++;
    return false;
  }
  const spaces = lockSpaces(kernel, from);
  if (spaces === null) {
    unlockPage(kernel, from);
    counters.pgmigrateFail++;
    return false;
  }
  const mappings = clearAll(kernel, from);
  const state = frames.flags.read(from);
  kernel.reclaim.forget(from);
  if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
  move(kernel, from, to, { state, mappings });
  for (const mm of spaces) mm.pageTableLock.release(kernel.current.task);
  unlockPage(kernel, from);
  // The one reference that is left is that which the new frame brought with it.
  frames.mapping.write(from, 0);
  frames.refs.write(from, 1);
  allocator.release(from);
  counters.pgmigrateSuccess++;
  return true;
}

/** The address spaces that map the page, their page_table_locks held; or null, and none is. */
function lockSpaces(kernel: Kernel, frame: Pfn): Set<AddressSpace> | null {
  const { reverseMap, tables, frames, current } = kernel;
  const locked = new Set<AddressSpace>();
  let found = 0;
  let isFree = true;
  reverseMap.forEachKnown(frame, (slot) => {
    const mm = tables.mmOf(slot);
    found++;
    // An area that is being unmapped is off its address space already.
    isFree = mm.vmas.containing(tables.pageOf(slot)) !== null;
    if (isFree && !locked.has(mm)) {
      isFree = mm.pageTableLock.attempt(current.task);
      if (isFree) locked.add(mm);
    }
    return isFree;
  });
  if (isFree && found === frames.mapCount.read(frame)) return locked;
  for (const mm of locked) mm.pageTableLock.release(current.task);
  return null;
}

/** Takes the page out of all entries, which are to have the new frame; they are what they were otherwise. */
function clearAll(kernel: Kernel, frame: Pfn): Mapping[] {
  const { reverseMap, tables, entries, tlbFlush } = kernel;
  const slots: PteSlot[] = [];
  reverseMap.forEachKnown(frame, (slot) => slots.push(slot) > 0);
  return slots.map((slot) => {
    const table = tables.open(entries.tableOf(slot));
    const index = entries.indexOf(slot);
    const flags = entries.flags(table, index);
    entries.clear(table, index);
    tables.close(table);
    const mm = tables.mmOf(slot);
    const page = tables.pageOf(slot);
    tlbFlush.page(mm, page);
    return { slot, flags, vma: mm.vmas.containing(page)! };
  });
}

/** The contents, what is known of the page, and its place on the lists go to the new frame, and the entries name it. */
function move(kernel: Kernel, from: Pfn, to: Pfn, { state, mappings }: Moving): void {
  const { contents, frames, files, reclaim, reverseMap, tables, entries } = kernel;
  const isCached = (state & PG_ANON) === 0;
  const uses = mappings.length + (isCached ? 1 : 0);
  if (frames.refs.read(from) !== uses) bug(`frame ${from} is moved while somebody has taken it`);
  contents.copy(from, to);
  frames.flags.write(to, state & ~(PG_LRU | PG_ACTIVE | PG_LOCKED));
  frames.mapping.write(to, frames.mapping.read(from));
  frames.index.write(to, frames.index.read(from));
  frames.refs.write(to, uses);
  if (isCached) files.byId(frames.mapping.read(from)).pages.replace(frames.index.read(from), to);
  for (const { slot, flags, vma } of mappings) {
    reverseMap.remove(from, slot, vma);
    reverseMap.add(to, slot, vma);
    const table = tables.open(entries.tableOf(slot));
    entries.set(table, entries.indexOf(slot), to, flags);
    tables.close(table);
  }
  reclaim.adopt(to);
  if ((state & PG_ACTIVE) === 0) reclaim.deactivate(to);
}
