/**
 * The swap cache: frames that have a swap slot. The cache holds a reference to each, and is one user of its slot. A page
 * enters it before its entries are replaced by the slot's name, and leaves it when it is freed, or when somebody has it
 * for himself and wants to write to it.
 *
 * All of this requires the page's lock.
 *
 * @models linux-2.6.11 mm/swap_state.c add_to_swap, __add_to_swap_cache, delete_from_swap_cache
 * @models linux-2.6.11 mm/swapfile.c remove_exclusive_swap_page, free_swap_and_cache
 * @models linux-2.6.11 mm/page_io.c swap_writepage
 */

import { ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { Pfn, SwapSlot } from "../../base/units.ts";
import type { OpenTable } from "../../hw/pte.ts";
import type { Path, Wait } from "../../sync/path.ts";
import { type AddressSpace, MEMORY } from "../address-space.ts";
import { PG_DIRTY, PG_EXCLUSIVE, PG_LOCKED, PG_SWAPCACHE, PG_UPTODATE, PG_WRITEBACK } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import { countSwapEntry } from "../tables/sharing/shared-entries.ts";
import type { Vma } from "../vma.ts";
import { NO_SWAP_SLOT } from "./swap.ts";

/** Gives the page a slot, and puts it in the swap cache: 0; or -ENOMEM if swap or memory is full, with nothing changed. */
export function addToSwap(kernel: Kernel, frame: Pfn): number {
  const { swap, frames } = kernel;
  if (!frames.has(frame, PG_LOCKED | PG_UPTODATE)) bug(`frame ${frame} goes to swap, and is not locked and up to date`);
  const slot = swap.allocate();
  if (slot === NO_SWAP_SLOT) return -ENOMEM;
  if (enterSwapCache(kernel, frame, slot) < 0) {
    swap.release(slot);
    return -ENOMEM;
  }
  frames.setFlag(frame, PG_DIRTY);
  return 0;
}

/** The swap cache has `frame` for `slot` from now on; one of the slot's users is the cache's. 0 or -ENOMEM. */
export function enterSwapCache(kernel: Kernel, frame: Pfn, slot: SwapSlot): number {
  const { swap, frames, current } = kernel;
  if (frames.has(frame, PG_SWAPCACHE)) bug(`frame ${frame} is in the swap cache already`);
  current.task.watch?.touch(MEMORY, "write");
  if (swap.insert(slot, frame) < 0) return -ENOMEM;
  frames.addReference(frame);
  frames.setFlag(frame, PG_SWAPCACHE);
  frames.swapSlot.write(frame, slot);
  return 0;
}

/**
 * The page leaves the swap cache, and the cache's use of its slot ends; so does the cache's reference. Whoever keeps the
 * page marks it dirty: its slot may be gone.
 */
export function removeFromSwapCache(kernel: Kernel, frame: Pfn): void {
  const { swap, frames, allocator } = kernel;
  if (!frames.has(frame, PG_SWAPCACHE | PG_LOCKED)) bug(`frame ${frame} is not in the swap cache, or not locked`);
  const slot = frames.swapSlot.read(frame);
  swap.remove(slot);
  frames.clearFlag(frame, PG_SWAPCACHE);
  frames.swapSlot.write(frame, NO_SWAP_SLOT);
  swap.release(slot);
  allocator.release(frame);
}

/**
 * Takes a page out of the swap cache if nobody else uses its slot; whether it did. Requires: it is locked and in the cache.
 *
 * @models linux-6.1 mm/swapfile.c folio_free_swap
 * @differs 2.6.11 keeps the slot of a page that several entries map
 */
export function giveSlotBack(kernel: Kernel, frame: Pfn): boolean {
  const { swap, frames } = kernel;
  if (frames.has(frame, PG_WRITEBACK) || swap.usersOf(frames.swapSlot.read(frame)) !== 1) return false;
  removeFromSwapCache(kernel, frame);
  frames.setFlag(frame, PG_DIRTY);
  return true;
}

/** An entry that mapped the page is gone: if it was the last, and nobody else uses its slot, the slot is free. */
export function giveSlotBackIfUnmapped(kernel: Kernel, frame: Pfn): void {
  const { frames } = kernel;
  if (!frames.has(frame, PG_SWAPCACHE) || frames.mapCount.read(frame) !== 0 || !tryLockPage(kernel, frame)) return;
  giveSlotBack(kernel, frame);
  unlockPage(kernel, frame);
}

/** The entry, cleared and flushed already, names the slot of the page that it mapped. Requires: the swap cache has it. */
export function setSwapEntry(kernel: Kernel, mm: AddressSpace, table: OpenTable, index: number, frame: Pfn): void {
  const { swap, frames, entries } = kernel;
  const head = frames.head(frame);
  if (!frames.has(head, PG_SWAPCACHE)) bug(`frame ${frame} has no swap slot to be named`);
  const slot = frames.swapSlot.read(head);
  const { type, offset } = swap.placeOf(slot);
  swap.duplicate(slot);
  entries.setSwap(table, index, type, offset * swap.slotPages + frames.partOf(frame));
  if (frames.has(head, PG_EXCLUSIVE)) {
    frames.clearFlag(head, PG_EXCLUSIVE);
    // Of a page that is mapped in parts some may be shared by then, and others not: counts will tell.
    if (entries.marksExclusive && swap.slotPages === 1) entries.setSwapExclusive(table, index);
  }
  countSwapEntry(kernel, mm, table);
}

/** Clears an entry that names a slot, and gives up its use of that. */
export function clearSwapEntry(kernel: Kernel, vma: Vma, table: OpenTable, index: number): void {
  const slot = slotOfEntry(kernel, table, index);
  kernel.entries.clear(table, index);
  vma.mm.resident.swap--;
  freeSwapEntry(kernel, slot);
}

/** The slot that a swap entry names. */
export function slotOfEntry({ entries, swap }: Kernel, table: OpenTable, index: number): SwapSlot {
  return swap.slotAt(entries.swapType(table, index), Math.floor(entries.swapOffset(table, index) / swap.slotPages));
}

/** Which part of its slot's page a swap entry names. */
export function partOfEntry({ entries, swap }: Kernel, table: OpenTable, index: number): number {
  return entries.swapOffset(table, index) % swap.slotPages;
}

/**
 * An entry that named the slot is gone. If nobody but the swap cache is left, and nobody holds its page, that goes too. Needs
 * no lock.
 */
export function freeSwapEntry(kernel: Kernel, slot: SwapSlot): void {
  const { swap, frames } = kernel;
  if (swap.release(slot) !== 1) return;
  const frame = swap.find(slot);
  if (frame === NOT_CACHED || !tryLockPage(kernel, frame)) return;
  frames.addReference(frame);
  const isSpare = frames.refs.read(frame) === 2 || swap.isFull;
  if (isSpare && !frames.has(frame, PG_WRITEBACK)) {
    removeFromSwapCache(kernel, frame);
    frames.setFlag(frame, PG_DIRTY);
  }
  unlockPage(kernel, frame);
  kernel.allocator.release(frame);
}

/**
 * Writes a page of the swap cache to its slot. The page is unlocked as soon as the disk has been asked, and under writeback
 * until it answers: whoever wants it afterwards must lock it and look again. Requires: it is locked, dirty and unmapped,
 * and the caller has a reference.
 */
export function* writeSwap(kernel: Kernel, frame: Pfn): Path<void> {
  const { swap, frames, current } = kernel;
  if (!frames.has(frame, PG_SWAPCACHE | PG_LOCKED))
    bug(`frame ${frame} is written to swap, and has no slot or no lock`);
  frames.clearFlag(frame, PG_DIRTY);
  swap.contents.store(frames.swapSlot.read(frame), frame);
  swap.costs.pagesOut += swap.slotPages;
  swap.costs.writeRequests++;
  frames.setFlag(frame, PG_WRITEBACK);
  unlockPage(kernel, frame);
  yield swapDone;
  current.task.watch?.touch(MEMORY, "write");
  frames.clearFlag(frame, PG_WRITEBACK);
}

/** The model disk answers at once: what it costs is counted, not waited for. */
export const swapDone: Wait = { on: "the disk, for swap", ready: () => true };
