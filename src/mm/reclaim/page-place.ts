/** Where a page belongs when it leaves memory: to a file, to a swap slot that it has or must get, or nowhere. */
import type { Pfn } from "../../base/units.ts";
import type { FileObject } from "../file.ts";
import { type Frames, PG_ANON, PG_SWAPBACKED, PG_SWAPCACHE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";

/** Whether it is a page of a file, and has not been cut off it. */
export const isInFile = (frames: Frames, frame: Pfn): boolean =>
  !frames.has(frame, PG_ANON) && frames.mapping.read(frame) !== 0;

/** The file that the page is cached for, or null. */
export const fileOf = ({ frames, files }: Kernel, frame: Pfn): FileObject | null =>
  isInFile(frames, frame) ? files.byId(frames.mapping.read(frame)) : null;

/** Whether the page is in a file's cache or in the swap cache (page->mapping of 2.4). */
export const isCached = (frames: Frames, frame: Pfn): boolean =>
  frames.has(frame, PG_SWAPCACHE) || isInFile(frames, frame);

/** Whether it is an anonymous page that has no place in swap yet, and whose contents count. */
export const needsSlot = (frames: Frames, frame: Pfn): boolean =>
  (frames.flags.read(frame) & (PG_ANON | PG_SWAPBACKED | PG_SWAPCACHE)) === (PG_ANON | PG_SWAPBACKED);
