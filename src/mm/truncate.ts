/**
 * Shrinking files: truncation takes everything from an offset on, a punched hole takes a range. Either way the size changes
 * and is counted (`truncations`), the entries that map the pages go, and the pages leave the cache, in this order: whoever
 * has found a page before the count, and maps it after, can tell. What remains of a page that is cut is filled with zeros.
 *
 *     truncate to b      | page | page |..b    |  gone |  gone |      copies that private areas made go too (SIGBUS)
 *     punch [a, b)       | ..a  | gone | gone  |  b..  |              copies stay
 *
 * @models linux-6.1 mm/shmem.c shmem_setattr, shmem_undo_range; mm/truncate.c truncate_pagecache
 */
import { ENOMEM } from "../base/errno.ts";
import { type FileIndex, PAGE_SIZE } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import type { FileObject } from "./file.ts";
import { readPages, setDirty } from "./file-pages.ts";
import { PG_LOCKED, PG_UPTODATE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { NOT_CACHED } from "./page-cache.ts";
import { pageLock } from "./page-lock.ts";
import { dropSwapped, shmemIn } from "./swap/shmem-swap.ts";
import { NO_SWAP_SLOT } from "./swap/swap.ts";
import { alignDown, alignUp } from "./words.ts";

const TO_THE_END = Number.POSITIVE_INFINITY;

/** 0, or -ENOMEM if a greater size may not be promised. Requires: the file's lock is held. */
export function* truncateFile(kernel: Kernel, file: FileObject, sizeBytes: number): Path<number> {
  const oldBytes = file.sizeBytes;
  const oldEnd = file.reach;
  const end = file.reachOf(sizeBytes);
  if (file.promise === "size") {
    if (end > oldEnd && kernel.commitment.charge(end - oldEnd, null) < 0) return -ENOMEM;
    if (end < oldEnd) kernel.commitment.uncharge(oldEnd - end);
  }
  file.sizeBytes = sizeBytes;
  if (sizeBytes > oldBytes) return 0;
  const shorter = oldBytes > end * PAGE_SIZE;
  file.truncations++;
  if (shorter) yield* kernel.nonlinear.truncation.unmap(kernel, file, { first: end, end: TO_THE_END, cows: "all" });
  yield* cutPages(kernel, file, sizeBytes, TO_THE_END);
  return 0;
}

/**
 * Bytes `[from, to)` read as zero from now on, and whole pages among them are freed. 0 or -ENOMEM. Requires: the file's
 * lock is held.
 *
 * A hole that ends inside the file's first page unmaps all that follows: Linux computes its last byte as -1.
 *
 * @models linux-6.1 mm/shmem.c shmem_fallocate
 */
export function* punchFile(kernel: Kernel, file: FileObject, from: number, to: number): Path<number> {
  const { layout } = kernel;
  const first = alignUp(layout, from) / PAGE_SIZE;
  const end = alignDown(layout, to) / PAGE_SIZE;
  const unmapEnd = end === 0 ? TO_THE_END : end;
  file.truncations++;
  const { truncation } = kernel.nonlinear;
  if (unmapEnd > first) yield* truncation.unmap(kernel, file, { first, end: unmapEnd, cows: "shared" });
  return yield* cutPages(kernel, file, from, to);
}

/** Drops the whole pages of `[from, to)` and zeroes what it holds of others. */
function* cutPages(kernel: Kernel, file: FileObject, from: number, to: number): Path<number> {
  const first = Math.ceil(from / PAGE_SIZE);
  const end = Math.floor(to / PAGE_SIZE);
  let result = 0;
  if (end > first) {
    // Of pages of the cache those go that lie in the range whole.
    const firstWhole = Math.ceil(first / file.softFrames) * file.softFrames;
    const wholeEnd = Math.floor(end / file.softFrames) * file.softFrames;
    if (wholeEnd > firstWhole) {
      yield* kernel.nonlinear.truncation.drop(kernel, file, firstWhole, wholeEnd);
      dropSwapped(kernel, file, firstWhole, wholeEnd);
    }
    file.disk.punch(first, end);
    result = yield* cutParts(kernel, file, first, Math.min(firstWhole, end));
    if (result === 0 && end < TO_THE_END) result = yield* cutParts(kernel, file, Math.max(wholeEnd, firstWhole), end);
  }
  if (from % PAGE_SIZE !== 0) {
    const head = yield* zeroPart(kernel, file, Math.floor(from / PAGE_SIZE), from, to);
    if (head < 0) result = head;
  }
  if (to !== TO_THE_END && to % PAGE_SIZE !== 0 && end >= first) {
    const tail = yield* zeroPart(kernel, file, end, from, to);
    if (tail < 0) result = tail;
  }
  return result;
}

/** Zeroes the pages of 4 KiB `[first, end)`, parts of a page that the file keeps: 0 or -ENOMEM. */
function* cutParts(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<number> {
  const { truncation } = kernel.nonlinear;
  if (end > first && truncation.dropParts !== undefined) yield* truncation.dropParts(kernel, file, first, end);
  for (let index = first; index < end; index++) {
    const result = yield* zeroPart(kernel, file, index, index * PAGE_SIZE, (index + 1) * PAGE_SIZE);
    if (result < 0) return result;
  }
  return 0;
}

/** Zeroes what page `index` holds of the bytes `[from, to)`, bringing it in first if it is on disk or in swap. */
function* zeroPart(kernel: Kernel, file: FileObject, index: FileIndex, from: number, to: number): Path<number> {
  const result = yield* bringIn(kernel, file, index);
  if (result < 0) return result;
  const frame = file.pages.find(index);
  if (frame === NOT_CACHED || !kernel.frames.has(kernel.frames.head(frame), PG_UPTODATE)) return 0;
  const start = index * PAGE_SIZE;
  kernel.contents.zeroPart(frame, Math.max(0, from - start), Math.min(PAGE_SIZE, to - start));
  setDirty(kernel, file, index, kernel.frames.head(frame));
  return 0;
}

/** What the file has of page `index` is in the cache, and nobody is filling it: 0, also if it has nothing; or -ENOMEM. */
function* bringIn(kernel: Kernel, file: FileObject, index: FileIndex): Path<number> {
  for (;;) {
    const frame = file.pages.find(index);
    let result = 0;
    if (frame !== NOT_CACHED) {
      const head = kernel.frames.head(frame);
      if (!kernel.frames.has(head, PG_LOCKED)) return 0;
      yield pageLock(kernel, head);
    } else if (file.swapped.find(index) !== NO_SWAP_SLOT) {
      result = yield* shmemIn(kernel, file, index, { major: false });
    } else if (file.kind === "regular" && index < file.endIndex && file.disk.has(index)) {
      result = yield* readPages(kernel, file, index, index, index + 1);
    } else return 0;
    if (result < 0) return result;
  }
}
