/**
 * mremap: a mapping gets another size, another place, or both. It grows where it lies if nothing is in the way; else
 * its page-table entries move, and no page is copied.
 *
 * @models linux-6.1 mm/mremap.c mremap, mremap_to, vma_to_resize, vma_expandable, move_vma; mm/mmap.c copy_vma
 */
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from "../base/errno.ts";
import { addressOf, pageOf, type Vaddr } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { account, checkLockedLimit, mayExpand } from "./accounting.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Kernel } from "./kernel.ts";
import { mergeVma, rangeOf } from "./merge.ts";
import { MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, moveArea, type Remap } from "./move-area.ts";
import { backingOf, findPlace } from "./placement.ts";
import { populate } from "./populate.ts";
import type { Thread } from "./process.ts";
import { isAttached } from "./shm/segments.ts";
import { unmap } from "./unmap.ts";
import { VM_ACCOUNT, VM_BIG, VM_DONTEXPAND, VM_LOCKED, VM_MAYSHARE, VM_PFNMAP, VM_SHARED, type Vma } from "./vma.ts";
import { MAP_FIXED, MAP_SHARED } from "./vma-flags.ts";
import { resizeVma } from "./vma-memory.ts";
import { alignUpWrapped, isAligned } from "./words.ts";

/** The arguments of the call. */
export interface RemapArguments {
  readonly address: Vaddr;
  readonly oldBytes: number;
  readonly newBytes: number;
  /** MREMAP_* bits. */
  readonly flags: number;
  readonly newAddress: Vaddr;
}

/** The call: the new address, or -ERRNO. */
export function* mremap(kernel: Kernel, thread: Thread, args: RemapArguments): Path<number> {
  const { layout } = kernel;
  const { address, flags } = args;
  if ((flags & ~(MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0) return -EINVAL;
  const mayMove = (flags & MREMAP_MAYMOVE) !== 0;
  if ((flags & MREMAP_FIXED) !== 0 && !mayMove) return -EINVAL;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && (!mayMove || args.oldBytes !== args.newBytes)) return -EINVAL;
  if (!isAligned(kernel.layout, address)) return -EINVAL;
  const oldPages = pageOf(alignUpWrapped(layout, args.oldBytes));
  const newPages = pageOf(alignUpWrapped(layout, args.newBytes));
  if (newPages === 0) return -EINVAL;

  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const remap: Remap = { from: pageOf(address), oldPages, newPages, flags, to: pageOf(args.newAddress) };
  const result = yield* remapLocked(kernel, mm, remap, args.newAddress);
  mm.mmapSem.releaseWrite(thread);
  if (result < 0) return result;
  const moved = mm.vmas.containing(result);
  if (newPages > oldPages && moved !== null && (moved.flags & VM_LOCKED) !== 0) {
    yield* populate(kernel, thread, result + oldPages, result + newPages, "next-area");
  }
  return addressOf(result);
}

/** The page where the mapping is now, or -ERRNO. */
function* remapLocked(kernel: Kernel, mm: AddressSpace, asked: Remap, newAddress: Vaddr): Path<number> {
  const found = mm.vmas.containing(asked.from);
  if (found === null) return -EFAULT;
  const remap = inBigPages(kernel, found, asked);
  if (typeof remap === "number") return remap;
  const { from, oldPages, newPages, flags } = remap;
  if ((flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) !== 0) return yield* remapTo(kernel, mm, remap, newAddress);
  if (oldPages >= newPages) return yield* shrink(kernel, mm, remap);

  const vma = resizable(kernel, mm, remap, oldPages);
  if (typeof vma === "number") return vma;
  if (oldPages === vma.end - from && expandable(kernel, vma, newPages - oldPages)) {
    const result = growInPlace(kernel, vma, newPages - oldPages);
    return result < 0 ? result : from;
  }
  if ((flags & MREMAP_MAYMOVE) === 0) return -ENOMEM;
  const place = findPlace(kernel, mm, { address: 0, pages: newPages, flags: 0, backing: backingOf(vma) });
  return place < 0 ? place : yield* moveArea(kernel, vma, { ...remap, to: pageOf(place) });
}

/** What is asked for of an area of big pages, in whole ones; of others, as it is. Or -ERRNO. */
export function inBigPages(kernel: Kernel, vma: Vma, remap: Remap): Remap | number {
  if ((vma.flags & VM_BIG) === 0) return remap;
  const { from, oldPages, newPages, flags } = remap;
  const to = (flags & MREMAP_FIXED) !== 0 ? remap.to : null;
  const whole = kernel.bigPages.remapped(kernel, vma, { from, oldPages, newPages, to });
  return typeof whole === "number" ? whole : { ...remap, oldPages: whole.oldPages, newPages: whole.newPages };
}

/** Gives up the tail. The kernel does not look whether the rest is mapped, or in one area. */
export function* shrink(kernel: Kernel, mm: AddressSpace, { from, oldPages, newPages }: Remap): Path<number> {
  if (oldPages === newPages) return from;
  const end = from + oldPages;
  if (from + newPages > kernel.layout.taskEnd || end > kernel.layout.taskEnd) return -EINVAL;
  const result = yield* unmap(kernel, mm, from + newPages, end);
  return result < 0 ? result : from;
}

/** MREMAP_FIXED or MREMAP_DONTUNMAP: to another place in any case. */
function* remapTo(kernel: Kernel, mm: AddressSpace, remap: Remap, newAddress: Vaddr): Path<number> {
  const { from, newPages, flags, to } = remap;
  const { taskEnd } = kernel.layout;
  if (!isAligned(kernel.layout, newAddress) || newPages > taskEnd || to > taskEnd - newPages) return -EINVAL;
  if (from + remap.oldPages > to && to + newPages > from) return -EINVAL;
  // Both places may be cut in three before they are unmapped: fail now rather than then.
  if (mm.vmas.count + 2 >= kernel.tunables.maxMapCount - 3) return -ENOMEM;
  if ((flags & MREMAP_FIXED) !== 0) {
    const cleared = yield* unmap(kernel, mm, to, to + newPages);
    if (cleared < 0) return cleared;
  }
  let { oldPages } = remap;
  if (oldPages > newPages) {
    if (from + oldPages > taskEnd) return -EINVAL;
    const cut = yield* unmap(kernel, mm, from + newPages, from + oldPages);
    if (cut < 0) return cut;
    oldPages = newPages;
  }
  const vma = resizable(kernel, mm, remap, oldPages);
  if (typeof vma === "number") return vma;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && !mayExpand(kernel, mm, vma.flags, oldPages)) return -ENOMEM;
  const fixed = (flags & MREMAP_FIXED) !== 0 ? MAP_FIXED : 0;
  const shared = (vma.flags & VM_MAYSHARE) !== 0 ? MAP_SHARED : 0;
  const place = findPlace(kernel, mm, {
    address: newAddress,
    pages: newPages,
    flags: fixed | shared,
    backing: backingOf(vma),
  });
  return place < 0 ? place : yield* moveArea(kernel, vma, { ...remap, oldPages, to: pageOf(place) });
}

/** The area that may be resized so, or why not. */
function resizable(kernel: Kernel, mm: AddressSpace, remap: Remap, oldPages: number): Vma | number {
  const { from, newPages, flags } = remap;
  const vma = mm.vmas.containing(from);
  if (vma === null) return -EFAULT;
  // With no old pages, a second mapping of the same memory is asked for: private memory has none.
  if (oldPages === 0 && (vma.flags & (VM_SHARED | VM_MAYSHARE)) === 0) return -EINVAL;
  const fixedSize = (vma.flags & (VM_DONTEXPAND | VM_PFNMAP)) !== 0;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && fixedSize) return -EINVAL;
  if (oldPages > vma.end - from) return -EFAULT;
  if (newPages === oldPages) return vma;
  if (fixedSize) return -EFAULT;
  if (checkLockedLimit(mm, vma.flags, newPages - oldPages) < 0) return -EAGAIN;
  return mayExpand(kernel, mm, vma.flags, newPages - oldPages) ? vma : -ENOMEM;
}

/** Whether the pages right above `vma` are free and user pages. */
export function expandable(kernel: Kernel, vma: Vma, pages: number): boolean {
  const end = vma.end + pages;
  return end <= kernel.layout.taskEnd && vma.mm.vmas.intersecting(vma.end, end) === null;
}

export function growInPlace(kernel: Kernel, vma: Vma, pages: number): number {
  const { mm, end, flags } = vma;
  const charged = (flags & VM_ACCOUNT) !== 0 ? pages : 0;
  if (charged > 0 && kernel.commitment.charge(charged, mm) < 0) return -ENOMEM;
  // An area that never joins others can still grow.
  if (isAttached(vma)) resizeVma(vma, vma.start, end + pages, vma.fileIndex);
  else if (mergeVma(kernel, mm, vma, { ...rangeOf(vma, end, end + pages, flags), source: null }) === null) {
    kernel.commitment.uncharge(charged);
    return -ENOMEM;
  }
  account(mm, flags, pages);
  if ((flags & VM_LOCKED) !== 0) mm.lockedPages += pages;
  return 0;
}
