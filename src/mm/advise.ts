/**
 * madvise: some advice changes an area's flags, the rest acts on its pages. Holes are skipped and reported at the end.
 *
 * @models linux-6.1 mm/madvise.c do_madvise, madvise_walk_vmas, madvise_vma_behavior, madvise_update_vma
 * @models linux-6.1 mm/ksm.c ksm_madvise; mm/khugepaged.c hugepage_madvise, madvise_collapse
 * @differs equal pages are never merged; a kernel without huge pages finds none for MADV_COLLAPSE; memory failures cannot be
 *          injected: MADV_HWPOISON and MADV_SOFT_OFFLINE are unknown
 */

import { EACCES, EAGAIN, EINVAL, ENOMEM } from "../base/errno.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import type { Advised } from "./bigpages/big-pages.ts";
import { coolPages, freePages, pageOut } from "./cool-pages.ts";
import { FALLOC_KEEP_SIZE, FALLOC_PUNCH_HOLE } from "./fallocate-modes.ts";
import { allocateRange, FADV_WILLNEED, fadvise } from "./file-io.ts";
import type { Kernel } from "./kernel.ts";
import { populateForRead, populateForWrite } from "./populate.ts";
import type { Thread } from "./process.ts";
import { isolate, refusesCut } from "./protect.ts";
import { readSwapAhead } from "./swap/swap-ahead.ts";
import { ownTables } from "./tables/sharing/unshare.ts";
import { asAsked, collapse } from "./thp/collapse.ts";
import {
  VM_BIG,
  VM_DONTCOPY,
  VM_DONTDUMP,
  VM_DONTEXPAND,
  VM_DROPPABLE,
  VM_HUGEPAGE,
  VM_HUGETLB,
  VM_IO,
  VM_LOCKED,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_MERGEABLE,
  VM_MIXEDMAP,
  VM_NOHUGEPAGE,
  VM_NONLINEAR,
  VM_PFNMAP,
  VM_RAND_READ,
  VM_SEQ_READ,
  VM_SHARED,
  VM_SPECIAL,
  VM_WIPEONFORK,
  type Vma,
} from "./vma.ts";
import { alignUpWrapped, isAligned, wordLimit } from "./words.ts";
import { discardRange } from "./zap.ts";

export const MADV_NORMAL = 0;
export const MADV_RANDOM = 1;
export const MADV_SEQUENTIAL = 2;
export const MADV_WILLNEED = 3;
export const MADV_DONTNEED = 4;
export const MADV_FREE = 8;
export const MADV_REMOVE = 9;
export const MADV_DONTFORK = 10;
export const MADV_DOFORK = 11;
export const MADV_MERGEABLE = 12;
export const MADV_UNMERGEABLE = 13;
export const MADV_HUGEPAGE = 14;
export const MADV_NOHUGEPAGE = 15;
export const MADV_DONTDUMP = 16;
export const MADV_DODUMP = 17;
export const MADV_WIPEONFORK = 18;
export const MADV_KEEPONFORK = 19;
export const MADV_COLD = 20;
export const MADV_PAGEOUT = 21;
export const MADV_POPULATE_READ = 22;
export const MADV_POPULATE_WRITE = 23;
export const MADV_DONTNEED_LOCKED = 24;
export const MADV_COLLAPSE = 25;

/** An area's flags once it has taken the advice; null: the advice is refused with EINVAL. */
type FlagsAdvice = (vma: Vma) => number | null;
/** Acts on the pages of `[start, end)` of `vma`: 0 or -ERRNO. */
type PagesAdvice = (kernel: Kernel, thread: Thread, vma: Vma, start: Vpn, end: Vpn) => Path<number>;

const KSM_NEVER =
  VM_MERGEABLE | VM_DROPPABLE | VM_SHARED | VM_MAYSHARE | VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_HUGETLB | VM_MIXEDMAP;

const flagsAdvice: ReadonlyMap<number, FlagsAdvice> = new Map([
  [MADV_NORMAL, ({ flags }) => flags & ~(VM_RAND_READ | VM_SEQ_READ)],
  [MADV_SEQUENTIAL, ({ flags }) => (flags & ~VM_RAND_READ) | VM_SEQ_READ],
  [MADV_RANDOM, ({ flags }) => (flags & ~VM_SEQ_READ) | VM_RAND_READ],
  [MADV_DONTFORK, ({ flags }) => flags | VM_DONTCOPY],
  [MADV_DOFORK, ({ flags }) => ((flags & VM_IO) !== 0 ? null : flags & ~VM_DONTCOPY)],
  [MADV_WIPEONFORK, ({ file, flags }) => (file !== null || (flags & VM_SHARED) !== 0 ? null : flags | VM_WIPEONFORK)],
  [MADV_KEEPONFORK, ({ flags }) => ((flags & VM_DROPPABLE) !== 0 ? null : flags & ~VM_WIPEONFORK)],
  [MADV_DONTDUMP, ({ flags }) => flags | VM_DONTDUMP],
  [
    MADV_DODUMP,
    ({ flags }) =>
      (flags & VM_HUGETLB) === 0 && (flags & (VM_SPECIAL | VM_DROPPABLE)) !== 0 ? null : flags & ~VM_DONTDUMP,
  ],
  [MADV_MERGEABLE, ({ flags }) => ((flags & KSM_NEVER) !== 0 ? flags : flags | VM_MERGEABLE)],
  [MADV_UNMERGEABLE, ({ flags }) => flags & ~VM_MERGEABLE],
  [MADV_HUGEPAGE, ({ flags }) => (flags & ~VM_NOHUGEPAGE) | VM_HUGEPAGE],
  [MADV_NOHUGEPAGE, ({ flags }) => (flags & ~VM_HUGEPAGE) | VM_NOHUGEPAGE],
] as const satisfies readonly (readonly [number, FlagsAdvice])[]);

const pagesAdvice: ReadonlyMap<number, PagesAdvice> = new Map<number, PagesAdvice>([
  [MADV_WILLNEED, willNeed],
  [MADV_DONTNEED, dontNeed],
  [MADV_DONTNEED_LOCKED, dontNeedLocked],
  [MADV_FREE, lazilyFree],
  [MADV_REMOVE, punchHole],
  [MADV_COLD, cool],
  [MADV_PAGEOUT, reclaim],
  [MADV_POPULATE_READ, (kernel, thread, vma, start, end) => populateForRead(kernel, thread, vma, start, end)],
  [MADV_POPULATE_WRITE, (kernel, thread, vma, start, end) => populateForWrite(kernel, thread, vma, start, end)],
  [MADV_COLLAPSE, collapseRange],
]);

/** Advice that needs huge pages in the paging format. */
const HUGE = new Set([MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_COLLAPSE]);

const POPULATES = new Set([MADV_POPULATE_READ, MADV_POPULATE_WRITE]);

/** The call: 0 or -ERRNO. */
export function* advise(
  kernel: Kernel,
  thread: Thread,
  address: Vaddr,
  lengthBytes: number,
  advice: number,
): Path<number> {
  const { layout } = kernel;
  const changesFlags = flagsAdvice.get(advice);
  const actsOnPages = pagesAdvice.get(advice);
  if (changesFlags === undefined && actsOnPages === undefined) return -EINVAL;
  if (HUGE.has(advice) && kernel.format.entryBytes === 4) return -EINVAL;
  if (!isAligned(kernel.layout, address)) return -EINVAL;
  const length = alignUpWrapped(layout, lengthBytes);
  if (lengthBytes !== 0 && length === 0) return -EINVAL;
  if (address + length >= wordLimit(layout)) return -EINVAL;
  if (length === 0) return 0;

  const { mmapSem } = thread.mm;
  const first = pageOf(address);
  const end = first + pageOf(length);
  if (changesFlags !== undefined) {
    if (!mmapSem.tryWrite(thread)) yield* mmapSem.write(thread);
    const result = adviseFlags(kernel, thread, { first, last: end, atHole: "passes", advice }, changesFlags);
    if (advice === MADV_HUGEPAGE && kernel.transparent.exist) kernel.transparent.khugepaged.enter(thread.mm);
    mmapSem.releaseWrite(thread);
    return result;
  }
  if (!mmapSem.tryRead(thread)) yield* mmapSem.read(thread);
  const atHole = POPULATES.has(advice) ? kernel.personality.populatesHoles : "passes";
  const result = yield* advisePages(kernel, thread, { first, last: end, atHole, advice }, actsOnPages!);
  mmapSem.releaseRead(thread);
  return result;
}

function adviseFlags(kernel: Kernel, { mm }: Thread, range: AdvisedRange, advice: FlagsAdvice): number {
  const { first, last } = range;
  let hole = 0;
  let vma = mm.vmas.find(first);
  let previous = vma === null || first <= vma.start ? mm.vmas.before(first) : vma;
  for (let start = first; start < last; vma = mm.vmas.find(start)) {
    if (vma === null) return -ENOMEM;
    if (start < vma.start) {
      hole = -ENOMEM;
      start = vma.start;
      if (start >= last) break;
    }
    const end = Math.min(vma.end, last);
    const part = advisedPart(kernel, vma, range, { start, end });
    if (typeof part === "number") return part;
    const flags = advice(vma);
    if (flags === null) return -EINVAL;
    if (flags === vma.flags) previous = vma;
    else {
      const cut = refusesCut(kernel, vma, start, end);
      if (cut < 0) return cut;
      const changed = isolate(kernel, vma, previous, start, end, flags);
      if (changed === null) return -EAGAIN;
      changed.flags = flags;
      previous = changed;
    }
    start = Math.max(end, previous.end);
  }
  return hole;
}

interface AdvisedRange {
  readonly first: Vpn;
  readonly last: Vpn;
  /** What happens where nothing is mapped; an error is reported in any case. */
  readonly atHole: "passes" | "stops";
  /** MADV_*. */
  readonly advice: number;
}

function* advisePages(kernel: Kernel, thread: Thread, range: AdvisedRange, advice: PagesAdvice): Path<number> {
  const { first, last, atHole } = range;
  const { vmas } = thread.mm;
  let hole = 0;
  let start = first;
  while (start < last) {
    const vma = vmas.find(start);
    if (vma === null) return -ENOMEM;
    if (start < vma.start) {
      if (atHole === "stops") return -ENOMEM;
      hole = -ENOMEM;
      start = vma.start;
      if (start >= last) break;
    }
    const end = Math.min(vma.end, last);
    const part = advisedPart(kernel, vma, range, { start, end });
    if (typeof part === "number") return part;
    const result = part.start < part.end ? yield* advice(kernel, thread, vma, part.start, part.end) : 0;
    if (result < 0) return result;
    start = end;
  }
  return hole;
}

/** The part of an area that advice is for: all of it, but big pages have their own rules. */
function advisedPart(kernel: Kernel, vma: Vma, { advice }: AdvisedRange, part: Advised): Advised | number {
  return (vma.flags & VM_BIG) === 0 ? part : kernel.bigPages.advised(kernel, vma, advice, part);
}

/** Drops the semaphore while `path` runs. */
function* unlocked<T>(thread: Thread, path: Path<T>): Path<T> {
  const { mmapSem } = thread.mm;
  mmapSem.releaseRead(thread);
  const result = yield* path;
  if (!mmapSem.tryRead(thread)) yield* mmapSem.read(thread);
  return result;
}

/** Pages of files are read ahead, and so is what other memory has in swap. */
function* willNeed(kernel: Kernel, thread: Thread, vma: Vma, start: Vpn, end: Vpn): Path<number> {
  if (vma.file === null || vma.file.kind !== "regular" || vma.opened === null) {
    yield* readSwapAhead(kernel, vma, start, end);
    return 0;
  }
  const offset = vma.indexAt(start) * PAGE_SIZE;
  yield* unlocked(thread, fadvise(kernel, vma.opened, offset, addressOf(end - start), FADV_WILLNEED));
  return 0;
}

function* dontNeed(kernel: Kernel, _thread: Thread, vma: Vma, start: Vpn, end: Vpn): Path<number> {
  if ((vma.flags & (VM_PFNMAP | VM_LOCKED)) !== 0) return -EINVAL;
  return yield* discardRange(kernel, vma, start, end);
}

function* dontNeedLocked(kernel: Kernel, _thread: Thread, vma: Vma, start: Vpn, end: Vpn): Path<number> {
  if ((vma.flags & VM_PFNMAP) !== 0) return -EINVAL;
  return yield* discardRange(kernel, vma, start, end);
}

function* lazilyFree(kernel: Kernel, _thread: Thread, vma: Vma, start: Vpn, end: Vpn): Path<number> {
  if ((vma.flags & (VM_PFNMAP | VM_LOCKED)) !== 0 || vma.file !== null) return -EINVAL;
  if ((yield* ownTables(kernel, vma.mm, start, end)) < 0) return -ENOMEM;
  yield* freePages(kernel, vma, start, end);
  return 0;
}

function* punchHole(kernel: Kernel, thread: Thread, vma: Vma, start: Vpn, end: Vpn): Path<number> {
  const { file, flags } = vma;
  if ((flags & (VM_LOCKED | VM_NONLINEAR)) !== 0 || file === null) return -EINVAL;
  if ((flags & (VM_SHARED | VM_MAYWRITE)) !== (VM_SHARED | VM_MAYWRITE)) return -EACCES;
  const offset = vma.indexAt(start) * PAGE_SIZE;
  const mode = FALLOC_PUNCH_HOLE | FALLOC_KEEP_SIZE;
  return yield* unlocked(thread, allocateRange(kernel, thread, file, mode, offset, addressOf(end - start)));
}

const mayLeave = (vma: Vma): boolean => (vma.flags & (VM_LOCKED | VM_PFNMAP | VM_HUGETLB)) === 0;

function* cool(kernel: Kernel, _thread: Thread, vma: Vma, start: Vpn, end: Vpn): Path<number> {
  if (!mayLeave(vma)) return -EINVAL;
  yield* coolPages(kernel, vma, start, end);
  return 0;
}

function* reclaim(kernel: Kernel, _thread: Thread, vma: Vma, start: Vpn, end: Vpn): Path<number> {
  if (!mayLeave(vma)) return -EINVAL;
  yield* pageOut(kernel, vma, start, end);
  return 0;
}

/** The pages of one entry of a table of leaf tables: 2 MiB where entries have eight bytes. */
const HUGE_PAGES = 512;

/** Makes huge pages of all places that are whole in the range; of an area that can have none, finds out so. */
function* collapseRange(kernel: Kernel, thread: Thread, vma: Vma, start: Vpn, end: Vpn): Path<number> {
  const highest = Math.floor(vma.end / HUGE_PAGES - 1) * HUGE_PAGES;
  const eligible = vma.file === null && vma.anonVma !== null && highest >= vma.start && highest + HUGE_PAGES <= vma.end;
  if (!eligible || (vma.flags & (VM_NOHUGEPAGE | VM_SPECIAL | VM_HUGETLB)) !== 0) return -EINVAL;
  const first = Math.ceil(start / HUGE_PAGES);
  const last = Math.floor(end / HUGE_PAGES);
  if (first === last) return 0;
  if (first > last) return -EINVAL;
  if (!kernel.transparent.exist) return -ENOMEM;
  return yield* unlocked(thread, collapseEach(kernel, thread, first * HUGE_PAGES, last * HUGE_PAGES));
}

/** Tries each place; the last one that failed says why. */
function* collapseEach(kernel: Kernel, { mm, process: payer }: Thread, first: Vpn, end: Vpn): Path<number> {
  let result = 0;
  for (let page = first; page < end; page += HUGE_PAGES) {
    const outcome = yield* collapse(kernel, { mm, page, payer }, asAsked);
    if (outcome === "collapsed" || outcome === "large") continue;
    result = outcome === "no-block" ? -ENOMEM : outcome === "busy" ? -EAGAIN : -EINVAL;
  }
  return result;
}
