/**
 * Pages of files on their way in and out of the page cache. A hole of a shmem file becomes a zeroed page when somebody
 * needs one; a page of a regular file is read from the model disk, with as many neighbours as the readahead policy says.
 *
 * The cache holds one reference to each of its frames. What these paths return is held by that reference alone: whoever
 * wants to keep a frame takes a reference of its own before waiting for anything.
 */
import { EINVAL, ENOMEM } from "../base/errno.ts";
import { bug } from "../base/errors.ts";
import { type FileIndex, PAGE_SIZE, type Pfn } from "../base/units.ts";
import type { Path, Wait } from "../sync/path.ts";
import { WANT_USER } from "./allocator.ts";
import { dropBuffers } from "./buffers.ts";
import type { FileObject } from "./file.ts";
import { NO_FRAME, PG_DIRTY, PG_LOCKED, PG_SWAPBACKED, PG_UPTODATE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { NOT_CACHED, type PageVisitor } from "./page-cache.ts";
import { pageLock } from "./page-lock.ts";
import { faultWindow } from "./readahead.ts";
import { shmemIn } from "./swap/shmem-swap.ts";
import { NO_SWAP_SLOT } from "./swap/swap.ts";
import { VM_RAND_READ, VM_SEQ_READ } from "./vma.ts";
import { OWNER_PAGE_CACHE } from "./zone.ts";

/** Who asks for a page, and what the answer took. */
export interface PageRequest {
  /** VM_* bits of the area that asks: VM_SEQ_READ and VM_RAND_READ steer readahead. */
  readonly areaFlags: number;
  /** Set when the page had to be read from disk. */
  major: boolean;
}

/**
 * The frame of page `index` for a fault: the cached one, or one brought in. -EINVAL beyond the end of the file (a bus
 * error), or -ENOMEM.
 *
 * @models linux-6.1 mm/filemap.c filemap_fault; mm/shmem.c shmem_fault, shmem_get_folio_gfp
 * @differs the mmap_miss heuristic that turns read-around off, and asynchronous readahead, are not modelled
 */
export function* filePage(kernel: Kernel, file: FileObject, index: FileIndex, request: PageRequest): Path<number> {
  for (;;) {
    if (index >= file.endIndex) return -EINVAL;
    const ready = readyPage(kernel, file, index);
    if (ready !== NOT_CACHED) return ready;
    const frame = file.pages.find(index);
    if (frame !== NOT_CACHED) {
      yield pageLock(kernel, kernel.frames.head(frame));
      continue;
    }
    let result: number;
    if (file.swapped.find(index) !== NO_SWAP_SLOT) result = yield* shmemIn(kernel, file, index, request);
    else if (file.kind === "shmem") result = yield* addPage(kernel, file, index, PG_UPTODATE);
    else {
      request.major = true;
      const window = faultWindow(kernel.tunables, index, request.areaFlags & (VM_SEQ_READ | VM_RAND_READ));
      result = yield* readPages(kernel, file, index, window.first, window.end);
    }
    if (result < 0) return result;
  }
}

/** The frame of page `index` if nobody need wait for it; NOT_CACHED otherwise. Beyond the end of the file there is none. */
export function readyPage(kernel: Kernel, file: FileObject, index: FileIndex): Pfn {
  const frame = file.pages.find(index);
  if (frame === NOT_CACHED || index >= file.endIndex) return NOT_CACHED;
  const head = kernel.frames.head(frame);
  if (kernel.frames.has(head, PG_LOCKED)) return NOT_CACHED;
  makeUptodate(kernel, head);
  return frame;
}

/**
 * Visits the pages of 4 KiB of `[first, end)` that are cached, up to date and not beyond the end: those that may be mapped
 * without waiting (fault-around).
 *
 * @models linux-6.1 mm/filemap.c next_uptodate_page
 */
export function cachedPages(
  kernel: Kernel,
  file: FileObject,
  first: FileIndex,
  end: FileIndex,
  visit: PageVisitor,
): void {
  const { flags, softFrames } = kernel.frames;
  const last = Math.min(end, file.reach);
  file.pages.forEach(first, last, (index, head) => {
    if ((flags.read(head) & (PG_UPTODATE | PG_LOCKED)) !== PG_UPTODATE) return true;
    if (softFrames === 1) return visit(index, head);
    const stop = Math.min(index + softFrames, last);
    for (let at = Math.max(index, first); at < stop; at++) if (!visit(at, head + at - index)) return false;
    return true;
  });
}

/** A frame that fallocate reserved holds nothing yet: gives it the zeros that it stands for. */
export function makeUptodate(kernel: Kernel, frame: Pfn): void {
  if (kernel.frames.has(frame, PG_UPTODATE)) return;
  kernel.contents.zeroPage(frame);
  kernel.frames.setFlag(frame, PG_UPTODATE);
}

/** A page has been added, by this call. */
const ADDED = 1;

/**
 * Adds a page to the cache of a file: a zeroed one (ADDED), or what a shmem file has in swap for it. -ENOMEM with nothing
 * changed; 0 if somebody else added it meanwhile, even if it has left again. `state`: PG_UPTODATE, or PG_LOCKED for a page
 * that the caller will fill, or 0.
 */
export function* addPage(kernel: Kernel, file: FileObject, index: FileIndex, state: number): Path<number> {
  const { allocator, frames, contents, commitment } = kernel;
  if (file.swapped.find(index) !== NO_SWAP_SLOT) return yield* shmemIn(kernel, file, index, { major: false });
  const charged = file.promise === "pages" ? frames.softFrames : 0;
  const first = index - (index % frames.softFrames);
  if (charged > 0 && commitment.charge(charged, null) < 0) return -ENOMEM;
  let frame = allocator.tryAllocate(0, WANT_USER, OWNER_PAGE_CACHE);
  if (frame === NO_FRAME) frame = yield* allocator.allocate(0, WANT_USER, OWNER_PAGE_CACHE);
  const isThere = () => file.pages.find(index) !== NOT_CACHED || file.swapped.find(index) !== NO_SWAP_SLOT;
  let result = frame < 0 ? -ENOMEM : 0;
  for (let failures = 1; result === 0 && !isThere() && file.pages.insert(first, frame) < 0; failures++) {
    if (!(yield* allocator.waitForMemory(failures))) result = -ENOMEM;
  }
  if (result < 0 || file.pages.find(first) !== frame) {
    if (frame >= 0) allocator.free(frame, 0);
    commitment.uncharge(charged);
    return isThere() ? 0 : result;
  }
  frames.mapping.write(frame, file.id);
  frames.index.write(frame, first);
  frames.setFlag(frame, file.kind === "shmem" ? PG_SWAPBACKED | state : state);
  contents.zeroPage(frame);
  kernel.reclaim.adopt(frame);
  return ADDED;
}

/** The page is newer than what its file has on disk. Requires: it is cached. */
export function setDirty(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): void {
  if (kernel.frames.has(frame, PG_DIRTY)) return;
  kernel.frames.setFlag(frame, PG_DIRTY);
  file.pages.markDirty(index);
  if (file.kind === "regular") kernel.files.dirty.note(file, kernel.frames.softFrames);
}

/** The same, for a frame of `file`, or of nobody any more, that a page-table entry says was written. */
export function setFrameDirty(kernel: Kernel, file: FileObject | null, frame: Pfn): void {
  const { frames } = kernel;
  if (frames.has(frame, PG_DIRTY)) return;
  if (file !== null && frames.mapping.read(frame) === file.id) setDirty(kernel, file, frames.index.read(frame), frame);
  else frames.setFlag(frame, PG_DIRTY);
}

/**
 * Reads the pages of `[first, end)` that are not cached, in one go; `index` is the one that must come, the others come
 * if memory allows. 0 or -ENOMEM.
 */
export function* readPages(
  kernel: Kernel,
  file: FileObject,
  index: FileIndex,
  first: FileIndex,
  end: FileIndex,
): Path<number> {
  const { costs } = kernel.files;
  const reading: Pfn[] = [];
  let result = 0;
  const { softFrames } = kernel.frames;
  const last = Math.min(end, file.endIndex);
  for (let at = Math.floor(Math.max(first, 0) / softFrames) * softFrames; at < last; at += softFrames) {
    if (file.pages.find(at) !== NOT_CACHED) continue;
    const added = yield* addPage(kernel, file, at, PG_LOCKED);
    if (added < 0 && index >= at && index < at + softFrames) result = added;
    // What somebody else has added meanwhile he fills himself: a second read would undo what was written since.
    if (added === ADDED) reading.push(file.pages.find(at));
  }
  if (reading.length > 0) {
    costs.diskReads++;
    costs.pagesRead += reading.length * softFrames;
    yield diskDone(file);
  }
  for (const head of reading) {
    const index = kernel.frames.index.read(head);
    for (let part = 0; part < softFrames && index + part < file.reach; part++)
      load(kernel, file, head + part, index + part);
    kernel.frames.clearFlag(head, PG_LOCKED);
    kernel.frames.setFlag(head, PG_UPTODATE);
  }
  return result;
}

/** A page of 4 KiB comes from the disk. What lies beyond the file's end in the last one is zero. */
function load({ memory, contents }: Kernel, file: FileObject, frame: Pfn, index: FileIndex): void {
  file.disk.load(memory, frame, index);
  if (index === file.endIndex - 1) contents.zeroPart(frame, file.sizeBytes - index * PAGE_SIZE, PAGE_SIZE);
}

/** Takes the pages that lie whole in `[first, end)` out of the cache, but for those that somebody maps; how many stayed. */
export function dropPages(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): number {
  const { softFrames } = kernel.frames;
  let mapped = 0;
  file.pages.forEach(first, end, (index, frame) => {
    if (index < first || index + softFrames > end) return true;
    if (kernel.frames.mapCount.read(frame) === 0) dropPage(kernel, file, index, frame);
    else mapped++;
    return true;
  });
  return mapped;
}

/**
 * Takes one page out of the cache, whatever it holds; its frame goes with its last reference. Requires: nobody maps it.
 */
export function dropPage(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): void {
  if (kernel.frames.mapCount.read(frame) !== 0)
    bug(`page ${index} of ${file.name} is dropped while frame ${frame} is mapped`);
  leaveCache(kernel, file, index, frame);
}

/** The same, even if somebody maps it: then it is nobody's page from now on. */
export function leaveCache(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): void {
  const { frames, commitment, files } = kernel;
  file.pages.remove(index);
  frames.mapping.write(frame, 0);
  frames.clearFlag(frame, PG_DIRTY);
  dropBuffers(kernel, frame);
  if (file.promise === "pages") commitment.uncharge(frames.softFrames);
  files.costs.pagesDropped += frames.softFrames;
  kernel.allocator.release(frame);
}

/** The model disk answers at once: what it costs is counted, not waited for. */
export const diskDone = (file: FileObject): Wait => ({ on: `the disk, for ${file.name}`, ready: () => true });
