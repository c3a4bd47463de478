/**
 * Truncation without vmtruncate: each page that leaves the file is taken from those who map it, and nothing else is looked
 * at. No area is walked, linear or not; a page whose mappers are busy is tried until it is free. Entries that map nothing,
 * none as well as file entries, stay: a fault there finds out that the file has ended.
 *
 * Reliable, and costs O(mappings of the pages that go), one page at a time where a zap would take a whole table.
 *
 * Copies that private areas have made are no pages of the file, so nobody would meet them: private areas, which are always
 * linear, lose theirs by their places.
 *
 * @models wli-2003-07 fix (iii): "drop the current vmtruncate() entirely and do try_to_unmap() on each truncated page"
 */
import type { FileIndex } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import { untilStill } from "../file-mappings.ts";
import { dropPage } from "../file-pages.ts";
import type { Kernel } from "../kernel.ts";
import { VM_SHARED } from "../vma.ts";
import { unmapFromArea } from "../zap.ts";
import { eachLocked } from "./leaving-pages.ts";
import { isStillThere } from "./linear-truncation.ts";
import type { Nonlinear } from "./nonlinear.ts";
import { clean, cleanParts } from "./page-by-page.ts";
import { taggedSearch } from "./tagged-search.ts";
import type { FileRange } from "./truncation.ts";

export const unmapEach: Nonlinear = {
  ...taggedSearch,
  truncation: {
    *unmap(kernel: Kernel, file: FileObject, range: FileRange): Path<void> {
      if (range.cows === "all") yield* unmapCopies(kernel, file, range);
    },
    *drop(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void> {
      yield* eachLocked(kernel, file, first, end, function* (index, frame) {
        yield* clean(kernel, frame);
        dropPage(kernel, file, index, frame);
      });
    },
    dropParts: cleanParts,
    mayMap: isStillThere,
  },
};

/** What private areas have at the places of the range goes. */
function* unmapCopies(kernel: Kernel, file: FileObject, range: FileRange): Path<void> {
  const { mappings } = file;
  yield* untilStill(mappings, function* () {
    for (const vma of mappings.overlapping(range.first, range.end)) {
      if ((vma.flags & VM_SHARED) === 0) yield* unmapFromArea(kernel, vma, file, range);
    }
  });
}
