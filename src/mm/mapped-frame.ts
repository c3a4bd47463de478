/**
 * What it means for a page-table entry to map a frame: the rights that an area gives its entries, and the counts that
 * change with each entry (references, the reverse map, what is resident).
 */
import { ENOMEM } from "../base/errno.ts";
import type { Pfn, PteSlot, Vpn } from "../base/units.ts";
import { PTE_ACCESSED, PTE_NO_EXECUTE, PTE_PRESENT, PTE_PROT_NONE, PTE_USER, PTE_WRITE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { AddressSpace } from "./address-space.ts";
import { type Allocator, WANT_USER } from "./allocator.ts";
import { type Frames, PG_ANON, PG_SWAPBACKED, PG_UPTODATE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { VM_ACCESS, VM_DROPPABLE, VM_EXEC, VM_RAW, VM_SHARED, VM_WRITE, type Vma } from "./vma.ts";
import { OWNER_USER } from "./zone.ts";

/**
 * The flags of a new entry of `vma` (vm_page_prot). Private areas map their pages read-only until a write has made them
 * their own. Entries are born young, as x86 has them.
 *
 * @models linux-6.1 mm/mmap.c protection_map, vma_set_page_prot
 */
export function entryFlags(kernel: Kernel, vma: Vma): number {
  const { flags } = vma;
  const mark = (flags & VM_RAW) === 0 ? 0 : kernel.pfnMappings.pageBits;
  if ((flags & VM_ACCESS) === 0) return PTE_PROT_NONE | PTE_USER | PTE_ACCESSED | PTE_NO_EXECUTE | mark;
  let entry = PTE_PRESENT | PTE_USER | PTE_ACCESSED | mark;
  if ((flags & VM_EXEC) === 0) entry |= PTE_NO_EXECUTE;
  const isSharedWritable = (flags & (VM_SHARED | VM_WRITE)) === (VM_SHARED | VM_WRITE);
  return isSharedWritable && !kernel.personality.pages.noticesWrites(vma) ? entry | PTE_WRITE : entry;
}

/** What a page counts as where it is resident. */
export function kindOfPage(frames: Frames, frame: Pfn): "anon" | "shmem" | "file" {
  const flags = frames.flags.read(frames.head(frame));
  return (flags & PG_ANON) !== 0 ? "anon" : (flags & PG_SWAPBACKED) !== 0 ? "shmem" : "file";
}

/** Counts a frame that the entry at `slot` maps in (`+1`) or out (`-1`) of what is resident, by what it is. */
function countResident(kernel: Kernel, mm: AddressSpace, frame: Pfn, slot: PteSlot, change: 1 | -1): void {
  const shared = kernel.tables.shared.find(kernel.entries.tableOf(slot));
  if (shared !== undefined) {
    shared.count(kindOfPage(kernel.frames, frame), change);
    return;
  }
  const flags = kernel.frames.flags.read(kernel.frames.head(frame));
  const { resident } = mm;
  if ((flags & PG_ANON) !== 0) resident.anon += change;
  else if ((flags & PG_SWAPBACKED) !== 0) resident.shmem += change;
  else resident.file += change;
}

/** A frame for a user page, contents unknown; or NO_FRAME. */
export function tryUserFrame(kernel: Kernel): Pfn {
  return kernel.allocator.tryAllocate(0, WANT_USER, OWNER_USER);
}

/**
 * Waits for the memory that mapping something could not have, now for the `failures`-th time in a row, and draws what the
 * reverse map may want of it while no lock is held. False: there is none to be had.
 */
export function* waitToMap({ allocator, reverseMap }: Kernel, failures: number): Path<boolean> {
  for (let more = 0; ; more++) {
    if (!(yield* allocator.waitForMemory(failures + more))) return false;
    if (reverseMap.reserve() === 0) return true;
  }
}

/** What `make` makes; where that is null, and nothing changed, for want of memory: waits until there is some, or none to be had. */
export function* orWait<T>(allocator: Allocator, make: () => T | null): Path<T | null> {
  for (let failures = 1; ; failures++) {
    const made = make();
    if (made !== null || !(yield* allocator.waitForMemory(failures))) return made;
  }
}

/**
 * A new frame becomes an anonymous page of `vma`, mapped by the entry at `slot`, or a part of one that is there already. One
 * reference to it is the entry's. 0, or -ENOMEM with nothing changed. Requires: the area has an anon_vma.
 *
 * @models linux-6.1 mm/rmap.c page_add_new_anon_rmap
 */
export function mapNewAnonymous(kernel: Kernel, vma: Vma, page: Vpn, frame: Pfn, slot: PteSlot): number {
  const { frames } = kernel;
  const head = frames.head(frame);
  if (frames.softFrames > 1 && frames.has(head, PG_ANON)) {
    if (kernel.reverseMap.add(frame, slot, vma) < 0) return -ENOMEM;
    vma.mm.resident.anon++;
    return 0;
  }
  frames.mapping.write(head, vma.anonVma!.id);
  frames.index.write(head, vma.indexAt(page) - frames.partOf(frame));
  const backed = (vma.flags & VM_DROPPABLE) !== 0 ? 0 : PG_SWAPBACKED;
  kernel.reclaim.adopt(head, PG_ANON | backed | PG_UPTODATE | kernel.personality.pages.newAnonymousFlags);
  if (kernel.reverseMap.add(frame, slot, vma) < 0) {
    kernel.reclaim.forget(head);
    frames.mapping.write(head, 0);
    frames.flags.write(head, 0);
    return -ENOMEM;
  }
  vma.mm.resident.anon++;
  return 0;
}

/** One more entry, at `slot`, maps a frame that exists: it takes a reference. 0, or -ENOMEM with nothing changed. */
export function mapShared(kernel: Kernel, vma: Vma, frame: Pfn, slot: PteSlot): number {
  if (kernel.reverseMap.add(frame, slot, vma) < 0) return -ENOMEM;
  kernel.frames.addReference(kernel.frames.head(frame));
  countResident(kernel, vma.mm, frame, slot, 1);
  return 0;
}

/** An entry, already cleared, maps `frame` no longer. The reference stays: it goes once TLBs are flushed. */
export function unmapFrame(kernel: Kernel, vma: Vma, frame: Pfn, slot: PteSlot): void {
  countResident(kernel, vma.mm, frame, slot, -1);
  kernel.reverseMap.remove(frame, slot, vma);
}
