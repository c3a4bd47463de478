/**
 * Dirty pages of regular files on their way to the model disk. A shmem file has no disk: its pages stay dirty.
 *
 * @models linux-6.1 mm/page-writeback.c write_cache_pages, folio_clear_dirty_for_io
 */

import { bug } from "../base/errors.ts";
import type { FileIndex, Pfn } from "../base/units.ts";
import { PTE_DIRTY, PTE_PRESENT, PTE_WRITE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { MEMORY } from "./address-space.ts";
import type { FileObject } from "./file.ts";
import { untilStill } from "./file-mappings.ts";
import { diskDone } from "./file-pages.ts";
import { PG_DIRTY, PG_WRITEBACK } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { flushEntry } from "./tables/sharing/shared-entries.ts";
import { lockShared, unlockShared } from "./tables/sharing/shared-lock.ts";
import type { Vma } from "./vma.ts";

/** Writes the dirty pages of `[first, end)`, which are clean afterwards. */
export function* writeBack(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void> {
  yield* writeSome(kernel, file, { first, end, most: Number.POSITIVE_INFINITY });
}

/** Which dirty pages of a file are to be written, and how many of them at most. */
export interface WriteRequest {
  readonly first: FileIndex;
  readonly end: FileIndex;
  readonly most: number;
}

/**
 * Writes the first dirty pages of a range of a file; how many were written. One request to the disk. Pages beyond the end
 * of the file are not: truncation is about to take them.
 */
export function* writeSome(kernel: Kernel, file: FileObject, request: WriteRequest): Path<number> {
  if (file.kind !== "regular") return 0;
  const written: Pfn[] = [];
  for (const { index, frame } of dirtyPages(file, request)) {
    if (index < file.endIndex && (yield* writePage(kernel, file, index, frame))) written.push(frame);
  }
  if (written.length > 0) yield* finishWrite(kernel, file, written);
  if (file.pages.dirtyCount === 0) kernel.files.dirty.files.delete(file);
  return written.length * file.softFrames;
}

/**
 * Writes one dirty page of a regular file, so that reclaim may free it: whether it was written. False: it is clean, lies
 * beyond the end of its file, or is the file's no longer. A page that was written may be dirty again. Requires: the caller
 * has a reference to the frame, or its lock.
 *
 * @models linux-2.6.11 mm/vmscan.c pageout; fs/mpage.c mpage_writepage
 */
export function* writePageOut(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): Path<boolean> {
  if (file.kind === "shmem") bug(`${file.name} has no disk to write page ${index} to`);
  if (index >= file.endIndex || file.pages.find(index) !== frame || !file.pages.isDirty(index)) return false;
  if (!(yield* writePage(kernel, file, index, frame))) return false;
  yield* finishWrite(kernel, file, [frame]);
  return true;
}

interface DirtyPage {
  readonly index: FileIndex;
  readonly frame: Pfn;
}

/** Cleaning entries may wait, and the file may change meanwhile: what is dirty is written down first. */
function dirtyPages(file: FileObject, { first, end, most }: WriteRequest): DirtyPage[] {
  const found: DirtyPage[] = [];
  file.pages.forEachDirty(first, end, (index, frame) => found.push({ index, frame }) * file.softFrames < most);
  return found;
}

/**
 * The page is clean from here on, and on its way to the disk, with a reference of its own; whoever writes to it next must
 * tell, through a fault or by its entry's dirty bit. False if truncation has taken it meanwhile.
 */
function* writePage(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): Path<boolean> {
  const { frames, files } = kernel;
  if (frames.mapCount.read(frame) > 0) yield* cleanEntries(kernel, file, index, frame);
  if (file.pages.find(index) !== frame) return false;
  kernel.current.task.watch?.touch(MEMORY, "write");
  frames.clearFlag(frame, PG_DIRTY);
  file.pages.clearDirty(index);
  for (let part = 0; part < frames.softFrames && index + part < file.reach; part++)
    file.disk.store(kernel.memory, frame + part, index + part);
  frames.addReference(frame);
  // Another writer's request may hold the page already: its end is this one's, too.
  if (frames.has(frame, PG_WRITEBACK)) return true;
  frames.setFlag(frame, PG_WRITEBACK);
  files.dirty.underWriteback += frames.softFrames;
  return true;
}

/** Waits for the disk. Requires: the pages are on their way. */
function* finishWrite(kernel: Kernel, file: FileObject, written: readonly Pfn[]): Path<void> {
  const { frames, files, allocator } = kernel;
  files.costs.diskWrites++;
  files.costs.pagesWritten += written.length * frames.softFrames;
  yield diskDone(file);
  for (const frame of written) {
    if (frames.has(frame, PG_WRITEBACK)) {
      frames.clearFlag(frame, PG_WRITEBACK);
      files.dirty.underWriteback -= frames.softFrames;
    }
    allocator.release(frame);
  }
}

/**
 * Where shared areas notice first writes, their entries of a page that is written back become clean and read-only.
 *
 * @models linux-6.1 mm/rmap.c folio_mkclean, page_vma_mkclean_one
 */
function* cleanEntries(kernel: Kernel, { mappings }: FileObject, index: FileIndex, frame: Pfn): Path<void> {
  yield* untilStill(mappings, function* () {
    const end = index + kernel.frames.softFrames;
    for (const vma of mappings.overlapping(index, end)) {
      if (!kernel.personality.pages.noticesWrites(vma)) continue;
      if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
      const page = vma.start + Math.max(0, index - vma.fileIndex);
      const shared = kernel.tables.shared.exist ? yield* lockShared(kernel, vma.mm, page) : null;
      // Until the locks were had the area could shrink, move, or leave the file.
      const last = mappings.has(vma) ? Math.min(end, vma.fileIndex + vma.pages) : index;
      for (let at = Math.max(index, vma.fileIndex); at < last; at++) cleanEntry(kernel, vma, at, frame);
      if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
      if (shared !== null) unlockShared(kernel, shared);
      unlockTables(kernel, vma.mm);
    }
  });
}

/** Requires: page_table_lock is held. */
function cleanEntry(kernel: Kernel, vma: Vma, index: FileIndex, frame: Pfn): void {
  const { tables, entries } = kernel;
  const page = vma.start + (index - vma.fileIndex);
  const table = tables.openLeaf(vma.mm, page);
  if (table === NO_TABLE) return;
  const at = tables.indexAt(page, LEAF);
  const flags = entries.flags(table, at);
  const written = (flags & PTE_PRESENT) !== 0 && (flags & (PTE_DIRTY | PTE_WRITE)) !== 0;
  if (written && kernel.frames.head(entries.frame(table, at)) === frame) {
    entries.setFlags(table, at, flags & ~(PTE_DIRTY | PTE_WRITE));
    flushEntry(kernel, vma.mm, page, entries.slotOf(table, at));
  }
  tables.close(table);
}
