/**
 * fork: a copy of an address space that shares every page until one side writes. What is copied at once is areas and
 * page tables; what faults can fetch again is left to them.
 *
 * @models linux-6.1 kernel/fork.c dup_mm, dup_mmap
 */
import { ENOMEM } from "../base/errno.ts";
import type { Path } from "../sync/path.ts";
import { account } from "./accounting.ts";
import type { AddressSpace } from "./address-space.ts";
import { anonVmaFork } from "./anon-vma.ts";
import { copyPages } from "./copy-pages.ts";
import type { Kernel } from "./kernel.ts";
import { orWait } from "./mapped-frame.ts";
import type { Thread } from "./process.ts";
import { createSpace, releaseSpace } from "./space.ts";
import { VM_ACCOUNT, VM_DONTCOPY, VM_LOCKED, VM_LOCKONFAULT, VM_NOHUGEPAGE, VM_WIPEONFORK, type Vma } from "./vma.ts";
import { copyVmaRange, forgetVma, insertVma } from "./vma-memory.ts";

/** A copy of the thread's address space, with one user; null, and nothing changed that a program could see, without memory. */
export function* forkSpace(kernel: Kernel, thread: Thread): Path<AddressSpace | null> {
  const parent = thread.mm;
  const child = yield* orWait(kernel.allocator, () => createSpace(kernel, parent.limits.copy(), parent));
  if (child === null) return null;
  if (!parent.mmapSem.tryWrite(thread)) yield* parent.mmapSem.write(thread);
  inherit(child, parent);
  let result = 0;
  for (let vma = parent.vmas.first; vma !== null && result === 0; vma = vma.above) {
    if ((vma.flags & VM_DONTCOPY) !== 0) account(child, vma.flags, -vma.pages);
    else result = yield* copyArea(kernel, child, vma);
  }
  // The parent's other threads may hold translations that let them write to what is shared now.
  kernel.tlbFlush.all(parent);
  if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
  parent.mmapSem.releaseWrite(thread);
  kernel.counters.forks++;
  if (result === 0) return child;
  yield* releaseSpace(kernel, child);
  return null;
}

function inherit(child: AddressSpace, parent: AddressSpace): void {
  child.totalPages = parent.totalPages;
  child.dataPages = parent.dataPages;
  child.execPages = parent.execPages;
  child.stackPages = parent.stackPages;
  // mlockall's promise for areas to come is not inherited.
  child.defaultFlags = parent.defaultFlags & VM_NOHUGEPAGE;
  child.mmapBase = parent.mmapBase;
  child.freeAreaCache = parent.freeAreaCache;
  child.startCode = parent.startCode;
  child.endCode = parent.endCode;
  child.startData = parent.startData;
  child.endData = parent.endData;
  child.startBrk = parent.startBrk;
  child.brk = parent.brk;
  child.stackStart = parent.stackStart;
}

/** Copies one area and its entries: 0 or -ENOMEM. */
function* copyArea(kernel: Kernel, mm: AddressSpace, parent: Vma): Path<number> {
  const { commitment } = kernel;
  const charged = (parent.flags & VM_ACCOUNT) !== 0 ? parent.pages : 0;
  if (charged > 0 && commitment.charge(charged, parent.mm) < 0) return -ENOMEM;
  const child = yield* orWait(kernel.allocator, () => copyVmaRange(kernel, mm, parent, parent.start, parent.end));
  if (child === null) {
    commitment.uncharge(charged);
    return -ENOMEM;
  }
  const isWiped = (parent.flags & VM_WIPEONFORK) !== 0;
  if (
    !isWiped &&
    (yield* orWait(kernel.allocator, () => (anonVmaFork(kernel, child, parent) < 0 ? null : child))) === null
  ) {
    forgetVma(kernel, child);
    commitment.uncharge(charged);
    return -ENOMEM;
  }
  child.flags &= ~(VM_LOCKED | VM_LOCKONFAULT);
  insertVma(child);
  return isWiped ? 0 : yield* copyPages(kernel, child, parent);
}
