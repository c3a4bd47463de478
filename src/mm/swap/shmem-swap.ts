/**
 * Pages of shmem files in swap. On its way out a page moves from the file's page cache to the swap cache, and the file
 * remembers its slot; from there it is written as any page of the swap cache is. On its way in it moves back, and its
 * slot is free. Its memory stays promised all the while.
 *
 *     page cache [index] = frame    --writeShmem-->    file.swapped [index] = slot,  swap cache [slot] = frame
 *                                   <--shmemIn-----
 *
 * @models linux-2.6.11 mm/shmem.c shmem_writepage, shmem_getpage, shmem_free_swp
 * @models linux-2.6.11 mm/swap_state.c move_to_swap_cache, move_from_swap_cache
 */
import { ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { FileIndex, Pfn, SwapSlot } from "../../base/units.ts";
import type { Path, Wait } from "../../sync/path.ts";
import { MEMORY } from "../address-space.ts";
import type { FileObject } from "../file.ts";
import { PG_DIRTY, PG_LOCKED, PG_SWAPCACHE, PG_WRITEBACK } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { lockPage, unlockPage } from "../page-lock.ts";
import { OWNER_PAGE_CACHE, OWNER_USER } from "../zone.ts";
import { NO_SWAP_SLOT } from "./swap.ts";
import { enterSwapCache, freeSwapEntry, removeFromSwapCache } from "./swap-cache.ts";
import { readSwap } from "./swap-in.ts";

/**
 * Moves a page of a shmem file to the swap cache, dirty: 0; or -ENOMEM if swap or memory is full, and it stays where it is.
 * Requires: it is locked, nobody maps it, and the caller has a reference.
 */
export function writeShmem(kernel: Kernel, file: FileObject, frame: Pfn): number {
  const { swap, frames, allocator } = kernel;
  const index = frames.index.read(frame);
  if (!frames.has(frame, PG_LOCKED) || frames.mapCount.read(frame) !== 0 || file.pages.find(index) !== frame) {
    bug(`page ${index} of ${file.name} goes to swap, and is mapped, not locked, or not there`);
  }
  const slot = swap.allocate();
  if (slot === NO_SWAP_SLOT) return -ENOMEM;
  if (enterSwapCache(kernel, frame, slot) < 0) {
    swap.release(slot);
    return -ENOMEM;
  }
  file.pages.remove(index);
  frames.mapping.write(frame, 0);
  allocator.reassign(frame, OWNER_USER);
  allocator.release(frame);
  swap.duplicate(slot);
  file.swapped.add(index, slot);
  frames.setFlag(frame, PG_DIRTY);
  return 0;
}

/** What bringing a page in took. */
interface Taken {
  /** Set when it had to be read from disk. */
  major: boolean;
}

/** Brings page `index`, which is in swap, back to the page cache: 0, also if somebody else has meanwhile; or -ENOMEM. */
export function* shmemIn(kernel: Kernel, file: FileObject, index: FileIndex, taken: Taken): Path<number> {
  const { swap, frames, allocator } = kernel;
  kernel.current.task.watch?.touch(MEMORY, "read");
  const slot = file.swapped.find(index);
  let frame = swap.find(slot);
  if (frame === NOT_CACHED) {
    frame = yield* readSwap(kernel, slot);
    if (frame < 0) return frame === -ENOMEM ? -ENOMEM : 0;
    taken.major = true;
  } else {
    swap.costs.cacheHits++;
    frames.addReference(frame);
  }
  yield* lockPage(kernel, frame);
  while (frames.has(frame, PG_WRITEBACK)) yield writtenBack(kernel, frame);
  const isSame = () => file.swapped.find(index) === slot && frames.has(frame, PG_SWAPCACHE);
  let result = 0;
  for (let failures = 1; ; failures++) {
    result = isSame() ? moveIn(kernel, file, index, frame, slot) : 0;
    if (result === 0 || !(yield* allocator.waitForMemory(failures))) break;
  }
  unlockPage(kernel, frame);
  allocator.release(frame);
  return result;
}

/** What a file has in swap of the pages `[first, end)` is gone. */
export function dropSwapped(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): void {
  const gone = file.swapped.within(first, end);
  for (const [index, slot] of gone) {
    file.swapped.remove(index);
    freeSwapEntry(kernel, slot);
  }
  if (file.promise === "pages") kernel.commitment.uncharge(gone.length * kernel.frames.softFrames);
}

/** From the swap cache to the page cache: 0 or -ENOMEM. */
function moveIn(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn, slot: SwapSlot): number {
  const { frames, allocator, swap } = kernel;
  const first = index - (index % frames.softFrames);
  if (file.pages.insert(first, frame) < 0) return -ENOMEM;
  frames.addReference(frame);
  removeFromSwapCache(kernel, frame);
  file.swapped.remove(index);
  swap.release(slot);
  frames.mapping.write(frame, file.id);
  frames.index.write(frame, first);
  allocator.reassign(frame, OWNER_PAGE_CACHE);
  frames.setFlag(frame, PG_DIRTY);
  file.pages.markDirty(index);
  return 0;
}

/** Waits until the page is written. */
const writtenBack = ({ frames }: Kernel, frame: Pfn): Wait => ({
  on: `the disk, for frame ${frame}`,
  ready: () => !frames.has(frame, PG_WRITEBACK),
});
