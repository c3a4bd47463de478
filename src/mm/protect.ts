/**
 * mprotect: other rights for a range, area by area. What has been changed when a hole or a refusal ends the call stays
 * changed.
 *
 * @models linux-6.1 mm/mprotect.c do_mprotect_pkey, mprotect_fixup
 */

import { EACCES, EINVAL, ENOMEM } from "../base/errno.ts";
import { pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { account, mayExpand } from "./accounting.ts";
import type { Kernel } from "./kernel.ts";
import { mergeVma, rangeOf } from "./merge.ts";
import { populateArea } from "./populate.ts";
import type { Thread } from "./process.ts";
import { protectPages } from "./protect-pages.ts";
import { splitVma } from "./split.ts";
import { ownTables } from "./tables/sharing/unshare.ts";
import { cutHuge } from "./thp/huge-entries.ts";
import {
  VM_ACCESS,
  VM_ACCOUNT,
  VM_BIG,
  VM_GROWSDOWN,
  VM_HUGETLB,
  VM_LOCKED,
  VM_NORESERVE,
  VM_SHARED,
  VM_WRITE,
  type Vma,
} from "./vma.ts";
import * as flag from "./vma-flags.ts";
import { alignUpWrapped, isAligned, wordLimit } from "./words.ts";

const KNOWN_PROT = flag.PROT_READ | flag.PROT_WRITE | flag.PROT_EXEC | flag.PROT_SEM;
const GROWS = flag.PROT_GROWSDOWN | flag.PROT_GROWSUP;

/** The call: 0 or -ERRNO. */
export function* mprotect(
  kernel: Kernel,
  thread: Thread,
  address: Vaddr,
  lengthBytes: number,
  prot: number,
): Path<number> {
  const { layout } = kernel;
  const grows = prot & GROWS;
  const rights = prot & ~GROWS;
  if (grows === GROWS || !isAligned(kernel.layout, address)) return -EINVAL;
  if (lengthBytes === 0) return 0;
  const length = alignUpWrapped(layout, lengthBytes);
  if (length === 0 || address + length >= wordLimit(layout)) return -ENOMEM;
  if ((rights & ~KNOWN_PROT) !== 0) return -EINVAL;

  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const result = yield* protectRange(kernel, thread, pageOf(address), pageOf(address + length), rights, grows);
  mm.mmapSem.releaseWrite(thread);
  return result;
}

/** Requires: mmap_sem is held for write. */
export function* protectRange(
  kernel: Kernel,
  thread: Thread,
  first: Vpn,
  last: Vpn,
  prot: number,
  grows: number,
): Path<number> {
  const { mm } = thread;
  let vma = mm.vmas.find(first);
  if (vma === null) return -ENOMEM;
  let start = first;
  if (grows === flag.PROT_GROWSDOWN) {
    if (vma.start >= last) return -ENOMEM;
    start = vma.start;
    if ((vma.flags & VM_GROWSDOWN) === 0) return -EINVAL;
  } else if (vma.start > first) return -ENOMEM;
  else if (grows === flag.PROT_GROWSUP) return -EINVAL; // No area grows up here.

  let previous = start > vma.start ? vma : vma.below;
  for (;;) {
    const refused = (vma.flags & VM_BIG) === 0 ? 0 : kernel.bigPages.refusesProtect(kernel, vma);
    if (refused < 0) return refused;
    const flags = flag.vmFlagsOfProt(prot) | (vma.flags & ~VM_ACCESS);
    // VM_MAYREAD is VM_READ << 4, and so on.
    if ((flags & ~(flags >> 4) & VM_ACCESS) !== 0) return -EACCES;
    const end = Math.min(vma.end, last);
    const changed: Vma | number = yield* protectPart(kernel, thread, vma, previous, start, end, flags);
    if (typeof changed === "number") return changed;
    previous = changed;
    start = Math.max(end, previous.end);
    if (start >= last) return 0;
    const next = mm.vmas.find(previous.end);
    if (next === null || next.start !== start) return -ENOMEM;
    vma = next;
  }
}

/** Gives `[start, end)` of `vma` new flags. The area that it is part of then, or -ENOMEM. */
function* protectPart(
  kernel: Kernel,
  thread: Thread,
  vma: Vma,
  previous: Vma | null,
  start: Vpn,
  end: Vpn,
  wanted: number,
): Path<Vma | number> {
  const { mm } = vma;
  const oldFlags = vma.flags;
  if (wanted === oldFlags) return vma;
  const cut = refusesCut(kernel, vma, start, end);
  if (cut < 0) return cut;
  if ((yield* ownTables(kernel, mm, start, end)) < 0) return -ENOMEM;
  const pages = end - start;
  let charged = 0;
  if ((wanted & VM_WRITE) !== 0) {
    if (!mayExpand(kernel, mm, wanted, pages) && mayExpand(kernel, mm, oldFlags, pages)) return -ENOMEM;
    if ((oldFlags & (VM_ACCOUNT | VM_WRITE | VM_HUGETLB | VM_SHARED | VM_NORESERVE)) === 0) {
      charged = pages;
      if (kernel.commitment.charge(charged, mm) < 0) return -ENOMEM;
    }
  }
  const returned = returnsPromise(kernel, vma, wanted) ? pages : 0;
  const flags = charged > 0 ? wanted | VM_ACCOUNT : returned > 0 ? wanted & ~VM_ACCOUNT : wanted;
  const part = isolate(kernel, vma, previous, start, end, flags);
  if (part === null) {
    kernel.commitment.uncharge(charged);
    return -ENOMEM;
  }
  part.flags = flags;
  yield* protectPages(kernel, part, start, end);
  kernel.commitment.uncharge(returned);
  const lockedBecomesWritable =
    (oldFlags & (VM_WRITE | VM_SHARED | VM_LOCKED)) === VM_LOCKED && (flags & VM_WRITE) !== 0;
  if (lockedBecomesWritable) yield* populateArea(kernel, thread, part, start, end);
  account(mm, oldFlags, -pages);
  account(mm, flags, pages);
  return part;
}

/** Whether an area of big pages can be cut at both ends of a part: 0 or -EINVAL. */
export function refusesCut(kernel: Kernel, vma: Vma, start: Vpn, end: Vpn): number {
  if ((vma.flags & VM_BIG) === 0) return 0;
  const below = start === vma.start ? 0 : kernel.bigPages.refusesCut(kernel, vma, start);
  return below < 0 || end === vma.end ? below : kernel.bigPages.refusesCut(kernel, vma, end);
}

/** Whether an area that gets these flags needs no promise any more: nothing is in it, and nothing can be. */
const returnsPromise = (kernel: Kernel, { file, anonVma, flags }: Vma, wanted: number): boolean =>
  kernel.personality.unwrittenPromise === "returned" &&
  (wanted & VM_WRITE) === 0 &&
  (flags & VM_ACCOUNT) !== 0 &&
  file === null &&
  anonVma === null;

/**
 * The area that has `[start, end)` of `vma` and may get `flags`: a neighbour that had them before and has grown, or
 * `vma` itself cut to size. Null if memory or the number of areas does not allow it. Its flags are not set yet.
 *
 * Requires: `previous` is the area below `start`, or `vma` itself if it starts lower.
 */
export function isolate(
  kernel: Kernel,
  vma: Vma,
  previous: Vma | null,
  start: Vpn,
  end: Vpn,
  flags: number,
): Vma | null {
  cutHuge(kernel, vma, start);
  cutHuge(kernel, vma, end);
  const merged = mergeVma(kernel, vma.mm, previous, rangeOf(vma, start, end, flags));
  if (merged !== null) return merged;
  if (start !== vma.start && splitVma(kernel, vma, start, "below") < 0) return null;
  if (end !== vma.end && splitVma(kernel, vma, end, "above") < 0) return null;
  return vma;
}
