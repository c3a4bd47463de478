/**
 * Unmapping: split what sticks out, take the areas off the set, clear their pages, free their tables, and only then
 * let the areas go.
 *
 * @models linux-6.1 mm/mmap.c do_mas_munmap, do_mas_align_munmap, unmap_region, remove_mt, munmap
 * @models linux-2.6.11 mm/mmap.c do_munmap, sys_munmap
 */
import { EINVAL, ENOMEM } from "../base/errno.ts";
import { pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { account } from "./accounting.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Kernel } from "./kernel.ts";
import { noteHole } from "./placement.ts";
import type { Thread } from "./process.ts";
import { splitBeyondLimit } from "./split.ts";
import { ownEdges } from "./tables/sharing/unshare.ts";
import { VM_ACCOUNT, VM_LOCKED, type Vma } from "./vma.ts";
import { detachVma, freeVma } from "./vma-memory.ts";
import { alignUp, isAligned } from "./words.ts";
import { unmapRegion } from "./zap.ts";

/** The call. */
export function* munmap(kernel: Kernel, thread: Thread, address: Vaddr, lengthBytes: number): Path<number> {
  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const result = yield* unmapBytes(kernel, mm, address, lengthBytes);
  mm.mmapSem.releaseWrite(thread);
  return result;
}

/** The checks of the call. Requires: mmap_sem is held for write. */
export function* unmapBytes(kernel: Kernel, mm: AddressSpace, address: Vaddr, lengthBytes: number): Path<number> {
  const { taskEnd } = kernel.layout;
  const length = alignUp(kernel.layout, lengthBytes);
  const start = pageOf(address);
  const pages = pageOf(length);
  if (!isAligned(kernel.layout, address) || start > taskEnd || pages > taskEnd - start || pages === 0) return -EINVAL;
  return yield* unmap(kernel, mm, start, start + pages);
}

/** Unmaps whatever lies in `[first, end)`: 0, or -ENOMEM with nothing unmapped (one area may have been split). */
export function* unmap(kernel: Kernel, mm: AddressSpace, first: Vpn, end: Vpn): Path<number> {
  const lowest = mm.vmas.intersecting(first, end);
  if (lowest === null) return 0;
  if ((yield* ownEdges(kernel, mm, first, end)) < 0) return -ENOMEM;
  const split = splitEnds(kernel, mm, lowest, first, end);
  if (split < 0) return split;

  const vmas: Vma[] = [];
  for (let vma = mm.vmas.intersecting(first, end); vma !== null; vma = mm.vmas.intersecting(first, end)) {
    detachVma(vma);
    vmas.push(vma);
    if ((vma.flags & VM_LOCKED) !== 0) mm.lockedPages -= vma.pages;
  }
  const above = mm.vmas.find(end);
  const below = above === null ? mm.vmas.last : above.below;
  noteHole(kernel, mm, vmas[0]!.start);
  yield* unmapRegion(
    kernel,
    mm,
    vmas,
    below === null ? 0 : below.end,
    above === null ? kernel.layout.taskEnd : above.start,
  );
  for (const vma of vmas) release(kernel, vma);
  return 0;
}

/** Makes area boundaries of `first` and `end` where areas lie there: 0 or -ENOMEM. */
export function splitAround(kernel: Kernel, mm: AddressSpace, first: Vpn, end: Vpn): number {
  const lowest = mm.vmas.intersecting(first, end);
  return lowest === null ? 0 : splitEnds(kernel, mm, lowest, first, end);
}

/** An area whose pages are gone leaves the totals, and goes. */
function release(kernel: Kernel, vma: Vma): void {
  if ((vma.flags & VM_ACCOUNT) !== 0) kernel.commitment.uncharge(vma.pages);
  account(vma.mm, vma.flags, -vma.pages);
  freeVma(kernel, vma);
}

/** Makes area boundaries of `first` and `end`. The limit on areas counts only if there will be one more at the end. */
function splitEnds(kernel: Kernel, mm: AddressSpace, lowest: Vma, first: Vpn, end: Vpn): number {
  if (first > lowest.start) {
    if (end < lowest.end && mm.vmas.count >= kernel.tunables.maxMapCount) return -ENOMEM;
    const result = splitBeyondLimit(kernel, lowest, first, "above");
    if (result < 0) return result;
  }
  const highest = mm.vmas.containing(end);
  if (highest === null || highest.start >= end) return 0;
  return splitBeyondLimit(kernel, highest, end, "below");
}

/** How many pages of `[first, end)` are mapped, in areas that have all of these VM_* bits. */
export function mappedPages(mm: AddressSpace, first: Vpn, end: Vpn, flags = 0): number {
  let pages = 0;
  for (let vma = mm.vmas.find(first); vma !== null && vma.start < end; vma = vma.above) {
    if ((vma.flags & flags) === flags) pages += Math.min(vma.end, end) - Math.max(vma.start, first);
  }
  return pages;
}
