/**
 * Pages on their way out of a file's cache. Whoever reads, maps or writes out a page holds its lock: truncation waits for
 * it, page by page.
 *
 * @models linux-2.6.11 mm/truncate.c truncate_inode_pages, truncate_complete_page
 */
import type { FileIndex, Pfn } from "../../base/units.ts";
import type { Path, Wait } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import { dropPage } from "../file-pages.ts";
import { PG_LOCKED, PG_WRITEBACK } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { lockPage, unlockPage } from "../page-lock.ts";

/** Takes the whole pages `[first, end)` out of the cache, but for those that somebody maps; how many stayed. */
export function* dropUnmapped(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<number> {
  const { frames } = kernel;
  for (;;) {
    const busy: Pfn[] = [];
    let mapped = 0;
    file.pages.forEach(first, end, (index, frame) => {
      if ((frames.flags.read(frame) & BUSY) !== 0) busy.push(frame);
      else if (frames.mapCount.read(frame) !== 0) mapped++;
      else dropPage(kernel, file, index, frame);
      return true;
    });
    if (busy.length === 0) return mapped;
    for (const frame of busy) yield untilIdle(kernel, frame);
  }
}

/** Somebody fills, maps or writes the page. */
const BUSY = PG_LOCKED | PG_WRITEBACK;

const untilIdle = (kernel: Kernel, frame: Pfn): Wait => ({
  on: `frame ${frame}, which is locked or being written`,
  ready: () => (kernel.frames.flags.read(frame) & BUSY) === 0,
});

/** Visits each cached page that has a part in `[first, end)`, locked and idle, that is the file's when it is its turn. */
export function* eachLocked(
  kernel: Kernel,
  file: FileObject,
  first: FileIndex,
  end: FileIndex,
  visit: (index: FileIndex, frame: Pfn) => Path<void>,
): Path<void> {
  const { frames, allocator } = kernel;
  for (let index = nextCached(file, first, end); index < end; index = nextCached(file, index + file.softFrames, end)) {
    const frame = file.pages.find(index);
    if (frame === NOT_CACHED) continue;
    frames.addReference(frame);
    yield* lockPage(kernel, frame);
    if ((frames.flags.read(frame) & PG_WRITEBACK) !== 0) yield untilWritten(kernel, frame);
    if (file.pages.find(index) === frame) yield* visit(index, frame);
    unlockPage(kernel, frame);
    allocator.release(frame);
  }
}

const untilWritten = (kernel: Kernel, frame: Pfn): Wait => ({
  on: `frame ${frame}, which is being written`,
  ready: () => !kernel.frames.has(frame, PG_WRITEBACK),
});

/** The first index of `[first, end)` whose page is cached, or `end`. */
function nextCached(file: FileObject, first: FileIndex, end: FileIndex): FileIndex {
  let found = end;
  file.pages.forEach(first, end, (index) => {
    found = index;
    return false;
  });
  return found;
}
