/**
 * The calls of 2.6.11 that differ from today's in more than a constant: brk, mprotect, madvise, mincore and mlockall.
 *
 * @models linux-2.6.11 mm/mmap.c sys_brk, do_brk; mm/mprotect.c sys_mprotect; mm/madvise.c; mm/mincore.c; mm/mlock.c
 * @differs mlock counts pages that are locked already only once, as today's does; mprotect brings in the pages of
 *          locked private memory that becomes writable
 */
import { EAGAIN, EBADF, EINVAL, ENOMEM } from "../../base/errno.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { account, checkLockedLimit, mayExpand } from "../accounting.ts";
import type { AddressSpace } from "../address-space.ts";
import { MADV_DONTNEED, MADV_NORMAL, MADV_RANDOM, MADV_SEQUENTIAL, MADV_WILLNEED } from "../advise.ts";
import { DATA_FLAGS } from "../brk.ts";
import { FADV_WILLNEED, fadvise } from "../file-io.ts";
import { cachedPages } from "../file-pages.ts";
import type { Kernel } from "../kernel.ts";
import { mlockall as lockAll, MCL_CURRENT, MCL_FUTURE } from "../lock.ts";
import { mergeVma } from "../merge.ts";
import { populate } from "../populate.ts";
import type { Thread } from "../process.ts";
import { protectRange, refusesCut } from "../protect.ts";
import { markBig } from "../resident.ts";
import { splitVma } from "../split.ts";
import { unmap } from "../unmap.ts";
import {
  anonymousIndex,
  VM_ACCOUNT,
  VM_BIG,
  VM_LOCKED,
  VM_PFNMAP,
  VM_RAND_READ,
  VM_SEQ_READ,
  type Vma,
} from "../vma.ts";
import * as flag from "../vma-flags.ts";
import { createVma, insertVma } from "../vma-memory.ts";
import { alignUp, alignUpWrapped, isAligned, wordLimit } from "../words.ts";
import { zapRange } from "../zap.ts";

/** The call: where the break is now. */
export function* brk(kernel: Kernel, thread: Thread, address: Vaddr): Path<Vaddr> {
  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const oldEnd = pageOf(alignUp(kernel.layout, mm.brk));
  const newEnd = pageOf(alignUp(kernel.layout, address));
  const moved = yield* moveBreak(kernel, mm, address, oldEnd, newEnd);
  if (moved) mm.brk = address;
  const at = mm.brk;
  mm.mmapSem.releaseWrite(thread);
  if (moved && newEnd > oldEnd && (mm.defaultFlags & VM_LOCKED) !== 0) {
    yield* populate(kernel, thread, oldEnd, newEnd, "next-area");
  }
  return at;
}

function* moveBreak(kernel: Kernel, mm: AddressSpace, address: Vaddr, oldEnd: Vpn, newEnd: Vpn): Path<boolean> {
  if (address < mm.endCode) return false;
  if (newEnd === oldEnd) return true;
  if (newEnd < oldEnd) return (yield* unmap(kernel, mm, newEnd, oldEnd)) >= 0;
  if (address - mm.startData > mm.limits.dataBytes) return false;
  if (mm.vmas.intersecting(oldEnd, newEnd + 1) !== null) return false;
  return addBreak(kernel, mm, oldEnd, newEnd) >= 0;
}

function addBreak(kernel: Kernel, mm: AddressSpace, start: Vpn, end: Vpn): number {
  const pages = end - start;
  const flags = DATA_FLAGS | VM_ACCOUNT | mm.defaultFlags;
  if (end > kernel.layout.taskEnd) return -EINVAL;
  if (checkLockedLimit(mm, flags, pages) < 0) return -EAGAIN;
  if (!mayExpand(kernel, mm, flags, pages) || mm.vmas.count > kernel.tunables.maxMapCount) return -ENOMEM;
  if (kernel.commitment.charge(pages, mm) < 0) return -ENOMEM;
  const backing = { file: null, opened: null, fileIndex: anonymousIndex(start) };
  if (
    mergeVma(kernel, mm, mm.vmas.before(start), { ...backing, start, end, flags, anonVma: null, source: null }) === null
  ) {
    const vma = createVma(kernel, mm, start, end, flags, backing);
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

/** The rights are looked at even where there is nothing to protect. */
export function* mprotect(
  kernel: Kernel,
  thread: Thread,
  address: Vaddr,
  lengthBytes: number,
  prot: number,
): Path<number> {
  const both = flag.PROT_GROWSDOWN | flag.PROT_GROWSUP;
  const grows = prot & both;
  const rights = prot & ~both;
  if (grows === both || !isAligned(kernel.layout, address)) return -EINVAL;
  const length = alignUpWrapped(kernel.layout, lengthBytes);
  if (address + length >= wordLimit(kernel.layout)) return -ENOMEM;
  if ((rights & ~(flag.PROT_READ | flag.PROT_WRITE | flag.PROT_EXEC | flag.PROT_SEM)) !== 0) return -EINVAL;
  if (length === 0) return 0;
  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const result = yield* protectRange(kernel, thread, pageOf(address), pageOf(address + length), rights, grows);
  mm.mmapSem.releaseWrite(thread);
  return result;
}

/** Five kinds of advice; areas are split for them and never joined again. */
export function* madvise(
  kernel: Kernel,
  thread: Thread,
  address: Vaddr,
  lengthBytes: number,
  advice: number,
): Path<number> {
  if (!isAligned(kernel.layout, address)) return -EINVAL;
  const length = alignUpWrapped(kernel.layout, lengthBytes);
  if (lengthBytes !== 0 && length === 0) return -EINVAL;
  if (address + length >= wordLimit(kernel.layout)) return -EINVAL;
  if (length === 0) return 0;
  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const first = pageOf(address);
  const result = yield* adviseRange(kernel, mm, first, first + pageOf(length), advice);
  mm.mmapSem.releaseWrite(thread);
  return result;
}

function* adviseRange(kernel: Kernel, mm: AddressSpace, first: Vpn, last: Vpn, advice: number): Path<number> {
  let hole = 0;
  for (let start = first; start < last; ) {
    const vma = mm.vmas.find(start);
    if (vma === null) return -ENOMEM;
    if (start < vma.start) {
      hole = -ENOMEM;
      start = vma.start;
      if (start >= last) break;
    }
    const end = Math.min(vma.end, last);
    const result = yield* adviseArea(kernel, vma, start, end, advice);
    if (result < 0) return result;
    start = end;
  }
  return hole;
}

function* adviseArea(kernel: Kernel, vma: Vma, start: Vpn, end: Vpn, advice: number): Path<number> {
  const part = (vma.flags & VM_BIG) === 0 ? 0 : kernel.bigPages.advised(kernel, vma, advice, { start, end });
  if (typeof part === "number" && part < 0) return part;
  const cut = refusesCut(kernel, vma, start, end);
  if (cut < 0) return cut;
  switch (advice) {
    case MADV_NORMAL:
      return setReading(kernel, vma, start, end, 0);
    case MADV_SEQUENTIAL:
      return setReading(kernel, vma, start, end, VM_SEQ_READ);
    case MADV_RANDOM:
      return setReading(kernel, vma, start, end, VM_RAND_READ);
    case MADV_WILLNEED:
      if (vma.opened === null) return -EBADF;
      return yield* fadvise(kernel, vma.opened, vma.indexAt(start) * PAGE_SIZE, addressOf(end - start), FADV_WILLNEED);
    case MADV_DONTNEED:
      // What a driver has mapped cannot be had again (since 2.6.15, which names such areas).
      if ((vma.flags & (VM_LOCKED | VM_PFNMAP)) !== 0) return -EINVAL;
      return yield* zapRange(kernel, vma, start, end);
    default:
      return -EINVAL;
  }
}

function setReading(kernel: Kernel, vma: Vma, start: Vpn, end: Vpn, bits: number): number {
  const flags = (vma.flags & ~(VM_SEQ_READ | VM_RAND_READ)) | bits;
  if (start !== vma.start && splitVma(kernel, vma, start, "below") < 0) return -EAGAIN;
  if (end !== vma.end && splitVma(kernel, vma, end, "above") < 0) return -EAGAIN;
  vma.flags = flags;
  return 0;
}

/** What is in the page cache, by the linear place in the file: private copies and remapped pages are not seen. */
export function* mincore(
  kernel: Kernel,
  thread: Thread,
  address: Vaddr,
  lengthBytes: number,
  vector: Uint8Array,
): Path<number> {
  if (!isAligned(kernel.layout, address)) return -EINVAL;
  const { taskEnd } = kernel.layout;
  const first = pageOf(address);
  const pages = pageOf(alignUp(kernel.layout, lengthBytes));
  if (first >= taskEnd) return -ENOMEM;
  if (pages > taskEnd - first) return -EINVAL;
  const { mm } = thread;
  if (!mm.mmapSem.tryRead(thread)) yield* mm.mmapSem.read(thread);
  const result = cachedIn(kernel, mm, first, first + pages, vector);
  mm.mmapSem.releaseRead(thread);
  return result;
}

function cachedIn(kernel: Kernel, mm: AddressSpace, first: Vpn, last: Vpn, vector: Uint8Array): number {
  const { userPages } = kernel.layout;
  let hole = 0;
  for (let start = first; start < last; ) {
    const vma = mm.vmas.find(start);
    if (vma === null) return -ENOMEM;
    if (start < vma.start) {
      hole = -ENOMEM;
      start = vma.start;
      if (start >= last) break;
    }
    if (vma.file === null) return -ENOMEM;
    const end = Math.min(vma.end, last);
    const places = vector.subarray((start - first) / userPages, (end - first) / userPages);
    if ((vma.flags & VM_BIG) !== 0) {
      markBig(kernel, vma, start, places);
      start = end;
      continue;
    }
    const index = vma.indexAt(start);
    places.fill(0);
    cachedPages(kernel, vma.file, index, index + (end - start), (cached) => {
      places[Math.floor((cached - index) / userPages)] = 1;
      return true;
    });
    start = end;
  }
  return hole;
}

/** MCL_ONFAULT is not known yet. */
export function* mlockall(kernel: Kernel, thread: Thread, flags: number): Path<number> {
  if ((flags & ~(MCL_CURRENT | MCL_FUTURE)) !== 0) return -EINVAL;
  return yield* lockAll(kernel, thread, flags);
}
