/**
 * The cleanup pass without a last search: a page that could not be unmapped, because somebody held his page tables, leaves
 * its file all the same. It is marked as an orphan, stays with those who map it, counts as resident with them, and is freed
 * with its last entry. "Tolerating the new state elsewhere in the VM": ftruncate never waits for anybody, and a program may
 * still read, for as long as it maps it, a page that no file has.
 *
 * @models wli-2003-07 fix (ii), failable
 */
import type { FileIndex } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import { PG_ORPHAN } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { cleanUp, unmapPlaces } from "./cleanup-pass.ts";
import { eachLocked } from "./leaving-pages.ts";
import { isStillThere } from "./linear-truncation.ts";
import type { Nonlinear } from "./nonlinear.ts";
import { orphanPage } from "./orphans.ts";
import { tryToClean } from "./page-by-page.ts";
import { taggedSearch } from "./tagged-search.ts";

export const cleanupTolerant: Nonlinear = {
  ...taggedSearch,
  truncation: {
    unmap: unmapPlaces,
    *drop(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void> {
      yield* cleanUp(kernel, file, { first, end }, (index, frame) => orphanPage(kernel, file, index, frame, PG_ORPHAN));
    },
    *dropParts(kernel: Kernel, file: FileObject, first: FileIndex, end: FileIndex): Path<void> {
      yield* eachLocked(kernel, file, first, end, function* (_index, frame) {
        yield* tryToClean(kernel, frame);
      });
    },
    mayMap: isStillThere,
  },
};
