/**
 * Dirty pages of regular files on their way to the model disk. A shmem file has no disk: its pages stay dirty.
 *
 * @models linux-6.1 mm/page-writeback.c write_cache_pages, folio_clear_dirty_for_io
 */
import type { FileIndex, Pfn } from "../base/units.ts";
import { PTE_DIRTY, PTE_PRESENT, PTE_WRITE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { FileObject } from "./file.ts";
import { diskDone } from "./file-pages.ts";
import { PG_DIRTY } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";

/** Writes the dirty pages of `[first, end)`; how many there were. Afterwards they are clean. */
export function* writeBack(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<number> {
  if (file.kind === "shmem") return 0;
  const { costs } = kernel.files;
  let pages = 0;
  file.pages.forEachDirty(first, end, (index, frame) => {
    if (index < file.endIndex) writePage(kernel, file, index, frame);
    pages++;
    return true;
  });
  if (pages > 0) {
    costs.diskWrites++;
    costs.pagesWritten += pages;
    yield diskDone(file);
  }
  return pages;
}

/** The page is clean from here on; whoever writes to it next must tell, through a fault or by its entry's dirty bit. */
function writePage(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): void {
  if (kernel.frames.mapCount.read(frame) > 0) cleanEntries(kernel, file, index, frame);
  kernel.frames.clearFlag(frame, PG_DIRTY);
  file.pages.clearDirty(index);
  file.disk.store(kernel.memory, frame, index);
}

/**
 * Where shared areas notice first writes, their entries of a page that is written back become clean and read-only.
 *
 * @models linux-6.1 mm/rmap.c folio_mkclean, page_vma_mkclean_one
 */
function cleanEntries(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): void {
  const { tables, entries, tlbFlush } = kernel;
  const policy = kernel.personality.pages;
  file.mappings.forEach(index, index + 1, (vma) => {
    if (!policy.noticesWrites(vma)) return true;
    const page = vma.start + (index - vma.fileIndex);
    const table = tables.openLeaf(vma.mm, page);
    if (table === NO_TABLE) return true;
    const at = tables.indexAt(page, LEAF);
    const flags = entries.flags(table, at);
    const written = (flags & PTE_PRESENT) !== 0 && (flags & (PTE_DIRTY | PTE_WRITE)) !== 0;
    if (written && entries.frame(table, at) === frame) {
      entries.setFlags(table, at, flags & ~(PTE_DIRTY | PTE_WRITE));
      tlbFlush.page(vma.mm, page);
    }
    tables.close(table);
    return true;
  });
}
