/**
 * mlock, mlock2, munlock, mlockall and munlockall: areas whose pages stay in memory. The flags of the areas change
 * first, under the semaphore; the pages are brought in after it is released.
 *
 * @models linux-6.1 mm/mlock.c do_mlock, apply_vma_lock_flags, mlock_fixup, apply_mlockall_flags
 * @differs 2.6.11 makes each area present as it comes to it, and so what lies before a hole that ends the call
 */

import { EAGAIN, EFAULT, EINVAL, ENOMEM, EPERM } from "../base/errno.ts";
import { PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { lockedLimitPages, mayLock } from "./accounting.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Kernel } from "./kernel.ts";
import { populate } from "./populate.ts";
import type { Thread } from "./process.ts";
import { isolate } from "./protect.ts";
import { ownTables } from "./tables/sharing/unshare.ts";
import { VM_BIG, VM_DROPPABLE, VM_LOCKED, VM_LOCKONFAULT, type Vma } from "./vma.ts";
import { alignDown, alignUpWrapped, sumWrapped, wordLimit } from "./words.ts";

export const MLOCK_ONFAULT = 1;
export const MCL_CURRENT = 1;
export const MCL_FUTURE = 2;
export const MCL_ONFAULT = 4;

const LOCKED_BITS = VM_LOCKED | VM_LOCKONFAULT;

/** A range of whole pages around bytes; it may wrap. */
interface PageRange {
  readonly first: Vpn;
  readonly pages: number;
}

function around(kernel: Kernel, address: Vaddr, lengthBytes: number): PageRange {
  const start = alignDown(kernel.layout, address);
  const length = alignUpWrapped(kernel.layout, sumWrapped(kernel.layout, lengthBytes, address - start));
  return { first: pageOf(start), pages: pageOf(length) };
}

export function* mlock(kernel: Kernel, thread: Thread, address: Vaddr, lengthBytes: number): Path<number> {
  return yield* lockRange(kernel, thread, around(kernel, address, lengthBytes), VM_LOCKED);
}

export function* mlock2(
  kernel: Kernel,
  thread: Thread,
  address: Vaddr,
  lengthBytes: number,
  flags: number,
): Path<number> {
  if ((flags & ~MLOCK_ONFAULT) !== 0) return -EINVAL;
  const bits = (flags & MLOCK_ONFAULT) !== 0 ? LOCKED_BITS : VM_LOCKED;
  return yield* lockRange(kernel, thread, around(kernel, address, lengthBytes), bits);
}

export function* munlock(kernel: Kernel, thread: Thread, address: Vaddr, lengthBytes: number): Path<number> {
  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const result = yield* applyToRange(kernel, mm, around(kernel, address, lengthBytes), 0);
  mm.mmapSem.releaseWrite(thread);
  return result;
}

function* lockRange(kernel: Kernel, thread: Thread, range: PageRange, bits: number): Path<number> {
  const { mm } = thread;
  if (!mayLock(mm)) return -EPERM;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const result = withinLimit(mm, range) ? yield* applyToRange(kernel, mm, range, bits) : -ENOMEM;
  mm.mmapSem.releaseWrite(thread);
  if (result < 0 || range.pages === 0) return result;
  const populated = yield* populate(kernel, thread, range.first, range.first + range.pages);
  if (populated === -EFAULT) return -ENOMEM;
  return populated === -ENOMEM ? -EAGAIN : Math.min(populated, 0);
}

/** Whether RLIMIT_MEMLOCK allows the range, not counting what of it is locked already. */
function withinLimit(mm: AddressSpace, { first, pages }: PageRange): boolean {
  const limit = lockedLimitPages(mm);
  if (mm.limits.privilege === "root" || mm.lockedPages + pages <= limit) return true;
  return mm.lockedPages + pages - lockedIn(mm, first, first + pages) <= limit;
}

function lockedIn(mm: AddressSpace, first: Vpn, end: Vpn): number {
  let pages = 0;
  for (let vma = mm.vmas.find(first); vma !== null && vma.start < end; vma = vma.above) {
    if ((vma.flags & VM_LOCKED) !== 0) pages += Math.min(vma.end, end) - Math.max(vma.start, first);
  }
  return pages;
}

/** Sets the lock bits of a range that must be mapped without holes; what lies before a hole stays changed. */
function* applyToRange(kernel: Kernel, mm: AddressSpace, { first, pages }: PageRange, bits: number): Path<number> {
  const last = first + pages;
  if (last * PAGE_SIZE >= wordLimit(kernel.layout)) return -EINVAL;
  if (pages === 0) return 0;
  let vma = mm.vmas.containing(first);
  if (vma === null) return -ENOMEM;
  let previous = first > vma.start ? vma : vma.below;
  let start = first;
  for (;;) {
    const end = Math.min(vma.end, last);
    const changed: Vma | null = yield* lockPart(kernel, vma, previous, start, end, (vma.flags & ~LOCKED_BITS) | bits);
    if (changed === null) return -ENOMEM;
    previous = changed;
    start = Math.max(end, previous.end);
    if (start >= last) return 0;
    const next = mm.vmas.find(previous.end);
    if (next === null || next.start !== start) return -ENOMEM;
    vma = next;
  }
}

/**
 * Gives `[start, end)` of `vma` new lock bits: the area that it is part of then, or null for -ENOMEM. What is unlocked is
 * told to the reverse map first: if it has no memory for that, the area stays locked.
 */
function* lockPart(
  kernel: Kernel,
  vma: Vma,
  previous: Vma | null,
  start: Vpn,
  end: Vpn,
  flags: number,
): Path<Vma | null> {
  const oldFlags = vma.flags;
  if (flags === oldFlags || (oldFlags & (kernel.personality.unmergeable | VM_BIG | VM_DROPPABLE)) !== 0) return vma;
  const unlocks = (oldFlags & VM_LOCKED) !== 0 && (flags & VM_LOCKED) === 0;
  if (unlocks && (yield* kernel.mlock.unlock(kernel, vma, start, end)) < 0) return null;
  // Nobody shares the tables of locked pages.
  if ((yield* ownTables(kernel, vma.mm, start, end)) < 0) return null;
  const part = isolate(kernel, vma, previous, start, end, flags);
  if (part === null) return null;
  const pages = end - start;
  if ((flags & VM_LOCKED) === 0) vma.mm.lockedPages -= pages;
  else if ((oldFlags & VM_LOCKED) === 0) vma.mm.lockedPages += pages;
  part.flags = flags;
  return part;
}

export function* mlockall(kernel: Kernel, thread: Thread, flags: number): Path<number> {
  const { mm } = thread;
  if (flags === 0 || (flags & ~(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT)) !== 0 || flags === MCL_ONFAULT) return -EINVAL;
  if (!mayLock(mm)) return -EPERM;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const now = (flags & MCL_CURRENT) !== 0;
  const allowed = !now || mm.limits.privilege === "root" || mm.totalPages <= lockedLimitPages(mm);
  if (allowed) yield* applyToAll(kernel, mm, flags);
  mm.mmapSem.releaseWrite(thread);
  if (!allowed) return -ENOMEM;
  if (now) yield* populate(kernel, thread, 0, kernel.layout.taskEnd, "next-area");
  return 0;
}

export function* munlockall(kernel: Kernel, thread: Thread): Path<number> {
  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const result = yield* applyToAll(kernel, mm, 0);
  mm.mmapSem.releaseWrite(thread);
  return result;
}

/** Lock bits for areas to come and for those that are there. 0; or -ENOMEM if some keep theirs, for want of memory. */
function* applyToAll(kernel: Kernel, mm: AddressSpace, flags: number): Path<number> {
  const onFault = (flags & MCL_ONFAULT) !== 0 ? VM_LOCKONFAULT : 0;
  mm.defaultFlags &= ~LOCKED_BITS;
  if ((flags & MCL_FUTURE) !== 0) {
    mm.defaultFlags |= VM_LOCKED | onFault;
    if ((flags & MCL_CURRENT) === 0) return 0;
  }
  const bits = (flags & MCL_CURRENT) !== 0 ? VM_LOCKED | onFault : 0;
  let previous: Vma | null = null;
  let result = 0;
  for (let vma = mm.vmas.first; vma !== null; ) {
    const { end } = vma;
    const changed: Vma | null = yield* lockPart(
      kernel,
      vma,
      previous,
      vma.start,
      end,
      (vma.flags & ~LOCKED_BITS) | bits,
    );
    if (changed === null) result = -ENOMEM;
    previous = changed ?? vma;
    vma = mm.vmas.find(end);
  }
  return result;
}
