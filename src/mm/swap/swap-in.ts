/**
 * Pages on their way back from swap. What lies around a slot on the disk probably left memory with it, so that an aligned
 * block of slots is read with it, in one go. Each page is put in the swap cache, locked, before it is read: whoever wants
 * it meanwhile finds it there and waits for its lock, and nobody reads it twice.
 *
 *     slots   8 9 10 11 12 13 14 15      page 10 is wanted: 8 to 15 are read, up to the first slot that is free;
 *             x x x  x  x  .  x  x       13 is, so 8 to 12 it is
 *
 * @models linux-2.6.11 mm/memory.c swapin_readahead; mm/swapfile.c valid_swaphandles; mm/swap_state.c read_swap_cache_async
 * @differs the wanted page gets its frame before its neighbours; 2.6.11 takes them in the order of their slots
 * @differs pages that come in are inactive, and active once they are found in use; 2.6.11 has them active from the start
 * @differs 6.1 sizes its window by how many pages read ahead were used, and passes over free slots
 */
import { ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { Pfn, SwapSlot } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { MEMORY } from "../address-space.ts";
import { WANT_USER } from "../allocator.ts";
import { NO_FRAME, PG_SWAPBACKED, PG_SWAPCACHE, PG_UPTODATE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import { OWNER_USER } from "../zone.ts";
import { enterSwapCache, swapDone } from "./swap-cache.ts";

/**
 * Reads the page of `slot` and its neighbours into the swap cache: its frame, with a reference for the caller; NO_FRAME if
 * nobody uses the slot any more, or -ENOMEM.
 */
export function* readSwap(kernel: Kernel, slot: SwapSlot): Path<number> {
  const { swap, frames } = kernel;
  const reading: Pfn[] = [];
  // The wanted page first: a neighbour in the last free frame would be freed for it, and read again, for ever.
  const begun = yield* beginRead(kernel, slot, reading);
  if (begun < 0) return begun;
  for (const near of swap.blockAround(slot)) if ((yield* beginRead(kernel, near, reading)) < 0) break;
  const wanted = swap.find(slot);
  if (wanted !== NOT_CACHED) frames.addReference(wanted);
  if (reading.length > 0) yield swapDone;
  for (const frame of reading) endRead(kernel, frame);
  swap.costs.readRequests += runsOf(reading.map((frame) => frames.swapSlot.read(frame)));
  for (const frame of reading) kernel.allocator.release(frame);
  return wanted === NOT_CACHED ? NO_FRAME : wanted;
}

/** A frame for the slot is in the swap cache, locked, and in `reading` with a reference; unless it was cached, or free. */
function* beginRead(kernel: Kernel, slot: SwapSlot, reading: Pfn[]): Path<number> {
  const { swap, allocator, frames } = kernel;
  if (!isWanted(kernel, slot)) return 0;
  let frame = allocator.tryAllocate(0, WANT_USER, OWNER_USER);
  if (frame === NO_FRAME) frame = yield* allocator.allocate(0, WANT_USER, OWNER_USER);
  if (frame < 0) return -ENOMEM;
  frames.setFlag(frame, PG_SWAPBACKED);
  for (let failures = 1; isWanted(kernel, slot) && enterSwapCache(kernel, frame, slot) < 0; failures++) {
    if (yield* allocator.waitForMemory(failures)) continue;
    allocator.free(frame, 0);
    return -ENOMEM;
  }
  if (!frames.has(frame, PG_SWAPCACHE)) {
    allocator.free(frame, 0);
    return 0;
  }
  tryLockPage(kernel, frame);
  swap.duplicate(slot);
  kernel.reclaim.adopt(frame);
  reading.push(frame);
  return 0;
}

/** Whether somebody uses the slot and its page is not in memory. */
function isWanted({ swap, current }: Kernel, slot: SwapSlot): boolean {
  current.task.watch?.touch(MEMORY, "read");
  return swap.find(slot) === NOT_CACHED && swap.usersOf(slot) > 0;
}

function endRead(kernel: Kernel, frame: Pfn): void {
  const { swap, frames } = kernel;
  if (!swap.contents.has(frames.swapSlot.read(frame))) bug(`nobody wrote swap slot ${frames.swapSlot.read(frame)}`);
  swap.contents.load(frames.swapSlot.read(frame), frame);
  swap.costs.pagesIn += swap.slotPages;
  frames.setFlag(frame, PG_UPTODATE);
  unlockPage(kernel, frame);
}

/** How many requests read these slots: one for each run of neighbours. */
const runsOf = (slots: readonly SwapSlot[]): number => slots.filter((slot) => !slots.includes(slot - 1)).length;
