/**
 * Truncation that searches nonlinear areas whole. Linear areas lose the range that they map; of each nonlinear one every
 * entry is read. Complete whatever happens meanwhile, in the order in which everybody takes locks; it costs O(entries of
 * the areas) for each truncation, however little goes.
 *
 * @models linux-2.6.11 mm/memory.c unmap_mapping_range; mm/truncate.c truncate_inode_pages
 * @models wli-2003-07 fix (i): "tag vmas touched by remap_file_pages() for exhaustive search"
 */
import type { FileIndex } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import { unmapFileRange } from "../zap.ts";
import { dropUnmapped } from "./leaving-pages.ts";
import { isStillThere } from "./linear-truncation.ts";
import type { FileRange, Truncation } from "./truncation.ts";
import { searchNonlinear } from "./zap-nonlinear.ts";

export const searchedTruncation: Truncation = {
  unmap: unmapEverywhere,
  *drop(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void> {
    while ((yield* dropUnmapped(kernel, file, first, end)) > 0) {
      yield* unmapEverywhere(kernel, file, { first, end, cows: "shared" });
    }
  },
  mayMap: isStillThere,
};

function* unmapEverywhere(kernel: Kernel, file: FileObject, { first, end, cows }: FileRange): Path<void> {
  yield* unmapFileRange(kernel, file, first, end, cows);
  yield* searchNonlinear(kernel, file, first, end);
}
