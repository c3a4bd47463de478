/**
 * Orphans: pages that have left their file while somebody maps them. Whoever does goes on reading and writing them; what he
 * writes goes nowhere. Nobody can find them but through the entries that map them, so they are off the page lists: no
 * kernel from 2.6.6 on can reclaim them. With its last entry an orphan is freed.
 *
 * @differs with reverse maps that chain, 2.5 and 2.6.0 could still swap an orphan out as if it were anonymous
 */
import type { FileIndex, Pfn } from "../../base/units.ts";
import type { FileObject } from "../file.ts";
import { leaveCache } from "../file-pages.ts";
import { PG_LRU } from "../frames.ts";
import type { Kernel } from "../kernel.ts";

/** Takes a page out of the cache that somebody maps. `marks`: PG_ORPHAN, or nothing if nobody is to know. */
export function orphanPage(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn, marks: number): void {
  const { frames, reclaim, counters } = kernel;
  if (frames.has(frame, PG_LRU)) reclaim.forget(frame);
  frames.setFlag(frame, marks);
  counters.pagesOrphaned++;
  leaveCache(kernel, file, index, frame);
}
