/**
 * How pages that leave a file, by truncation or in a hole, are taken from those who map them. Page tables and the page
 * cache are two worlds with a lock each, so there is an order, and there are races:
 *
 *     the file's size changes -> unmap -> pages leave the cache -> what was mapped meanwhile
 *
 * A page that leaves the cache while an entry maps it is an orphan: its process goes on reading and writing what no file
 * has any more.
 */
import type { FileIndex, Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import type { Cows } from "../zap.ts";

/** Pages of a file. */
export interface FileRange {
  readonly first: FileIndex;
  readonly end: FileIndex;
  readonly cows: Cows;
}

export interface Truncation {
  /** Takes pages of the file from those who map them, before they leave the cache. Requires: the file's lock is held. */
  unmap(kernel: Kernel, file: FileObject, range: FileRange): Path<void>;
  /**
   * Takes the whole pages `[first, end)` out of the cache, whoever maps them by now. Requires: the file's lock is held,
   * and `unmap` is done.
   */
  drop(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void>;
  /**
   * Takes parts `[first, end)` of a page that the file keeps, one that is larger than 4 KiB, from those who map them, where
   * `unmap` may have left some; the page's other parts may go with them. Left out: `unmap` finds all. Requires: as `drop`.
   */
  dropParts?(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void>;
  /**
   * Whether a page that somebody has found in the file may be mapped, now that page_table_lock is held: truncation may
   * have taken it from the file meanwhile. What is mapped under the same lock, truncation will find.
   */
  mayMap(file: FileObject, found: FoundPage): boolean;
}

/** A page that was found in a file, and is kept by a reference since. */
export interface FoundPage {
  readonly index: FileIndex;
  readonly frame: Pfn;
  /** How often the file had been truncated when the search began. */
  readonly truncations: number;
}
