/** Reading an open file through the page cache. */
import { EBADF, EINVAL } from "../base/errno.ts";
import { type FileIndex, PAGE_SIZE, type Pfn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { readHuge } from "./bigpages/huge-read.ts";
import type { OpenFile } from "./file.ts";
import { lengthOf } from "./file-io.ts";
import { readPages } from "./file-pages.ts";
import { PG_LOCKED, PG_UPTODATE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { NOT_CACHED } from "./page-cache.ts";
import { pageLock } from "./page-lock.ts";
import { readSegment } from "./pfnmap/segment-files.ts";
import { readWindow } from "./readahead.ts";
import { shmemIn } from "./swap/shmem-swap.ts";
import { NO_SWAP_SLOT } from "./swap/swap.ts";

/**
 * Reads into `bytes`, or only touches the cache where `bytes` is a length. The bytes read, 0 at the end of the file; or
 * -EBADF, -EINVAL, -ENOMEM.
 *
 * @models linux-6.1 mm/shmem.c shmem_file_read_iter; mm/filemap.c filemap_read
 */
export function* readFile(
  kernel: Kernel,
  open: OpenFile | null,
  bytes: Uint8Array | number,
  offset: number,
): Path<number> {
  if (open === null || !open.readable) return -EBADF;
  if (offset < 0) return -EINVAL;
  const { file } = open;
  if (file.huge !== null) return yield* readHuge(kernel, file, bytes, offset);
  if (file.raw !== null) return file.kind === "device" ? -EINVAL : readSegment(kernel, file, bytes, offset);
  const length = Math.min(lengthOf(bytes), file.sizeBytes - offset);
  let done = 0;
  while (done < length) {
    const at = offset + done;
    const index = Math.floor(at / PAGE_SIZE);
    const inPage = at - index * PAGE_SIZE;
    const count = Math.min(PAGE_SIZE - inPage, length - done);
    const frame = yield* pageForRead(kernel, open, index, Math.ceil((offset + length) / PAGE_SIZE));
    if (frame < NOT_CACHED) return done > 0 ? done : frame;
    if (frame !== NOT_CACHED && index !== open.lastRead) kernel.reclaim.touched(kernel.frames.head(frame));
    open.lastRead = index;
    if (typeof bytes !== "number") {
      const into = bytes.subarray(done, done + count);
      if (frame === NOT_CACHED) into.fill(0);
      else yield* readOut(kernel, frame, inPage, into);
    }
    done += count;
  }
  return done;
}

/** Reads from a page, through a window if it is in highmem; it stays what it is meanwhile. */
function* readOut(kernel: Kernel, frame: Pfn, inPage: number, into: Uint8Array): Path<void> {
  const { contents, frames, allocator } = kernel;
  const head = frames.head(frame);
  frames.addReference(head);
  const wait = contents.hold(frame);
  if (wait !== undefined) yield* wait;
  contents.read(frame, inPage, into);
  contents.release(frame);
  allocator.release(head);
}

/** The frame to read page `index` from, NOT_CACHED for a hole that reads as zeros, or -ENOMEM. */
function* pageForRead(kernel: Kernel, open: OpenFile, index: FileIndex, end: FileIndex): Path<number> {
  const { frames } = kernel;
  const { file } = open;
  for (;;) {
    const frame = file.pages.find(index);
    if (frame !== NOT_CACHED) {
      const head = frames.head(frame);
      if (!frames.has(head, PG_LOCKED)) return frames.has(head, PG_UPTODATE) ? frame : NOT_CACHED;
      yield pageLock(kernel, head);
      continue;
    }
    if (file.kind === "shmem") {
      if (file.swapped.find(index) === NO_SWAP_SLOT) return NOT_CACHED;
      const brought = yield* shmemIn(kernel, file, index, { major: false });
      if (brought < 0) return brought;
      continue;
    }
    const window = readWindow(kernel.tunables, open.readahead, index, Math.max(end, index + 1));
    const result = yield* readPages(kernel, file, index, window.first, window.end);
    if (result < 0) return result;
  }
}
