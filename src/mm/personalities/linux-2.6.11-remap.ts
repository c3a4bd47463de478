/**
 * mremap of 2.6.11: the target is unmapped before anyone looks whether the source exists, shrinking looks at nothing,
 * and a mapping that grows in place does not join the one above.
 *
 * @models linux-2.6.11 mm/mremap.c do_mremap
 */
import { EAGAIN, EFAULT, EINVAL, ENOMEM } from "../../base/errno.ts";
import { addressOf, pageOf, type Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { account, checkLockedLimit, mayExpand } from "../accounting.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { MREMAP_FIXED, MREMAP_MAYMOVE, moveArea, type Remap } from "../move-area.ts";
import { backingOf, findPlace } from "../placement.ts";
import { populate } from "../populate.ts";
import type { Thread } from "../process.ts";
import type { RemapArguments } from "../remap.ts";
import { unmap } from "../unmap.ts";
import { VM_ACCOUNT, VM_BIG, VM_DONTEXPAND, VM_LOCKED, type Vma } from "../vma.ts";
import { resizeVma } from "../vma-memory.ts";
import { alignUpWrapped, isAligned } from "../words.ts";

/** The call: the new address, or -ERRNO. */
export function* mremap(kernel: Kernel, thread: Thread, args: RemapArguments): Path<number> {
  const { layout } = kernel;
  const { address, flags, newAddress } = args;
  if ((flags & ~(MREMAP_FIXED | MREMAP_MAYMOVE)) !== 0 || !isAligned(kernel.layout, address)) return -EINVAL;
  const remap: Remap = {
    from: pageOf(address),
    oldPages: pageOf(alignUpWrapped(layout, args.oldBytes)),
    newPages: pageOf(alignUpWrapped(layout, args.newBytes)),
    flags,
    to: pageOf(newAddress),
  };
  if (remap.newPages === 0) return -EINVAL;
  const fixed = (flags & MREMAP_FIXED) !== 0;
  if (fixed && (!isAligned(kernel.layout, newAddress) || !targetFits(kernel, remap))) return -EINVAL;

  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const result = yield* remapLocked(kernel, mm, remap);
  mm.mmapSem.releaseWrite(thread);
  if (result < 0) return result;
  const moved = mm.vmas.containing(result);
  const { oldPages, newPages } = remap;
  if (newPages > oldPages && moved !== null && (moved.flags & VM_LOCKED) !== 0) {
    yield* populate(kernel, thread, result + oldPages, result + newPages, "next-area");
  }
  return addressOf(result);
}

function targetFits(kernel: Kernel, { from, oldPages, newPages, flags, to }: Remap): boolean {
  if ((flags & MREMAP_MAYMOVE) === 0 || to + newPages > kernel.layout.taskEnd) return false;
  return !(to <= from && to + newPages > from) && !(from <= to && from + oldPages > to);
}

function* remapLocked(kernel: Kernel, mm: AddressSpace, remap: Remap): Path<number> {
  const { from, newPages, to } = remap;
  const fixed = (remap.flags & MREMAP_FIXED) !== 0;
  if (fixed) {
    const cleared = yield* unmap(kernel, mm, to, to + newPages);
    if (cleared < 0) return cleared;
  }
  let { oldPages } = remap;
  if (oldPages >= newPages) {
    if (oldPages > newPages) {
      if (from + oldPages > kernel.layout.taskEnd) return -EINVAL;
      const cut = yield* unmap(kernel, mm, from + newPages, from + oldPages);
      if (cut < 0) return cut;
    }
    if (!fixed) return from;
    oldPages = newPages;
  }
  const vma = resizable(kernel, mm, from, oldPages, newPages);
  if (typeof vma === "number") return vma;
  if (!fixed && oldPages === vma.end - from && roomAbove(kernel, vma, from) >= newPages) {
    const grown = growInPlace(kernel, vma, newPages - oldPages);
    return grown < 0 ? grown : from;
  }
  if ((remap.flags & MREMAP_MAYMOVE) === 0) return -ENOMEM;
  if (fixed) return yield* moveArea(kernel, vma, { ...remap, oldPages });
  const place = findPlace(kernel, mm, { address: 0, pages: newPages, flags: 0, backing: backingOf(vma) });
  return place < 0 ? place : yield* moveArea(kernel, vma, { ...remap, oldPages, to: pageOf(place) });
}

/** The area that may be resized so, or why not. */
function resizable(kernel: Kernel, mm: AddressSpace, from: Vpn, oldPages: number, newPages: number): Vma | number {
  const vma = mm.vmas.containing(from);
  if (vma === null) return -EFAULT;
  if ((vma.flags & VM_BIG) !== 0) return -EINVAL;
  if (oldPages > vma.end - from) return -EFAULT;
  if ((vma.flags & VM_DONTEXPAND) !== 0 && newPages > oldPages) return -EFAULT;
  if (checkLockedLimit(mm, vma.flags, newPages - oldPages) < 0) return -EAGAIN;
  return mayExpand(kernel, mm, vma.flags, newPages - oldPages) ? vma : -ENOMEM;
}

/** From `from` up to the next area. */
const roomAbove = (kernel: Kernel, vma: Vma, from: Vpn): number => (vma.above?.start ?? kernel.layout.taskEnd) - from;

function growInPlace(kernel: Kernel, vma: Vma, pages: number): number {
  const { mm, flags } = vma;
  if ((flags & VM_ACCOUNT) !== 0 && kernel.commitment.charge(pages, mm) < 0) return -ENOMEM;
  resizeVma(vma, vma.start, vma.end + pages, vma.fileIndex);
  account(mm, flags, pages);
  if ((flags & VM_LOCKED) !== 0) mm.lockedPages += pages;
  return 0;
}
