/**
 * remap_file_pages with nonlinear areas: the pages are put into the entries of the area that is there, whatever their order.
 * The first page that is not at its place makes the area nonlinear, for good.
 *
 *     before   [ file 0 1 2 3 4 5 6 7 ]         remap_file_pages(page 2, 2 pages, index 6)
 *     after    [ file 0 1 6 7 4 5 6 7 ]         one area still; the entries alone say what is where
 *
 * Kernels differ in which areas they take and in how they round:
 *
 *     2.5.66    both rounded up to whole pages                                  VM_SHARED
 *     RHEL 3    refused unless they are whole pages                             VM_SHARED, VM_LOCKED
 *     2.6.0     both rounded down, but the end that must lie in the area is not VM_SHARED
 *
 * @models linux-2.6.11 mm/fremap.c sys_remap_file_pages
 * @models rhel3 mm/fremap.c sys_remap_file_pages
 * @differs 2.5 and 2.6.0 downgrade mmap_sem once the area is marked, and RHEL 3 marks nothing: here, as in 2.6.11, it stays
 *          held for writing
 */
import { EINVAL } from "../../base/errno.ts";
import { addressOf, pageOf, type Vaddr } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { linkMapping, unlinkMapping } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import type { Thread } from "../process.ts";
import { ownTables } from "../tables/sharing/unshare.ts";
import { VM_BIG, VM_NONLINEAR, type Vma } from "../vma.ts";
import { MAP_NONBLOCK } from "../vma-flags.ts";
import { alignDown, alignUp, isAligned, wordLimit } from "../words.ts";
import { populateRun, type Run, type Uncached } from "./install.ts";
import type { RemapRequest } from "./nonlinear.ts";

export interface CallRules {
  readonly rounding: "up" | "down" | "refused";
  /** VM_* bits that the area must have. */
  readonly needs: number;
  /** What MAP_NONBLOCK does about pages that are not in the cache. */
  readonly nonblock: Exclude<Uncached, "read">;
}

/** 0 or -ERRNO. Requires: mmap_sem is not held. */
export function* remapFilePages(kernel: Kernel, thread: Thread, request: RemapRequest, rules: CallRules): Path<number> {
  const asked = understood(kernel, request, rules);
  if (asked === null) return -EINVAL;
  const { mmapSem } = thread.mm;
  if (!mmapSem.tryRead(thread)) yield* mmapSem.read(thread);
  const seen = areaFor(thread, asked);
  if (seen === null || isReady(seen, asked.run)) {
    const result = seen === null ? -EINVAL : yield* populateRun(kernel, seen, asked.run, asked.uncached);
    mmapSem.releaseRead(thread);
    return result;
  }
  mmapSem.releaseRead(thread);
  if (!mmapSem.tryWrite(thread)) yield* mmapSem.write(thread);
  const vma = areaFor(thread, asked);
  let result = vma === null ? -EINVAL : yield* ownTables(kernel, vma.mm, vma.start, vma.end);
  if (vma !== null && result === 0) {
    if (!isReady(vma, asked.run)) makeNonlinear(vma);
    result = yield* populateRun(kernel, vma, asked.run, asked.uncached);
  }
  mmapSem.releaseWrite(thread);
  return result;
}

/** The call's arguments, rounded. */
interface Asked {
  readonly run: Run;
  /** Where the area must not end before. */
  readonly end: Vaddr;
  readonly needs: number;
  readonly uncached: Uncached;
}

/** Null: -EINVAL, whatever is mapped there. */
function understood(kernel: Kernel, request: RemapRequest, rules: CallRules): Asked | null {
  const { layout, format } = kernel;
  const { rounding, needs } = rules;
  if (request.prot !== 0) return null;
  if (
    rounding === "refused" &&
    !(isAligned(kernel.layout, request.start) && isAligned(kernel.layout, request.sizeBytes))
  )
    return null;
  const round = rounding === "up" ? alignUp : alignDown;
  const start = round(layout, request.start);
  const sizeBytes = round(layout, request.sizeBytes);
  // 2.6 has added the two up before it rounds them.
  const end = rounding === "down" ? request.start + request.sizeBytes : start + sizeBytes;
  if (sizeBytes === 0 || end >= wordLimit(layout)) return null;
  const pages = pageOf(sizeBytes);
  if (request.index + pages >= 2 ** format.fileIndexBits) return null;
  const uncached = (request.flags & MAP_NONBLOCK) === 0 ? "read" : rules.nonblock;
  return { run: { page: pageOf(start), pages, index: request.index }, end, needs, uncached };
}

/** The one area of the right kind that all of the range lies in, or null. */
function areaFor({ mm }: Thread, { run, end, needs }: Asked): Vma | null {
  const vma = mm.vmas.containing(run.page);
  if (vma === null || end > addressOf(vma.end)) return null;
  if (vma.file?.raw != null) return null;
  return (vma.flags & (needs | VM_BIG)) === needs ? vma : null;
}

/** Whether the pages may be put there: they are at their place, or the area is marked already. */
const isReady = (vma: Vma, { page, index }: Run): boolean =>
  index === vma.indexAt(page) || (vma.flags & VM_NONLINEAR) !== 0;

/** Requires: mmap_sem is held for writing. */
function makeNonlinear(vma: Vma): void {
  unlinkMapping(vma);
  vma.flags |= VM_NONLINEAR;
  linkMapping(vma);
}
