/**
 * The last two steps of a page that nobody maps any more, whatever strategy found it: what it holds is written to where
 * it belongs, and once that is done, and nobody but its cache has it, it leaves the cache and is free. A page that
 * somebody wants meanwhile simply stays.
 *
 * @models linux-2.6.11 mm/vmscan.c pageout, shrink_list (the part after keep_locked's checks)
 */
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { dropPage } from "../file-pages.ts";
import { PG_DIRTY, PG_SWAPCACHE, PG_WRITEBACK } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { unlockPage } from "../page-lock.ts";
import { writeShmem } from "../swap/shmem-swap.ts";
import { removeFromSwapCache, writeSwap } from "../swap/swap-cache.ts";
import { writePageOut } from "../writeback.ts";
import { fileOf, isCached } from "./page-place.ts";

/**
 * Writes a dirty page to its slot or to its file; whether it was written. It may be dirty again afterwards. Requires: it
 * is locked, and is not afterwards; nobody maps it; the caller has a reference.
 */
export function* writeOut(kernel: Kernel, frame: Pfn): Path<boolean> {
  const { frames, reclaim } = kernel;
  const file = fileOf(kernel, frame);
  if (file?.kind === "shmem" && writeShmem(kernel, file, frame) < 0) {
    unlockPage(kernel, frame);
    return false;
  }
  if (frames.has(frame, PG_SWAPCACHE)) {
    yield* writeSwap(kernel, frame);
    reclaim.costs.pagesSwapped++;
    return true;
  }
  unlockPage(kernel, frame);
  if (file === null) return false;
  const written = yield* writePageOut(kernel, file, frames.index.read(frame), frame);
  if (written) reclaim.costs.pagesWritten++;
  return written;
}

/**
 * Takes a page out of its cache if that is all that keeps it beside the caller's reference, which then is the last one;
 * whether it did. A page that is dirty, or being written, stays. Requires: it is locked.
 */
export function freeUnused(kernel: Kernel, frame: Pfn): boolean {
  const { frames, files } = kernel;
  const state = frames.flags.read(frame);
  if (frames.mapCount.read(frame) !== 0 || (state & PG_WRITEBACK) !== 0) return false;
  const inCache = isCached(frames, frame);
  if (frames.refs.read(frame) !== (inCache ? 2 : 1)) return false;
  // What is in no cache is nobody's any more.
  if (!inCache) return true;
  if ((state & PG_DIRTY) !== 0) return false;
  if ((state & PG_SWAPCACHE) !== 0) removeFromSwapCache(kernel, frame);
  else dropPage(kernel, files.byId(frames.mapping.read(frame)), frames.index.read(frame), frame);
  return true;
}
