/**
 * Files of huge pages that shrink, get holes, or are filled: all in whole huge pages.
 *
 * @models linux-6.1 fs/hugetlbfs/inode.c hugetlb_vmtruncate, hugetlbfs_fallocate, hugetlbfs_punch_hole, hugetlbfs_zero_partial_page
 */
import { ENOMEM, ENOSPC } from "../../base/errno.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE } from "../fallocate-modes.ts";
import type { FileObject } from "../file.ts";
import { untilStill } from "../file-mappings.ts";
import { NO_FRAME } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { type HugeFile, putHuge } from "./huge-file.ts";
import { zeroHuge } from "./huge-pages.ts";

/** Bytes of one page of a file of huge pages. */
export const hugeBytes = ({ huge }: FileObject): number => huge!.pool.pages * PAGE_SIZE;

/** A new size, in whole huge pages. Requires: the file's lock is held. */
export function* truncateHuge(kernel: Kernel, file: FileObject, sizeBytes: number): Path<number> {
  const shrinks = sizeBytes < file.sizeBytes;
  file.sizeBytes = sizeBytes;
  if (shrinks) yield* cutHuge(kernel, file, sizeBytes / hugeBytes(file), Number.POSITIVE_INFINITY);
  return 0;
}

/**
 * Pages `[first, end)` of the file, counted in huge pages, go, from whoever maps them. Faults may map those of a hole again
 * until the file has lost them: it looks whether any has.
 */
function* cutHuge(kernel: Kernel, file: FileObject, first: number, end: number): Path<void> {
  const { frames } = kernel;
  const huge = file.huge!;
  file.truncations++;
  do yield* unmapHuge(kernel, file, first, end);
  while (isMapped(kernel, huge, first, end));
  for (const head of huge.cut(first, end)) putHuge(frames, huge.pool, head);
}

function* unmapHuge(kernel: Kernel, file: FileObject, first: number, end: number): Path<void> {
  const { mappings } = file;
  const from = first * file.huge!.pool.pages;
  const to = end * file.huge!.pool.pages;
  yield* untilStill(mappings, function* () {
    for (const vma of mappings.overlapping(from, to)) yield* kernel.bigPages.zapFile(kernel, vma, from, to);
  });
}

function isMapped({ frames }: Kernel, { pages }: HugeFile, first: number, end: number): boolean {
  let found = false;
  pages.forEach(first, end, (_at, head) => {
    found = frames.mapCount.read(head) > 0;
    return !found;
  });
  return found;
}

/** fallocate: a hole, or pages for a range. 0, -ENOSPC or -ENOMEM. Requires: the file's lock is held. */
export function* allocateHuge(
  kernel: Kernel,
  file: FileObject,
  mode: number,
  { offset, lengthBytes }: { readonly offset: number; readonly lengthBytes: number },
): Path<number> {
  const unit = hugeBytes(file);
  if ((mode & FALLOC_PUNCH_HOLE) !== 0) {
    yield* punchHuge(kernel, file, offset, offset + lengthBytes);
    return 0;
  }
  const first = Math.floor(offset / unit);
  const end = Math.ceil((offset + lengthBytes) / unit);
  const result = fill(kernel, file, first, end);
  if (result === 0 && (mode & FALLOC_KEEP_SIZE) === 0) file.sizeBytes = Math.max(file.sizeBytes, offset + lengthBytes);
  return result;
}

/** Whole huge pages of `[from, to)` go; of others the bytes become zero. */
function* punchHuge(kernel: Kernel, file: FileObject, from: number, to: number): Path<void> {
  const unit = hugeBytes(file);
  const first = Math.ceil(from / unit);
  const end = Math.floor(to / unit);
  yield* zeroPart(kernel, file, from, Math.min(to, first * unit));
  if (first < end) yield* cutHuge(kernel, file, first, end);
  if (first <= end) yield* zeroPart(kernel, file, end * unit, to);
}

/** Bytes `[from, to)` of one huge page become zero, if the file has the page. */
function* zeroPart({ contents }: Kernel, file: FileObject, from: number, to: number): Path<void> {
  const { pages, pool } = file.huge!;
  const head = from < to ? pages.find(Math.floor(from / hugeBytes(file))) : NOT_CACHED;
  if (head === NOT_CACHED) return;
  for (let at = from; at < to; ) {
    const inPage = at % PAGE_SIZE;
    const count = Math.min(PAGE_SIZE - inPage, to - at);
    const frame = head + (Math.floor(at / PAGE_SIZE) % pool.pages);
    const wait = contents.hold(frame);
    if (wait !== undefined) yield* wait;
    contents.write(frame, inPage, new Uint8Array(count));
    contents.release(frame);
    at += count;
  }
}

function fill(kernel: Kernel, file: FileObject, first: number, end: number): number {
  const { frames } = kernel;
  const huge = file.huge!;
  for (let at = first; at < end; at++) {
    if (huge.pages.find(at) !== NOT_CACHED) continue;
    const claim = huge.promised.has(at) ? "promised" : "unpromised";
    const head = huge.pool.take(claim);
    if (head === NO_FRAME) return -ENOSPC;
    if (huge.pages.insert(at, head) < 0) {
      huge.pool.untake(head, claim);
      return -ENOMEM;
    }
    zeroHuge(kernel, head, huge.pool);
    huge.promised.add(at);
    frames.mapping.write(head, file.id);
    frames.index.write(head, at);
  }
  return 0;
}
