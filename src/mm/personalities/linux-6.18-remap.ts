/**
 * mremap of 6.18: every check that needs no area comes first; and a move that keeps its size takes along all areas of
 * its range, with the gaps between them.
 *
 * @models linux-6.18 mm/mremap.c do_mremap, check_mremap_params, check_prep_vma, remap_move, mremap_to, expand_vma
 */
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from "../../base/errno.ts";
import { addressOf, pageOf, type Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { checkLockedLimit, mayExpand } from "../accounting.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { MREMAP_DONTUNMAP, MREMAP_FIXED, MREMAP_MAYMOVE, moveArea, type Remap } from "../move-area.ts";
import { backingOf, findPlace } from "../placement.ts";
import { populate } from "../populate.ts";
import type { Thread } from "../process.ts";
import { expandable, growInPlace, inBigPages, type RemapArguments, shrink } from "../remap.ts";
import { unmap } from "../unmap.ts";
import { VM_DONTEXPAND, VM_LOCKED, VM_MAYSHARE, VM_PFNMAP, VM_SHARED, type Vma } from "../vma.ts";
import { MAP_FIXED, MAP_SHARED } from "../vma-flags.ts";
import { alignUpWrapped, isAligned } from "../words.ts";

const KNOWN = MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP;
/** With one of these the mapping goes to another place in any case. */
const GOES_ELSEWHERE = MREMAP_FIXED | MREMAP_DONTUNMAP;

/** The call: the new address, or -ERRNO. */
export function* mremap(kernel: Kernel, thread: Thread, args: RemapArguments): Path<number> {
  const { layout } = kernel;
  const { mm } = thread;
  const remap: Remap = {
    from: pageOf(args.address),
    oldPages: pageOf(alignUpWrapped(layout, args.oldBytes)),
    newPages: pageOf(alignUpWrapped(layout, args.newBytes)),
    flags: args.flags,
    to: pageOf(args.newAddress),
  };
  const refused = refusal(kernel, mm, args, remap);
  if (refused < 0) return refused;

  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const { oldPages, newPages } = remap;
  const isMove = (remap.flags & MREMAP_FIXED) !== 0 && oldPages === newPages;
  const result = isMove ? yield* moveAreas(kernel, mm, remap) : yield* resize(kernel, mm, remap);
  mm.mmapSem.releaseWrite(thread);
  if (result < 0) return result;
  const moved = mm.vmas.containing(result);
  if (newPages > oldPages && moved !== null && (moved.flags & VM_LOCKED) !== 0) {
    yield* populate(kernel, thread, result + oldPages, result + newPages, "next-area");
  }
  return addressOf(result);
}

/** The checks for which no area need be found: 0 or -ERRNO. */
function refusal(kernel: Kernel, mm: AddressSpace, args: RemapArguments, remap: Remap): number {
  const { from, oldPages, newPages, flags, to } = remap;
  const { taskEnd } = kernel.layout;
  if ((flags & ~KNOWN) !== 0 || !isAligned(kernel.layout, args.address)) return -EINVAL;
  if (newPages === 0 || newPages > taskEnd) return -EINVAL;
  if ((flags & GOES_ELSEWHERE) === 0) return 0;
  if (!isAligned(kernel.layout, args.newAddress) || to > taskEnd - newPages) return -EINVAL;
  if ((flags & MREMAP_MAYMOVE) === 0) return -EINVAL;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && oldPages !== newPages) return -EINVAL;
  if (from + oldPages > to && to + newPages > from) return -EINVAL;
  // Both places may be cut in three before they are unmapped: fail now rather than then.
  return mm.vmas.count + 2 >= kernel.tunables.maxMapCount - 3 ? -ENOMEM : 0;
}

/** Another size, another place, or both, of one area: the page where it is now, or -ERRNO. */
function* resize(kernel: Kernel, mm: AddressSpace, asked: Remap): Path<number> {
  const vma = mm.vmas.containing(asked.from);
  if (vma === null) return -EFAULT;
  const remap = inBigPages(kernel, vma, asked);
  if (typeof remap === "number") return remap;
  const { from, oldPages, newPages, flags } = remap;
  const goesElsewhere = (flags & GOES_ELSEWHERE) !== 0;
  if (!goesElsewhere && oldPages >= newPages) return yield* shrink(kernel, mm, remap);
  const refused = refusalOf(kernel, vma, remap);
  if (refused < 0) return refused;
  if (goesElsewhere) return yield* moveTo(kernel, mm, remap);
  if (oldPages === vma.end - from && expandable(kernel, vma, newPages - oldPages)) {
    const grown = growInPlace(kernel, vma, newPages - oldPages);
    return grown < 0 ? grown : from;
  }
  if ((flags & MREMAP_MAYMOVE) === 0) return -ENOMEM;
  return yield* moveToPlace(kernel, vma, { ...remap, to: 0 });
}

/** Whether `vma` may be mapped elsewhere, or grow: 0 or -ERRNO. */
function refusalOf(kernel: Kernel, vma: Vma, { from, oldPages, newPages, flags }: Remap): number {
  const { mm } = vma;
  // With no old pages, a second mapping of the same memory is asked for: private memory has none.
  if (oldPages === 0 && (vma.flags & (VM_SHARED | VM_MAYSHARE)) === 0) return -EINVAL;
  const fixedSize = (vma.flags & (VM_DONTEXPAND | VM_PFNMAP)) !== 0;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && fixedSize) return -EINVAL;
  if (Math.min(oldPages, newPages) > vma.end - from) return -EFAULT;
  if (newPages <= oldPages) return 0;
  if (fixedSize) return -EFAULT;
  if (checkLockedLimit(mm, vma.flags, newPages - oldPages) < 0) return -EAGAIN;
  return mayExpand(kernel, mm, vma.flags, newPages - oldPages) ? 0 : -ENOMEM;
}

/**
 * Moves every area of the range, cut to it, with the gaps that lie between them: the new page of the first, or -ERRNO.
 * Areas before the one that is refused have moved.
 */
function* moveAreas(kernel: Kernel, mm: AddressSpace, remap: Remap): Path<number> {
  const end = remap.from + remap.oldPages;
  if (mm.vmas.containing(remap.from) === null) return -EFAULT;
  let result = -EFAULT;
  for (let vma = mm.vmas.find(remap.from); vma !== null && vma.start < end; ) {
    const from = Math.max(vma.start, remap.from);
    const sourceEnd = vma.end;
    const pages = Math.min(sourceEnd, end) - from;
    const part = inBigPages(kernel, vma, {
      ...remap,
      from,
      oldPages: pages,
      newPages: pages,
      to: remap.to + (from - remap.from),
    });
    if (typeof part === "number") return part;
    const refused = refusalOf(kernel, vma, part);
    const moved = refused < 0 ? refused : yield* moveTo(kernel, mm, part);
    if (moved < 0) return moved;
    if (result < 0) result = moved;
    // What has joined the area meanwhile is not looked at again.
    vma = sourceEnd < end ? mm.vmas.find(sourceEnd) : null;
  }
  return result;
}

/** To the place asked for, of which MREMAP_FIXED clears as much as is needed. */
function* moveTo(kernel: Kernel, mm: AddressSpace, remap: Remap): Path<number> {
  const { from, newPages, flags, to } = remap;
  if ((flags & MREMAP_FIXED) !== 0) {
    const cleared = yield* unmap(kernel, mm, to, to + newPages);
    if (cleared < 0) return cleared;
  }
  let { oldPages } = remap;
  if (oldPages > newPages) {
    if (from + oldPages > kernel.layout.taskEnd) return -EINVAL;
    const cut = yield* unmap(kernel, mm, from + newPages, from + oldPages);
    if (cut < 0) return cut;
    oldPages = newPages;
  }
  const vma = mm.vmas.containing(from);
  if (vma === null) return -EFAULT;
  if ((flags & MREMAP_DONTUNMAP) !== 0 && !mayExpand(kernel, mm, vma.flags, oldPages)) return -ENOMEM;
  return yield* moveToPlace(kernel, vma, { ...remap, oldPages });
}

/** Moves `vma` to where there is room, near the place asked for. */
function* moveToPlace(kernel: Kernel, vma: Vma, remap: Remap): Path<Vpn> {
  const fixed = (remap.flags & MREMAP_FIXED) !== 0 ? MAP_FIXED : 0;
  const shared = (vma.flags & VM_MAYSHARE) !== 0 ? MAP_SHARED : 0;
  const place = findPlace(kernel, vma.mm, {
    address: addressOf(remap.to),
    pages: remap.newPages,
    flags: fixed | shared,
    backing: backingOf(vma),
  });
  return place < 0 ? place : yield* moveArea(kernel, vma, { ...remap, to: pageOf(place) });
}
