/**
 * Truncation that cleans up behind itself: today's vmtruncate first, by places, and then each page that is mapped still is
 * taken from those who map it. What lies out of order is found now; what somebody holds at that moment is left to Yet
 * Another Cleanup Pass, which searches nonlinear areas whole.
 *
 *     by places -> each page that leaves: anybody left? -> try to unmap, twice -> any left over? -> search
 *
 * Reliable, and costs O(mappings of the pages that go): no search unless somebody was in the way.
 *
 * "Still mapped" can only mean what vmtruncate has left, so it must take nothing that the file keeps: in a nonlinear area it
 * asks each page for its index before it clears the entry. Without that, two of the bug's four effects would remain.
 *
 * @models wli-2003-07 fix (ii): "a cleanup pass after the current vmtruncate() doing try_to_unmap() on any still-mapped
 *         pages", and "Yet Another Cleanup Pass that does (i)"
 */
import type { FileIndex, Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import { dropPage } from "../file-pages.ts";
import type { Kernel } from "../kernel.ts";
import { unmapFileRange } from "../zap.ts";
import { eachLocked } from "./leaving-pages.ts";
import { isStillThere } from "./linear-truncation.ts";
import type { Nonlinear } from "./nonlinear.ts";
import { cleanParts, tryToClean } from "./page-by-page.ts";
import { searchedTruncation } from "./searched-truncation.ts";
import { taggedSearch } from "./tagged-search.ts";
import type { FileRange } from "./truncation.ts";
import { overlapping } from "./unmap-by-place.ts";
import { searchArea } from "./zap-nonlinear.ts";

export const cleanupPass: Nonlinear = {
  ...taggedSearch,
  truncation: {
    unmap: unmapPlaces,
    *drop(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void> {
      let left = 0;
      yield* cleanUp(kernel, file, { first, end }, () => left++);
      if (left > 0) yield* searchedTruncation.drop(kernel, file, first, end);
    },
    dropParts: cleanParts,
    mayMap: isStillThere,
  },
};

/** Clears the linear places of the range in every area, but for pages there that the file keeps. */
export function* unmapPlaces(kernel: Kernel, file: FileObject, range: FileRange): Path<void> {
  const { first, end } = range;
  yield* unmapFileRange(kernel, file, first, end, range.cows);
  for (const vma of overlapping(file, range)) {
    const toPage = vma.start - vma.fileIndex;
    yield* searchArea(kernel, file, vma, {
      first: Math.max(first + toPage, vma.start),
      end: Math.min(end + toPage, vma.end),
      firstIndex: first,
      endIndex: end,
    });
  }
}

/** Takes the pages of the range out of the cache, and from those who map them; `left` is told which could not be. */
export function* cleanUp(
  kernel: Kernel,
  file: FileObject,
  { first, end }: { readonly first: FileIndex; readonly end: FileIndex },
  left: (index: FileIndex, frame: Pfn) => void,
): Path<void> {
  yield* eachLocked(kernel, file, first, end, function* (index, frame) {
    if (yield* tryToClean(kernel, frame)) dropPage(kernel, file, index, frame);
    else left(index, frame);
  });
}
