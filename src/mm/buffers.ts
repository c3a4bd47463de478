/**
 * Buffer heads: kernels of the time kept one for each block of a file that was written, in lowmem, from the first write of
 * the page until it leaves the cache. So gigabytes of files cached in highmem pin lowmem, which no reclaim of lowmem's own
 * pages gives back: only those pages' leaving does. (The nodes of the page cache's tree do the same.)
 *
 *     file 1 GiB in highmem: 262,144 pages x 48 bytes = 12 MiB of lowmem, and 1.1 MiB of tree nodes
 *
 * @models linux-2.6.11 fs/buffer.c create_empty_buffers, block_prepare_write, drop_buffers
 * @differs a block is a page; a buffer head takes no reference to its page; pages that are only read or mapped have none,
 *          as with mpage; there is no limit of a tenth of lowmem from which on clean pages are stripped of theirs
 */
import type { Pfn } from "../base/units.ts";
import { PG_PRIVATE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";

/** The page of a regular file has a buffer head from now on, where kernels need one. 0 or -ENOMEM. */
export function attachBuffers({ slabs, frames }: Kernel, frame: Pfn): number {
  const { bufferHeads } = slabs;
  if (bufferHeads === null || frames.has(frame, PG_PRIVATE)) return 0;
  const result = bufferHeads.allocate();
  if (result === 0) frames.setFlag(frame, PG_PRIVATE);
  return result;
}

/** The page leaves its cache. */
export function dropBuffers({ slabs, frames }: Kernel, frame: Pfn): void {
  if (!frames.has(frame, PG_PRIVATE)) return;
  frames.clearFlag(frame, PG_PRIVATE);
  slabs.bufferHeads!.free();
}
