/**
 * Areas of segments: what mmap of such a file makes, and the calls of drivers that fill one. What a driver maps is
 * VM_PFNMAP, neither grown nor merged nor locked; what a file system executes in place may be a mixture, and is
 * VM_MIXEDMAP.
 *
 *     remap_pfn_range   a run of frames at once; of a private area all or nothing, and its index is the frame then
 *     vm_insert_pfn     one frame, into an entry that is none
 *     vm_insert_page    one page, which has a struct page and is counted: the opposite tool
 *
 * @models linux-6.1 mm/memory.c remap_pfn_range, vm_insert_pfn, vm_insert_mixed, vm_insert_page
 * @models linux-2.6.20 mm/memory.c remap_pfn_range; linux-2.6.24 mm/memory.c vm_insert_pfn
 * @differs VM_PFNMAP areas have the other flags of today in every kernel: 2.6.20 had VM_RESERVED, and let them grow
 */
import { EBUSY, EINVAL, ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { Pfn, Vpn } from "../../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { PG_ANON } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { entryFlags, mapShared, waitToMap } from "../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import { isCopyOnWrite, VM_DONTDUMP, VM_DONTEXPAND, VM_IO, VM_MIXEDMAP, VM_PFNMAP, VM_RAW, type Vma } from "../vma.ts";
import { resizeVma } from "../vma-memory.ts";
import type { SegmentFile } from "./segments.ts";

/** VM_* bits of an area of such a file, beside those of any. */
export const areaFlagsOf = ({ way }: SegmentFile): number =>
  way === "xip" ? VM_MIXEDMAP : VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP;

/** The flags of a raw entry of the area. */
export function rawEntryFlags(kernel: Kernel, vma: Vma): number {
  const { rawBits, pageBits } = kernel.pfnMappings;
  return (entryFlags(kernel, vma) & ~pageBits) | rawBits;
}

/** What is beyond the file's end in an area whose index counts frames: no frame has that number. */
const NOWHERE = 2 ** 40;

/** A new area of such a file gets its pages, if it gets them at once: 0 or -ENOMEM. Requires: mmap_sem is held for writing. */
export function* fillAtOnce(kernel: Kernel, vma: Vma): Path<number> {
  const raw = vma.file!.raw!;
  if (!kernel.pfnMappings.mapsAtOnce(vma)) return 0;
  const first = vma.fileIndex;
  if (raw.pages <= first) {
    if (kernel.pfnMappings.countsFrames(vma)) resizeVma(vma, vma.start, vma.end, NOWHERE);
    return 0;
  }
  if (kernel.pfnMappings.countsFrames(vma))
    return yield* remapPfnRange(kernel, vma, vma.start, raw.frameOf(first), vma.pages);
  for (let page = vma.start; page < vma.end && vma.indexAt(page) < raw.pages; page++) {
    const result = yield* enterOne(kernel, vma, page, raw.frameOf(vma.indexAt(page)));
    if (result < 0) return result;
  }
  return 0;
}

/**
 * Maps `pages` consecutive frames from `frame` on at `page`, as far as the area's file has them: 0, -EINVAL for a part of a
 * private area, or -ENOMEM. Requires: mmap_sem is held for writing, and nothing is mapped there.
 */
export function* remapPfnRange(kernel: Kernel, vma: Vma, page: Vpn, frame: Pfn, pages: number): Path<number> {
  if (isCopyOnWrite(vma.flags)) {
    if (page !== vma.start || page + pages !== vma.end) return -EINVAL;
    if (kernel.pfnMappings.countsFrames(vma)) resizeVma(vma, vma.start, vma.end, frame as number);
  }
  const raw = vma.file!.raw!;
  for (let at = 0; at < pages && raw.isPieceOf(frame, frame + at); at++) {
    const result = yield* enterOne(kernel, vma, page + at, frame + at);
    if (result < 0) return result;
  }
  return 0;
}

/** One entry of a new area. */
function* enterOne(kernel: Kernel, vma: Vma, page: Vpn, frame: Pfn): Path<number> {
  for (let failures = 1; ; failures++) {
    if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
    const result = enterFrame(kernel, vma, page, frame);
    unlockTables(kernel, vma.mm);
    if (result !== -ENOMEM || !(yield* waitToMap(kernel, failures))) return result;
  }
}

/** The entry of `page` names a frame of the area's file: 0, -EBUSY if it is not none, or -ENOMEM. */
export function enterFrame(kernel: Kernel, vma: Vma, page: Vpn, frame: Pfn, more = 0): number {
  const { tables, entries, pfnMappings } = kernel;
  const leaf = tables.tryEnsureLeaf(vma.mm, page);
  if (leaf === NO_TABLE) return -ENOMEM;
  const index = tables.indexAt(page, LEAF);
  const table = tables.open(leaf);
  let result = entries.flags(table, index) === 0 ? 0 : -EBUSY;
  if (result === 0) result = pfnMappings.enter(kernel, vma, frame, entries.slotOf(table, index));
  if (result === 0) entries.set(table, index, frame, rawEntryFlags(kernel, vma) | more);
  tables.close(table);
  return result;
}

/**
 * A driver maps one frame: 0, -EBUSY if something is mapped there, or -ENOMEM. It is a KernelBug for an area that is not made
 * for it, or in which it could not be told from a copy. Requires: mmap_sem is held.
 */
export function* vmInsertPfn(kernel: Kernel, vma: Vma, page: Vpn, frame: Pfn): Path<number> {
  if ((vma.flags & VM_RAW) === 0) bug(`vm_insert_pfn in ${vma.start}..${vma.end}, which holds pages only`);
  if (!kernel.pfnMappings.mayFill(vma)) bug(`vm_insert_pfn in ${vma.start}..${vma.end}, which is private`);
  if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
  const result = enterFrame(kernel, vma, page, frame);
  unlockTables(kernel, vma.mm);
  return result;
}

/**
 * A driver maps a page of its own, which is counted and chained from then on: 0, -EINVAL for a page of a program, -EBUSY
 * or -ENOMEM. It is a KernelBug where an entry that names a page would be taken for raw. Requires: mmap_sem is held.
 */
export function* vmInsertPage(kernel: Kernel, vma: Vma, page: Vpn, frame: Pfn): Path<number> {
  const { frames, tables, entries } = kernel;
  if (frame >= frames.count || frames.refs.read(frames.head(frame)) === 0)
    bug(`frame ${frame} has no struct page that is in use`);
  if (frames.has(frames.head(frame), PG_ANON)) return -EINVAL;
  if ((vma.flags & VM_RAW) !== 0) bug(`vm_insert_page in ${vma.start}..${vma.end}, whose shared entries are raw`);
  if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
  let result = -ENOMEM;
  const leaf = tables.tryEnsureLeaf(vma.mm, page);
  if (leaf !== NO_TABLE) {
    const index = tables.indexAt(page, LEAF);
    const table = tables.open(leaf);
    const isMapped = (entries.flags(table, index) & (PTE_PRESENT | PTE_PROT_NONE)) !== 0;
    result = isMapped ? -EBUSY : mapShared(kernel, vma, frame, entries.slotOf(table, index));
    if (result === 0) entries.set(table, index, frame, entryFlags(kernel, vma));
    tables.close(table);
  }
  unlockTables(kernel, vma.mm);
  return result;
}
