/**
 * msync: what was written through shared mappings goes to the file's disk. Holes are skipped and reported at the end.
 *
 * @models linux-6.1 mm/msync.c msync
 */
import { EBUSY, EINVAL, ENOMEM } from "../base/errno.ts";
import { pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import { type OpenTable, PTE_DIRTY, PTE_PRESENT } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { setFrameDirty } from "./file-pages.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import type { Thread } from "./process.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { VM_LOCKED, VM_NONLINEAR, VM_SHARED, type Vma } from "./vma.ts";
import { alignUpWrapped, isAligned, wordLimit } from "./words.ts";
import { writeBack } from "./writeback.ts";

export const MS_ASYNC = 1;
export const MS_INVALIDATE = 2;
export const MS_SYNC = 4;

/** The call: 0 or -ERRNO. */
export function* msync(
  kernel: Kernel,
  thread: Thread,
  address: Vaddr,
  lengthBytes: number,
  flags: number,
): Path<number> {
  if ((flags & ~(MS_ASYNC | MS_INVALIDATE | MS_SYNC)) !== 0 || !isAligned(kernel.layout, address)) return -EINVAL;
  if ((flags & MS_ASYNC) !== 0 && (flags & MS_SYNC) !== 0) return -EINVAL;
  // The length is rounded up before it can wrap, and what wraps to 0 syncs nothing.
  const length = alignUpWrapped(kernel.layout, lengthBytes);
  if (address + length >= wordLimit(kernel.layout)) return -ENOMEM;
  if (length === 0) return 0;

  const { mmapSem } = thread.mm;
  if (!mmapSem.tryRead(thread)) yield* mmapSem.read(thread);
  const first = pageOf(address);
  const result = yield* syncRange(kernel, thread, first, first + pageOf(length), flags);
  mmapSem.releaseRead(thread);
  return result;
}

function* syncRange(kernel: Kernel, thread: Thread, first: Vpn, last: Vpn, flags: number): Path<number> {
  const { vmas, mmapSem } = thread.mm;
  let hole = 0;
  let start = first;
  while (start < last) {
    const vma = vmas.find(start);
    if (vma === null) return -ENOMEM;
    if (start < vma.start) {
      // MS_ASYNC alone does nothing but look for holes.
      if (flags === MS_ASYNC) return -ENOMEM;
      start = vma.start;
      if (start >= last) return -ENOMEM;
      hole = -ENOMEM;
    }
    if ((flags & MS_INVALIDATE) !== 0 && (vma.flags & VM_LOCKED) !== 0) return -EBUSY;
    const end = Math.min(vma.end, last);
    const { file } = vma;
    const index = vma.indexAt(start);
    const pages = end - start;
    const sync = (flags & MS_SYNC) !== 0 && file !== null && file.raw === null && (vma.flags & VM_SHARED) !== 0;
    start = vma.end;
    if (!sync) continue;
    // Of a nonlinear area only its entries say which pages it has, and which of them were written.
    const isLinear = (vma.flags & VM_NONLINEAR) === 0;
    if (!isLinear) yield* collectDirt(kernel, vma, vma.start + (index - vma.fileIndex), pages);
    mmapSem.releaseRead(thread);
    yield* writeBack(kernel, file, isLinear ? index : 0, isLinear ? index + pages : file.endIndex);
    if (!mmapSem.tryRead(thread)) yield* mmapSem.read(thread);
  }
  return hole;
}

/**
 * Pages that entries of the range say were written are dirty from now on, and the entries clean.
 *
 * @models linux-2.6.11 mm/msync.c filemap_sync
 */
function* collectDirt(kernel: Kernel, vma: Vma, first: Vpn, pages: number): Path<void> {
  const { tables, tlbFlush } = kernel;
  const { mm } = vma;
  const end = first + pages;
  for (let page = tables.nextLeaf(mm, first, end); page < end; ) {
    const stop = tables.endOf(page, LEAF, end);
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    const table = tables.openLeaf(mm, page);
    if (table !== NO_TABLE) {
      cleanLeaf(kernel, vma, table, page, stop);
      tables.close(table);
    }
    if (tlbFlush.owes) yield* tlbFlush.settle();
    unlockTables(kernel, mm);
    page = tables.nextLeaf(mm, stop, end);
  }
}

function cleanLeaf(kernel: Kernel, vma: Vma, table: OpenTable, first: Vpn, end: Vpn): void {
  const { tables, entries, frames, tlbFlush } = kernel;
  let at = tables.indexAt(first, LEAF);
  for (let page = first; page < end; page++, at++) {
    const flags = entries.flags(table, at);
    if ((flags & PTE_PRESENT) === 0 || (flags & PTE_DIRTY) === 0) continue;
    setFrameDirty(kernel, vma.file, frames.head(entries.frame(table, at)));
    entries.setFlags(table, at, flags & ~PTE_DIRTY);
    tlbFlush.page(vma.mm, page);
  }
}
