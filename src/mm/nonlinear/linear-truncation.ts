/**
 * Truncation where areas map a file in its order: each area's place for each index is known, so that only entries of
 * pages that go are looked at.
 *
 * @models linux-6.1 mm/memory.c unmap_mapping_pages; mm/truncate.c truncate_inode_pages_range
 */
import type { FileIndex } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import { unmapFileRange } from "../zap.ts";
import { dropUnmapped } from "./leaving-pages.ts";
import type { FoundPage, Truncation } from "./truncation.ts";

export const linearTruncation: Truncation = {
  *unmap(kernel, file, { first, end, cows }): Path<void> {
    yield* unmapFileRange(kernel, file, first, end, cows);
  },
  *drop(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void> {
    // A fault may have mapped a page again since.
    while ((yield* dropUnmapped(kernel, file, first, end)) > 0)
      yield* unmapFileRange(kernel, file, first, end, "shared");
  },
  mayMap: isStillThere,
};

/**
 * Whether the file has the page still, and has not been truncated since it was found.
 *
 * @models linux-2.6.11 mm/memory.c do_no_page (truncate_count)
 * @differs today's kernels hold the page's lock from finding it to mapping it
 */
export function isStillThere(file: FileObject, { index, frame, truncations }: FoundPage): boolean {
  return file.truncations === truncations && file.pages.find(index) === frame;
}
