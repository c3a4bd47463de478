/**
 * A new area, once its place and its flags are decided: what lay there goes, memory is promised, and a neighbour grows
 * over the place or a new area is made.
 *
 * @models linux-6.1 mm/mmap.c mmap_region, __mmap_region
 */
import { ENOMEM } from "../base/errno.ts";
import type { FileIndex, Vpn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { account, mayExpand } from "./accounting.ts";
import type { AddressSpace } from "./address-space.ts";
import { OpenFile } from "./file.ts";
import { createSharedMemory, holdFile, releaseFile } from "./file-lifetime.ts";
import type { Kernel } from "./kernel.ts";
import type { MergeRange } from "./merge.ts";
import { areaFlagsOf, fillAtOnce } from "./pfnmap/areas.ts";
import type { SegmentFile } from "./pfnmap/segments.ts";
import { mappedPages, splitAround, unmap } from "./unmap.ts";
import {
  VM_ACCOUNT,
  VM_DROPPABLE,
  VM_LOCKED,
  VM_LOCKONFAULT,
  VM_NORESERVE,
  VM_RAW,
  VM_SHARED,
  VM_WRITE,
  type Vma,
} from "./vma.ts";
import { createVma, insertVma } from "./vma-memory.ts";

export interface Region {
  readonly start: Vpn;
  readonly pages: number;
  /** VM_* bits. */
  readonly flags: number;
  /** Null: private memory, or (with VM_SHARED) new shared memory. */
  readonly opened: OpenFile | null;
  readonly fileIndex: FileIndex;
}

/**
 * 0 or -ENOMEM; what lay there is gone in either case, unless there was no room for as much as before. -EINVAL, and nothing
 * changed, if such memory may not be mapped so.
 */
export function* mapRegion(kernel: Kernel, mm: AddressSpace, asked: Region): Path<number> {
  const region = asked.opened?.file.raw == null ? asked : rawRegion(kernel, asked, asked.opened.file.raw);
  if (typeof region === "number") return region;
  const charged = isCharged(region.flags) ? region.pages : 0;
  const ready =
    kernel.personality.promisesNew === "after-unmap"
      ? yield* unmapAndPromise(kernel, mm, region, charged)
      : yield* promiseAndUnmap(kernel, mm, region, charged);
  if (ready < 0) return ready;
  const { pages } = region;
  const flags = charged > 0 ? region.flags | VM_ACCOUNT : region.flags;
  const vma = joinNeighbours(kernel, mm, region, flags) ?? createArea(kernel, mm, region, flags);
  if (vma === null) {
    kernel.commitment.uncharge(charged);
    return -ENOMEM;
  }
  account(mm, flags, pages);
  if ((flags & VM_DROPPABLE) !== 0) vma.flags &= ~(VM_LOCKED | VM_LOCKONFAULT);
  else if ((flags & VM_LOCKED) !== 0) mm.lockedPages += pages;
  if ((flags & VM_RAW) === 0 || (yield* fillAtOnce(kernel, vma)) === 0) return 0;
  yield* unmap(kernel, mm, region.start, region.start + pages);
  return -ENOMEM;
}

/** The region as an area of memory without struct pages, which nobody locks; or -EINVAL if it may not be. */
function rawRegion({ pfnMappings }: Kernel, region: Region, raw: SegmentFile): Region | number {
  const { flags, fileIndex, pages } = region;
  const refused = pfnMappings.refuses(raw, { flags, first: fileIndex, end: fileIndex + pages });
  if (refused < 0) return refused;
  return { ...region, flags: (flags & ~(VM_LOCKED | VM_LOCKONFAULT)) | areaFlagsOf(raw) };
}

/** Clears the place, then promises the memory; a refusal leaves the place empty. */
function* unmapAndPromise(kernel: Kernel, mm: AddressSpace, region: Region, charged: number): Path<number> {
  const { start, pages } = region;
  const end = start + pages;
  if (!mayExpand(kernel, mm, region.flags, pages)) {
    if (!mayExpand(kernel, mm, region.flags, pages - mappedPages(mm, start, end))) return -ENOMEM;
  }
  if ((yield* unmap(kernel, mm, start, end)) < 0) return -ENOMEM;
  return charged > 0 && kernel.commitment.charge(charged, mm) < 0 ? -ENOMEM : 0;
}

/**
 * Promises what the place has not been promised yet, then clears it. A refusal unmaps nothing, but what lies there has
 * been split already.
 *
 * @models linux-6.18 mm/vma.c __mmap_setup
 */
function* promiseAndUnmap(kernel: Kernel, mm: AddressSpace, region: Region, charged: number): Path<number> {
  const { start, pages } = region;
  const end = start + pages;
  const split = splitAround(kernel, mm, start, end);
  if (split < 0) return split;
  if (!mayExpand(kernel, mm, region.flags, pages - mappedPages(mm, start, end))) return -ENOMEM;
  const promised = charged > 0 ? mappedPages(mm, start, end, VM_ACCOUNT) : 0;
  if (charged > promised && kernel.commitment.charge(charged - promised, mm) < 0) return -ENOMEM;
  // Unmapping takes back what the place had.
  kernel.commitment.chargeAnyway(promised);
  const cleared = yield* unmap(kernel, mm, start, end);
  if (cleared < 0) kernel.commitment.uncharge(charged);
  return cleared;
}

/** Whether private pages may be made there that no file can take back. */
export const isCharged = (flags: number): boolean => (flags & (VM_NORESERVE | VM_SHARED | VM_WRITE)) === VM_WRITE;

/** A neighbour that is of the same kind grows over the place. New shared memory has no kin. */
function joinNeighbours(kernel: Kernel, mm: AddressSpace, region: Region, flags: number): Vma | null {
  const { start, pages, opened, fileIndex } = region;
  if (opened === null && (flags & VM_SHARED) !== 0) return null;
  const above = mm.vmas.find(start);
  const below = above === null ? mm.vmas.last : above.below;
  const file = opened === null ? null : opened.file;
  const range: MergeRange = { start, end: start + pages, flags, anonVma: null, source: null, file, opened, fileIndex };
  return kernel.personality.joinNew(kernel, below, above, range);
}

function createArea(kernel: Kernel, mm: AddressSpace, region: Region, flags: number): Vma | null {
  const { start, pages, fileIndex } = region;
  const isNew = region.opened === null && (flags & VM_SHARED) !== 0;
  const opened = isNew ? openSharedMemory(kernel, pages, flags) : region.opened;
  if (isNew && opened === null) return null;
  const file = opened === null ? null : opened.file;
  const vma = createVma(kernel, mm, start, start + pages, flags, { file, opened, fileIndex });
  if (vma !== null) insertVma(vma);
  else if (isNew && file !== null) {
    // The file has no name and nobody: it goes at once.
    holdFile(file);
    releaseFile(kernel, file);
  }
  return vma;
}

/** New shared memory: nobody but the area has it open. Null if so much may not be promised. */
function openSharedMemory(kernel: Kernel, pages: number, flags: number): OpenFile | null {
  const promise = (flags & VM_NORESERVE) === 0 ? "size" : "pages";
  const file = createSharedMemory(kernel, "/dev/zero", pages, promise);
  return file === null ? null : new OpenFile(file, "read-write");
}
