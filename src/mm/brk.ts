/**
 * brk: the end of the program's data moves. It never says why it did not: the answer is where the break is.
 *
 * @models linux-6.1 mm/mmap.c brk, do_brk_flags
 */
import { ENOMEM } from "../base/errno.ts";
import { addressOf, pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { account, checkLockedLimit, mayExpand } from "./accounting.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Kernel } from "./kernel.ts";
import { VM_MAY } from "./map.ts";
import { continues, type MergeRange } from "./merge.ts";
import { startWithGap } from "./placement.ts";
import { populate } from "./populate.ts";
import type { Thread } from "./process.ts";
import { retried } from "./retried.ts";
import { unmap } from "./unmap.ts";
import { anonymousIndex, VM_ACCOUNT, VM_LOCKED, VM_READ, VM_WRITE } from "./vma.ts";
import { createVma, insertVma, resizeVma } from "./vma-memory.ts";
import { alignUp } from "./words.ts";

/** VM_DATA_DEFAULT_FLAGS of programs whose data is not executable. */
export const DATA_FLAGS = VM_READ | VM_WRITE | VM_MAY;

/** The call: where the break is now. */
export function* brk(kernel: Kernel, thread: Thread, address: Vaddr): Path<Vaddr> {
  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const oldEnd = pageOf(alignUp(kernel.layout, mm.brk));
  const newEnd = pageOf(alignUp(kernel.layout, address));
  const move = () => moveBreak(kernel, mm, address, oldEnd, newEnd);
  const moved = yield* retried(kernel, move, (done) => !done);
  const at = mm.brk;
  mm.mmapSem.releaseWrite(thread);
  if (moved && newEnd > oldEnd && (mm.defaultFlags & VM_LOCKED) !== 0) {
    yield* populate(kernel, thread, oldEnd, newEnd, "next-area");
  }
  return at;
}

function* moveBreak(kernel: Kernel, mm: AddressSpace, address: Vaddr, oldEnd: Vpn, newEnd: Vpn): Path<boolean> {
  if (address < mm.startBrk) return false;
  if (address - mm.startBrk + (mm.endData - mm.startData) > mm.limits.dataBytes) return false;
  if (newEnd < oldEnd) {
    const lowest = mm.vmas.intersecting(newEnd, oldEnd);
    if (lowest === null || (yield* unmap(kernel, mm, newEnd, oldEnd)) < 0) return false;
  } else if (newEnd > oldEnd && !grow(kernel, mm, oldEnd, newEnd)) return false;
  mm.brk = address;
  return true;
}

function grow(kernel: Kernel, mm: AddressSpace, oldEnd: Vpn, newEnd: Vpn): boolean {
  const pages = newEnd - oldEnd;
  if (newEnd > kernel.layout.taskEnd || checkLockedLimit(mm, mm.defaultFlags, pages) < 0) return false;
  // One page must stay free above, and a stack's gap with it.
  const next = mm.vmas.find(oldEnd);
  if (next !== null && newEnd + 1 > startWithGap(kernel, next)) return false;
  return addBreak(kernel, mm, oldEnd, newEnd) >= 0;
}

/** Adds `[start, end)` to the heap: to the area right below, or as a new one. 0 or -ENOMEM. */
function addBreak(kernel: Kernel, mm: AddressSpace, start: Vpn, end: Vpn): number {
  const pages = end - start;
  const flags = DATA_FLAGS | VM_ACCOUNT | mm.defaultFlags;
  if (!mayExpand(kernel, mm, flags, pages) || mm.vmas.count > kernel.tunables.maxMapCount) return -ENOMEM;
  if (kernel.commitment.charge(pages, mm) < 0) return -ENOMEM;
  // An area that ends where the heap begins is not the heap, though it may look like it.
  const below = mm.vmas.before(start);
  const heap = below !== null && addressOf(below.end) > mm.startBrk ? below : null;
  const range: MergeRange = {
    start,
    end,
    flags,
    anonVma: null,
    source: null,
    file: null,
    opened: null,
    fileIndex: anonymousIndex(start),
  };
  if (heap !== null && continues(kernel, heap, range)) resizeVma(heap, heap.start, end, heap.fileIndex);
  else {
    const vma = createVma(kernel, mm, start, end, flags, {
      file: null,
      opened: null,
      fileIndex: anonymousIndex(start),
    });
    if (vma === null) {
      kernel.commitment.uncharge(pages);
      return -ENOMEM;
    }
    insertVma(vma);
  }
  account(mm, flags, pages);
  if ((flags & VM_LOCKED) !== 0) mm.lockedPages += pages;
  return 0;
}
