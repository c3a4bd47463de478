/**
 * The calls that change open files, as paths: write, truncate, fallocate, fadvise, fsync. Bytes go through the page
 * cache, which mappings share, so that what one side writes the other reads.
 *
 * @models linux-6.1 fs/open.c vfs_fallocate, do_sys_ftruncate; mm/shmem.c; mm/filemap.c; mm/fadvise.c
 * @differs tmpfs has no size limit; no RLIMIT_FSIZE, seals or append-only files
 */
import { EBADF, EFBIG, EINVAL, ENOMEM, EOPNOTSUPP } from "../base/errno.ts";
import { type FileIndex, PAGE_SIZE, type Pfn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import type { Task } from "../sync/task.ts";
import { allocateHuge, hugeBytes, truncateHuge } from "./bigpages/huge-truncate.ts";
import { attachBuffers } from "./buffers.ts";
import { balanceDirty } from "./dirty-limits.ts";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE, FALLOC_ZERO_RANGE } from "./fallocate-modes.ts";
import type { FileObject, OpenFile } from "./file.ts";
import { addPage, dropPage, dropPages, makeUptodate, readPages, setDirty } from "./file-pages.ts";
import { PG_LOCKED, PG_UPTODATE, PG_WRITEBACK } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { NOT_CACHED } from "./page-cache.ts";
import { pageLock } from "./page-lock.ts";
import { writeSegment } from "./pfnmap/segment-files.ts";
import { punchFile, truncateFile } from "./truncate.ts";
import { writeBack } from "./writeback.ts";

/** The greatest size of a file: MAX_LFS_FILESIZE, as near as a double comes. */
export const MAX_FILE_BYTES = 2 ** 53 - PAGE_SIZE;

// Advice of posix_fadvise.
export const FADV_NORMAL = 0;
export const FADV_RANDOM = 1;
export const FADV_SEQUENTIAL = 2;
export const FADV_WILLNEED = 3;
export const FADV_DONTNEED = 4;
export const FADV_NOREUSE = 5;

/** What one request to a disk may ask for (max_sectors_kb, 1280 by default): more is not read on advice. */
const REQUEST_PAGES = 320;

/**
 * Writes `bytes`, or as many bytes of unknown value as `bytes` says; grows the file if they end beyond it. The bytes
 * written; or -EBADF, -EINVAL, -EFBIG, -ENOMEM.
 *
 * @models linux-6.1 mm/filemap.c generic_perform_write; mm/shmem.c shmem_write_begin, shmem_write_end
 */
export function* writeFile(
  kernel: Kernel,
  task: Task,
  open: OpenFile | null,
  bytes: Uint8Array | number,
  offset: number,
): Path<number> {
  if (open === null || !open.writable) return -EBADF;
  if (offset < 0) return -EINVAL;
  if (offset >= MAX_FILE_BYTES) return -EFBIG;
  const { file } = open;
  if (file.huge !== null) return -EINVAL;
  if (file.raw !== null) return file.kind === "device" ? -EINVAL : writeSegment(kernel, file, bytes, offset);
  const { lock } = file;
  if (!lock.tryAcquire(task)) yield* lock.acquire(task);
  const length = Math.min(lengthOf(bytes), MAX_FILE_BYTES - offset);
  let done = 0;
  let result = 0;
  while (done < length) {
    const at = offset + done;
    const inPage = at % PAGE_SIZE;
    const count = Math.min(PAGE_SIZE - inPage, length - done);
    const part = typeof bytes === "number" ? null : bytes.subarray(done, done + count);
    result = yield* writePage(kernel, file, at, count, part);
    if (result < 0) break;
    done += count;
    if (kernel.files.dirty.due) yield* balanceDirty(kernel);
  }
  lock.release(task);
  return done > 0 ? done : result;
}

/**
 * -EINVAL for a negative size or a file not open for writing, -EBADF, -EFBIG, -ENOMEM if a greater size may not be
 * promised.
 */
export function* ftruncate(kernel: Kernel, task: Task, open: OpenFile | null, sizeBytes: number): Path<number> {
  if (sizeBytes < 0) return -EINVAL;
  if (open === null) return -EBADF;
  if (!open.writable) return -EINVAL;
  if (sizeBytes > MAX_FILE_BYTES) return -EFBIG;
  const { lock } = open.file;
  if (open.file.raw !== null) return sizeBytes === open.file.sizeBytes ? 0 : -EINVAL;
  if (open.file.huge !== null && sizeBytes % hugeBytes(open.file) !== 0) return -EINVAL;
  if (!lock.tryAcquire(task)) yield* lock.acquire(task);
  const cut = open.file.huge === null ? truncateFile : truncateHuge;
  const result = yield* cut(kernel, open.file, sizeBytes);
  lock.release(task);
  return result;
}

/** Reserves, or with PUNCH_HOLE frees, the pages of a range of a file. */
export function* fallocate(
  kernel: Kernel,
  task: Task,
  open: OpenFile | null,
  mode: number,
  offset: number,
  lengthBytes: number,
): Path<number> {
  if (open === null) return -EBADF;
  if (offset < 0 || lengthBytes <= 0) return -EINVAL;
  const refused = kernel.personality.refusedMode(mode);
  if (refused !== 0) return refused;
  if (!open.writable) return -EBADF;
  if (offset + lengthBytes > MAX_FILE_BYTES) return -EFBIG;
  return yield* allocateRange(kernel, task, open.file, mode, offset, lengthBytes);
}

/**
 * The same once the arguments are known to be good: MADV_REMOVE punches through this door. -EOPNOTSUPP for a mode that
 * this kind of file does not know.
 *
 * @models linux-6.1 mm/shmem.c shmem_fallocate
 * @differs regular files know no COLLAPSE_RANGE and INSERT_RANGE
 */
export function* allocateRange(
  kernel: Kernel,
  task: Task,
  file: FileObject,
  mode: number,
  offset: number,
  lengthBytes: number,
): Path<number> {
  const known = FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE | (file.kind === "regular" ? FALLOC_ZERO_RANGE : 0);
  if ((mode & ~known) !== 0 || file.raw !== null) return -EOPNOTSUPP;
  const { lock } = file;
  if (!lock.tryAcquire(task)) yield* lock.acquire(task);
  let result = 0;
  if (file.huge !== null) result = yield* allocateHuge(kernel, file, mode, { offset, lengthBytes });
  else if ((mode & (FALLOC_PUNCH_HOLE | FALLOC_ZERO_RANGE)) !== 0) {
    result = yield* punchFile(kernel, file, offset, offset + lengthBytes);
  } else if (file.kind === "shmem") {
    result = yield* reservePages(kernel, file, offset, offset + lengthBytes);
  }
  if (result === 0 && (mode & (FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE)) === 0) {
    file.sizeBytes = Math.max(file.sizeBytes, offset + lengthBytes);
  }
  lock.release(task);
  return result;
}

/**
 * posix_fadvise. A shmem file has nowhere to be read from or written to, so it takes all advice and does nothing.
 *
 * @models linux-6.1 mm/fadvise.c generic_fadvise
 * @differs RANDOM and SEQUENTIAL change what later reads bring in, not what faults do
 */
export function* fadvise(
  kernel: Kernel,
  open: OpenFile | null,
  offset: number,
  lengthBytes: number,
  advice: number,
): Path<number> {
  if (open === null) return -EBADF;
  if (lengthBytes < 0) return -EINVAL;
  if (advice < FADV_NORMAL || advice > FADV_NOREUSE) return -EINVAL;
  const { file } = open;
  if (file.kind !== "regular") return 0;
  const end = lengthBytes === 0 ? Number.POSITIVE_INFINITY : offset + lengthBytes;
  if (advice === FADV_NORMAL) open.readahead.habit = "normal";
  else if (advice === FADV_RANDOM) open.readahead.habit = "random";
  else if (advice === FADV_SEQUENTIAL) open.readahead.habit = "sequential";
  else if (advice === FADV_WILLNEED) {
    const first = Math.floor(offset / PAGE_SIZE);
    const most = Math.max(REQUEST_PAGES, kernel.tunables.readaheadPages);
    yield* readPages(kernel, file, -1, first, Math.min(Math.ceil(end / PAGE_SIZE), first + most));
  } else if (advice === FADV_DONTNEED) {
    yield* writeBack(kernel, file, Math.floor(offset / PAGE_SIZE), Math.ceil(end / PAGE_SIZE));
    // Whole pages only, except that the last one may end with the file.
    const wholeEnd = end >= file.sizeBytes ? file.cacheEnd : Math.floor(end / PAGE_SIZE);
    dropClean(kernel, file, Math.ceil(offset / PAGE_SIZE), wholeEnd);
  }
  return 0;
}

/** Writes the file's dirty pages to disk. */
export function* fsync(kernel: Kernel, open: OpenFile | null): Path<number> {
  if (open === null) return -EBADF;
  yield* writeBack(kernel, open.file, 0, Number.POSITIVE_INFINITY);
  return 0;
}

/** Drops what can be had again from disk: clean, unmapped, used by nobody else. The pages dropped. */
export function dropClean(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): number {
  const { frames } = kernel;
  let dropped = 0;
  file.pages.forEach(first, end, (index, frame) => {
    if (index < first || index + frames.softFrames > end) return true;
    const busy = (frames.flags.read(frame) & (PG_LOCKED | PG_WRITEBACK)) !== 0 || file.pages.isDirty(index);
    if (busy || frames.mapCount.read(frame) !== 0 || frames.refs.read(frame) !== 1) return true;
    dropPage(kernel, file, index, frame);
    dropped++;
    return true;
  });
  return dropped;
}

export const lengthOf = (bytes: Uint8Array | number): number => (typeof bytes === "number" ? bytes : bytes.length);

/** Writes within one page: 0 or -ENOMEM. `part` is null if nobody knows the bytes. */
function* writePage(
  kernel: Kernel,
  file: FileObject,
  at: number,
  count: number,
  part: Uint8Array | null,
): Path<number> {
  const index = Math.floor(at / PAGE_SIZE);
  const find = file.kind === "regular" ? bufferedPageForWrite : pageForWrite;
  const frame = yield* find(kernel, file, index, count);
  if (frame < 0) return frame;
  const head = kernel.frames.head(frame);
  makeUptodate(kernel, head);
  if (part !== null && !(yield* fill(kernel, file, at, frame, part))) {
    return yield* writePage(kernel, file, at, count, part);
  }
  setDirty(kernel, file, index, head);
  kernel.reclaim.touched(head);
  if (at + count > file.sizeBytes) file.sizeBytes = at + count;
  return 0;
}

/** The same as `pageForWrite`, and the page has buffer heads. */
function* bufferedPageForWrite(kernel: Kernel, file: FileObject, index: FileIndex, count: number): Path<number> {
  for (let failures = 1; ; failures++) {
    const frame = yield* pageForWrite(kernel, file, index, count);
    if (frame < 0 || attachBuffers(kernel, kernel.frames.head(frame)) === 0) return frame;
    if (yield* kernel.allocator.waitForMemory(failures)) continue;
    // What was to make the file longer goes again.
    dropPages(kernel, file, file.endIndex, Number.POSITIVE_INFINITY);
    return -ENOMEM;
  }
}

/** The frame of page `index`, of which `count` bytes are to be written, when nobody fills it any more; or -ENOMEM. */
function* pageForWrite(kernel: Kernel, file: FileObject, index: FileIndex, count: number): Path<number> {
  for (;;) {
    const frame = file.pages.find(index);
    if (frame !== NOT_CACHED) {
      const head = kernel.frames.head(frame);
      if (!kernel.frames.has(head, PG_LOCKED)) return frame;
      yield pageLock(kernel, head);
      continue;
    }
    // What a regular file has on disk around these bytes must be read first; whole pages and new ones need no read.
    const fromDisk = file.kind === "regular" && hasMore(file, index, count);
    const result = fromDisk
      ? yield* readPages(kernel, file, index, index, index + 1)
      : yield* addPage(kernel, file, index, PG_UPTODATE);
    if (result < 0) return result;
  }
}

/** Whether the disk has something of the page of `index` that a write of so many bytes of page `index` leaves as it is. */
function hasMore(file: FileObject, index: FileIndex, count: number): boolean {
  const first = index - (index % file.softFrames);
  for (let at = first; at < Math.min(first + file.softFrames, file.endIndex); at++) {
    if (file.disk.has(at) && (at !== index || count < PAGE_SIZE)) return true;
  }
  return false;
}

/** Writes `part` into the page, through a window if it is in highmem. False if the file has lost the page meanwhile. */
function* fill(kernel: Kernel, file: FileObject, at: number, frame: Pfn, part: Uint8Array): Path<boolean> {
  const { contents, frames, allocator } = kernel;
  const index = Math.floor(at / PAGE_SIZE);
  const head = frames.head(frame);
  frames.addReference(head);
  const wait = contents.hold(frame);
  if (wait !== undefined) yield* wait;
  const isThere = file.pages.find(index) === frame;
  if (isThere) contents.write(frame, at - index * PAGE_SIZE, part);
  contents.release(frame);
  allocator.release(head);
  return isThere;
}

/** Every page of a range of a shmem file exists from now on; a failure takes back those that were added. */
function* reservePages(kernel: Kernel, file: FileObject, from: number, to: number): Path<number> {
  const first = Math.floor(from / PAGE_SIZE);
  const end = Math.ceil(to / PAGE_SIZE);
  for (let index = first; index < end; index++) {
    const known = file.pages.find(index);
    if (known !== NOT_CACHED) makeUptodate(kernel, kernel.frames.head(known));
    while (file.pages.find(index) === NOT_CACHED) {
      const result = yield* addPage(kernel, file, index, 0);
      if (result < 0) {
        forgetReserved(kernel, file, first, index);
        return result;
      }
    }
    // Clean pages of shmem may be dropped: they were never written, so they are holes again. These must stay.
    setDirty(kernel, file, index, kernel.frames.head(file.pages.find(index)));
  }
  return 0;
}

/** Pages that hold nothing yet were reserved by the call that fails. */
function forgetReserved(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): void {
  file.pages.forEach(first, end, (index, frame) => {
    if (!kernel.frames.has(frame, PG_UPTODATE)) dropPage(kernel, file, index, frame);
    return true;
  });
}
