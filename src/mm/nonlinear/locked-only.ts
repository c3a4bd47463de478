/**
 * remap_file_pages for those who lock their memory, and only for them: the area must be mlocked, and the arguments whole
 * pages. What a database has locked nobody reclaims, so nobody need find its entries: where locks are counted instead of
 * chained (the axis `mlock`), its pages are on no list and have no chain, as in RHEL 3.
 *
 * No promise is made about truncation: it works by each area's first index, as if nothing had been moved. A page that is
 * mapped elsewhere leaves the file and stays with its process. "What we did", and wrong only for programs that truncate
 * the files they have locked.
 *
 * UNSOUND, knowingly: it breaks the law that no entry maps a page beyond the end of its file.
 *
 * @models rhel3 mm/fremap.c sys_remap_file_pages
 */
import { VM_LOCKED, VM_SHARED } from "../vma.ts";
import { zapPages } from "../zap.ts";
import { faultOnFileEntry } from "./install.ts";
import { isStillThere } from "./linear-truncation.ts";
import type { Nonlinear } from "./nonlinear.ts";
import { dropAll } from "./remap-2.5.ts";
import { type CallRules, remapFilePages } from "./remap-file-pages.ts";
import { unmapByPlace } from "./unmap-by-place.ts";

const rules: CallRules = { rounding: "refused", needs: VM_SHARED | VM_LOCKED, nonblock: "leave" };

export const lockedOnly: Nonlinear = {
  remapFilePages: (kernel, thread, request) => remapFilePages(kernel, thread, request, rules),
  // Of pages that were unlocked, and reclaimed since.
  fault: faultOnFileEntry,
  discard: (kernel, gather, vma, first, end) => zapPages(kernel, gather, vma, first, end, "all"),
  truncation: { unmap: unmapByPlace, drop: dropAll, mayMap: isStillThere },
};
