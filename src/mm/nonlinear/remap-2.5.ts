/**
 * remap_file_pages as the kernels of 2003 had it, with the bug that its truncation has. vmtruncate finds the pages to unmap
 * by each area's first index, which means nothing where pages lie out of order:
 *
 *     file 0 1 2 3 | cut here | 4 5 6 7     area [ 7 1 2 3 4 5 6 0 ]
 *     unmapped:  the places of 4 5 6 7, where 4, 5, 6 and page 0 are
 *     stays:     page 7, which leaves the file while it is mapped
 *
 *     1. page 7 is an orphan: it can be read and written, and is in no file
 *     2. page 0 is gone, though the file has it
 *     3. an access there finds the linear page: page 7's place, and a bus error
 *     4. a reverse map that searches cannot find the orphan: it cannot be reclaimed
 *
 * Nothing looks again whether a page is still the file's before it is mapped either, neither a fault that has waited for
 * the disk (R1) nor remap_file_pages (R2). MADV_DONTNEED forgets where pages were.
 *
 * UNSOUND: it breaks the law that no entry maps a page beyond the end of its file.
 *
 * @models linux-2.5.74 mm/fremap.c; mm/memory.c vmtruncate, do_no_page
 * @differs the bug lived on until 2.6.5, but 2.6.0 rounds down, and its faults (R1 only) look again
 */
import type { FileIndex } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import { dropPage } from "../file-pages.ts";
import type { Kernel } from "../kernel.ts";
import { VM_SHARED } from "../vma.ts";
import { zapPages } from "../zap.ts";
import { faultOnFileEntry } from "./install.ts";
import { eachLocked } from "./leaving-pages.ts";
import type { Nonlinear } from "./nonlinear.ts";
import { orphanPage } from "./orphans.ts";
import { type CallRules, remapFilePages } from "./remap-file-pages.ts";
import { unmapByPlace } from "./unmap-by-place.ts";

const rules: CallRules = { rounding: "up", needs: VM_SHARED, nonblock: "remember" };

export const remap25: Nonlinear = {
  remapFilePages: (kernel, thread, request) => remapFilePages(kernel, thread, request, rules),
  fault: faultOnFileEntry,
  discard: (kernel, gather, vma, first, end) => zapPages(kernel, gather, vma, first, end, "all"),
  truncation: { unmap: unmapByPlace, drop: dropAll, mayMap: () => true },
};

/** Takes every page of `[first, end)` out of the cache, whoever maps it. */
export function* dropAll(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void> {
  const { mapCount } = kernel.frames;
  // biome-ignore lint/correctness/useYield: a visitor that never waits
  yield* eachLocked(kernel, file, first, end, function* (index, frame) {
    if (mapCount.read(frame) === 0) dropPage(kernel, file, index, frame);
    else orphanPage(kernel, file, index, frame, 0);
  });
}
