/**
 * Dirty pages of regular files on their way to the model disk. A shmem file has no disk: its pages stay dirty.
 *
 * @models linux-6.1 mm/page-writeback.c write_cache_pages, folio_clear_dirty_for_io
 */
import type { FileIndex, Pfn } from "../base/units.ts";
import { PTE_DIRTY, PTE_PRESENT, PTE_WRITE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { MEMORY } from "./address-space.ts";
import type { FileObject } from "./file.ts";
import { diskDone } from "./file-pages.ts";
import { PG_DIRTY } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import type { Vma } from "./vma.ts";

/** Writes the dirty pages of `[first, end)`; how many there were. Afterwards they are clean. */
export function* writeBack(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<number> {
  if (file.kind === "shmem") return 0;
  const { costs } = kernel.files;
  let pages = 0;
  for (const { index, frame } of dirtyPages(file, first, end)) {
    if (index < file.endIndex) yield* writePage(kernel, file, index, frame);
    pages++;
  }
  if (pages > 0) {
    costs.diskWrites++;
    costs.pagesWritten += pages;
    yield diskDone(file);
  }
  return pages;
}

interface DirtyPage {
  readonly index: FileIndex;
  readonly frame: Pfn;
}

/** Cleaning entries may wait, and the file may change meanwhile: what is dirty is written down first. */
function dirtyPages(file: FileObject, first: FileIndex, end: FileIndex): DirtyPage[] {
  const found: DirtyPage[] = [];
  file.pages.forEachDirty(first, end, (index, frame) => found.push({ index, frame }) > 0);
  return found;
}

/** The page is clean from here on; whoever writes to it next must tell, through a fault or by its entry's dirty bit. */
function* writePage(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): Path<void> {
  if (kernel.frames.mapCount.read(frame) > 0) yield* cleanEntries(kernel, file, index, frame);
  // Truncation may have taken it meanwhile.
  if (file.pages.find(index) !== frame) return;
  kernel.current.task.watch?.touch(MEMORY, "write");
  kernel.frames.clearFlag(frame, PG_DIRTY);
  file.pages.clearDirty(index);
  file.disk.store(kernel.memory, frame, index);
}

/**
 * Where shared areas notice first writes, their entries of a page that is written back become clean and read-only.
 *
 * @models linux-6.1 mm/rmap.c folio_mkclean, page_vma_mkclean_one
 */
function* cleanEntries(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): Path<void> {
  for (const vma of file.mappings.overlapping(index, index + 1)) {
    if (!kernel.personality.pages.noticesWrites(vma)) continue;
    if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
    // Until the lock was had the area could shrink, move, or leave the file.
    const stillMaps = file.mappings.has(vma) && index >= vma.fileIndex && index < vma.fileIndex + vma.pages;
    if (stillMaps) cleanEntry(kernel, vma, index, frame);
    if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
    unlockTables(kernel, vma.mm);
  }
}

/** Requires: page_table_lock is held. */
function cleanEntry(kernel: Kernel, vma: Vma, index: FileIndex, frame: Pfn): void {
  const { tables, entries, tlbFlush } = kernel;
  const page = vma.start + (index - vma.fileIndex);
  const table = tables.openLeaf(vma.mm, page);
  if (table === NO_TABLE) return;
  const at = tables.indexAt(page, LEAF);
  const flags = entries.flags(table, at);
  const written = (flags & PTE_PRESENT) !== 0 && (flags & (PTE_DIRTY | PTE_WRITE)) !== 0;
  if (written && entries.frame(table, at) === frame) {
    entries.setFlags(table, at, flags & ~(PTE_DIRTY | PTE_WRITE));
    tlbFlush.page(vma.mm, page);
  }
  tables.close(table);
}
