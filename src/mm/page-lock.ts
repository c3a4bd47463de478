/**
 * PG_locked: while it is set, nobody else may change what the frame is (its file and index, its swap slot), map it as
 * something new, or write it out. It sleeps, and comes before page_table_lock; who holds a page_table_lock already may
 * only try.
 *
 *     mmap_sem -> PG_locked -> page_table_lock
 *
 * @models linux-2.6.11 mm/filemap.c lock_page, unlock_page
 */
import { bug } from "../base/errors.ts";
import type { Pfn } from "../base/units.ts";
import type { Path, Wait } from "../sync/path.ts";
import { MEMORY } from "./address-space.ts";
import { PG_LOCKED } from "./frames.ts";
import type { Kernel } from "./kernel.ts";

/** Locks the page if nobody has; whether it did (TestSetPageLocked). */
export function tryLockPage(kernel: Kernel, frame: Pfn): boolean {
  const { frames, current } = kernel;
  current.task.watch?.touch(MEMORY, "write");
  if (frames.has(frame, PG_LOCKED)) return false;
  frames.setFlag(frame, PG_LOCKED);
  return true;
}

/** Waits until the page is nobody's, and locks it. Requires: a reference keeps the frame, no spinlock is held. */
export function* lockPage(kernel: Kernel, frame: Pfn): Path<void> {
  while (!tryLockPage(kernel, frame)) yield pageLock(kernel, frame);
}

export function unlockPage(kernel: Kernel, frame: Pfn): void {
  const { frames, current } = kernel;
  if (!frames.has(frame, PG_LOCKED)) bug(`frame ${frame} is unlocked, and nobody locked it`);
  current.task.watch?.touch(MEMORY, "write");
  frames.clearFlag(frame, PG_LOCKED);
}

/** Waits until whoever reads or writes the frame is done. */
export const pageLock = (kernel: Kernel, frame: Pfn): Wait => ({
  on: `PG_locked of frame ${frame}`,
  ready: () => !kernel.frames.has(frame, PG_LOCKED),
});
