/**
 * Nonlinear areas, and truncation that searches them. An area that remap_file_pages has touched is tagged (VM_NONLINEAR) and
 * kept on a list of the file's; truncation reads it whole. MADV_DONTNEED takes the pages and leaves where they were.
 *
 * Costs nothing but a bit until somebody truncates. It is what Linux did from 2.6.6 on, until 4.0 gave nonlinear areas up.
 *
 * @models linux-2.6.11 mm/fremap.c, mm/madvise.c madvise_dontneed
 */
import { VM_SHARED } from "../vma.ts";
import { faultOnFileEntry } from "./install.ts";
import type { Nonlinear } from "./nonlinear.ts";
import { type CallRules, remapFilePages } from "./remap-file-pages.ts";
import { searchedTruncation } from "./searched-truncation.ts";
import { discardNonlinear } from "./zap-nonlinear.ts";

/** The call as it is from 2.6.0 on. */
const rules26: CallRules = { rounding: "down", needs: VM_SHARED, nonblock: "remember" };

export const taggedSearch: Nonlinear = {
  remapFilePages: (kernel, thread, request) => remapFilePages(kernel, thread, request, rules26),
  fault: faultOnFileEntry,
  discard: discardNonlinear,
  truncation: searchedTruncation,
};
