/**
 * PG_locked: while it is set, nobody else may change what the frame is (its file and index, its swap slot), map it as
 * something new, or write it out. It sleeps, and comes before page_table_lock; who holds a page_table_lock already may
 * only try.
 *
 *     mmap_sem -> PG_locked -> page_table_lock
 *
 * It is a bit and knows no owner; only while tasks are interleaved is it noted who has it.
 *
 * @models linux-2.6.11 mm/filemap.c lock_page, unlock_page
 */
import { bug } from "../base/errors.ts";
import type { Pfn } from "../base/units.ts";
import type { Lock } from "../sync/lock.ts";
import type { Path, Wait } from "../sync/path.ts";
import type { Taking } from "../sync/watch.ts";
import { MEMORY } from "./address-space.ts";
import { PG_LOCKED } from "./frames.ts";
import type { Kernel } from "./kernel.ts";

/** Locks the page if nobody has; whether it did (TestSetPageLocked). */
export function tryLockPage(kernel: Kernel, frame: Pfn): boolean {
  return take(kernel, frame, "tried");
}

/** Waits until the page is nobody's, and locks it. Requires: a reference keeps the frame, no spinlock is held. */
export function* lockPage(kernel: Kernel, frame: Pfn): Path<void> {
  while (!take(kernel, frame, "waited")) yield pageLock(kernel, frame);
}

export function unlockPage(kernel: Kernel, frame: Pfn): void {
  const { frames, current } = kernel;
  const { task } = current;
  if (!frames.has(frame, PG_LOCKED)) bug(`frame ${frame} is unlocked, and nobody locked it`);
  frames.clearFlag(frame, PG_LOCKED);
  if (task.watch === null) return;
  const lock = task.held.find(({ name }) => name === nameOf(frame)) ?? bug(`${task.name} unlocks another's ${frame}`);
  task.unhold(lock);
  task.watch.touch(MEMORY, "write");
  task.watch.released(task, lock);
}

/** Waits until whoever reads or writes the frame is done. */
export const pageLock = (kernel: Kernel, frame: Pfn): Wait => ({
  on: nameOf(frame),
  ready: () => !kernel.frames.has(frame, PG_LOCKED),
});

const nameOf = (frame: Pfn): string => `PG_locked of frame ${frame}`;

function take(kernel: Kernel, frame: Pfn, how: Taking): boolean {
  const { frames, current } = kernel;
  const { task } = current;
  task.watch?.touch(MEMORY, "write");
  if (frames.has(frame, PG_LOCKED)) return false;
  frames.setFlag(frame, PG_LOCKED);
  if (task.watch === null) return true;
  const lock: Lock = { name: nameOf(frame), family: "PG_locked" };
  task.hold(lock);
  task.watch.acquired(task, lock, how);
  return true;
}
