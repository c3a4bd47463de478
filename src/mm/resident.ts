/**
 * mincore: which pages could be touched without a disk. A page that is mapped counts, and so does one that is only in
 * the page cache or in the swap cache.
 *
 * @models linux-6.1 mm/mincore.c mincore, do_mincore, mincore_pte_range
 * @differs the answer is left in a host array: its own faults are not taken
 */
import { EINVAL, ENOMEM } from "../base/errno.ts";
import { type FileIndex, PAGE_SIZE, pageOf, type SwapSlot, type Vaddr, type Vpn } from "../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE, PTE_SWAP } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { AddressSpace } from "./address-space.ts";
import type { FileObject } from "./file.ts";
import { PG_UPTODATE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { NOT_CACHED } from "./page-cache.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import type { Thread } from "./process.ts";
import { slotOfEntry } from "./swap/swap-cache.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { hugeEntries } from "./thp/huge-entries.ts";
import { VM_BIG, type Vma } from "./vma.ts";
import { alignUp, isAligned } from "./words.ts";

/** The call: 0 or -ERRNO; `vector` gets a byte for each page, with bit 0 set if it is there. */
export function* mincore(
  kernel: Kernel,
  thread: Thread,
  address: Vaddr,
  lengthBytes: number,
  vector: Uint8Array,
): Path<number> {
  if (!isAligned(kernel.layout, address)) return -EINVAL;
  if (address + lengthBytes > kernel.layout.taskEnd * PAGE_SIZE) return -ENOMEM;
  const { mm } = thread;
  const first = pageOf(address);
  const { userPages } = kernel.layout;
  const last = first + pageOf(alignUp(kernel.layout, lengthBytes));
  for (let page = first; page < last; ) {
    if (!mm.mmapSem.tryRead(thread)) yield* mm.mmapSem.read(thread);
    const vma = mm.vmas.containing(page);
    const end = vma === null ? page : Math.min(vma.end, last, page + PAGE_SIZE);
    const places = vector.subarray((page - first) / userPages, (end - first) / userPages);
    if (vma !== null && (vma.flags & VM_BIG) !== 0) markBig(kernel, vma, page, places);
    else if (vma !== null) yield* residentPages(kernel, mm, vma, page, end, places);
    mm.mmapSem.releaseRead(thread);
    if (vma === null) return -ENOMEM;
    page = end;
  }
  return 0;
}

function* residentPages(
  kernel: Kernel,
  mm: AddressSpace,
  vma: Vma,
  first: Vpn,
  end: Vpn,
  places: Uint8Array,
): Path<void> {
  const vector = new Uint8Array(end - first);
  if (vma.file !== null) {
    const index = vma.indexAt(first);
    // Pages beyond the file's end, which fallocate can leave, count too.
    const mark = (page: FileIndex, resident: number) => vector.fill(resident, ...partsWithin(vma.file!, page, index));
    vma.file.pages.forEach(index, index + (end - first), (cached, frame) => {
      if (kernel.frames.has(frame, PG_UPTODATE)) mark(cached, 1);
      return true;
    });
    for (const [swapped, slot] of vma.file.swapped.within(index, index + (end - first))) {
      mark(swapped, isInSwapCache(kernel, slot));
    }
  }
  const { tables, entries } = kernel;
  for (const huge of hugeEntries(kernel, mm, first, end)) {
    vector.fill(1, Math.max(0, huge.page - first), huge.page + kernel.transparent.pages.pages - first);
  }
  for (let page = tables.nextLeaf(mm, first, end); page < end; ) {
    const tableEnd = tables.endOf(page, LEAF, end);
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    const table = tables.openLeaf(mm, page);
    if (table !== NO_TABLE) {
      for (; page < tableEnd; page++) {
        const index = tables.indexAt(page, LEAF);
        const flags = entries.flags(table, index);
        if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) !== 0) vector[page - first] = 1;
        else if (flags === PTE_SWAP) vector[page - first] = isInSwapCache(kernel, slotOfEntry(kernel, table, index));
      }
      tables.close(table);
    }
    unlockTables(kernel, mm);
    page = tables.nextLeaf(mm, tableEnd, end);
  }
  // Of a whole page the first part tells.
  for (let at = 0; at < places.length; at++) places[at] = vector[at * kernel.layout.userPages]!;
}

/** Which bytes of a vector that begins at `first` stand for the parts of a page of a file that the file has, or goes beyond. */
function partsWithin(file: FileObject, page: FileIndex, first: FileIndex): [number, number] {
  const beyond = page < file.endIndex ? Math.min(page + file.softFrames, file.endIndex) : page + file.softFrames;
  return [Math.max(0, page - first), Math.max(0, beyond - first)];
}

/**
 * Of big pages those are there that are mapped.
 *
 * @models linux-6.1 mm/mincore.c mincore_hugetlb
 */
export function markBig({ tables, layout }: Kernel, vma: Vma, first: Vpn, vector: Uint8Array): void {
  for (let at = 0; at < vector.length; at++)
    vector[at] = tables.largeAt(vma.mm, first + at * layout.userPages) === null ? 0 : 1;
}

/** Whether the page of a swap slot is in memory: 1, or 0. */
function isInSwapCache({ swap, frames }: Kernel, slot: SwapSlot): number {
  const frame = swap.find(slot);
  return frame !== NOT_CACHED && frames.has(frame, PG_UPTODATE) ? 1 : 0;
}
