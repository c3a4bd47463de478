/**
 * Dirty pages of regular files on their way to the model disk. A shmem file has no disk: its pages stay dirty.
 *
 * @models linux-6.1 mm/page-writeback.c write_cache_pages, folio_clear_dirty_for_io
 */
import type { FileIndex, Pfn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import type { FileObject } from "./file.ts";
import { diskDone } from "./file-pages.ts";
import { PG_DIRTY } from "./frames.ts";
import type { Kernel } from "./kernel.ts";

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

function writePage(kernel: Kernel, file: FileObject, index: FileIndex, frame: Pfn): void {
  kernel.frames.clearFlag(frame, PG_DIRTY);
  file.pages.clearDirty(index);
  file.disk.store(kernel.memory, frame, index);
}
