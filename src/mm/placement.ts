/**
 * Where a new area goes. Today's kernels look for the highest gap below the stack's room, and only when there is none
 * for the lowest one above TASK_UNMAPPED_BASE; 2.6.11 looks for the lowest, from where it last found one.
 *
 * @models linux-6.1 mm/mmap.c get_unmapped_area, generic_get_unmapped_area_topdown, unmapped_area, unmapped_area_topdown
 * @models linux-6.1 arch/x86/kernel/sys_x86_64.c arch_get_unmapped_area_topdown, arch_get_unmapped_area
 * @models linux-2.6.11 mm/mmap.c get_unmapped_area, arch_get_unmapped_area, arch_unmap_area
 */
import { EINVAL, ENOMEM, EPERM } from "../base/errno.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Kernel } from "./kernel.ts";
import { VM_GROWSDOWN, type Vma } from "./vma.ts";
import { MAP_32BIT, MAP_FIXED, MAP_SHARED } from "./vma-flags.ts";
import { NO_GAP } from "./vma-set.ts";
import { alignDown, alignUp, isAligned } from "./words.ts";

/** Where a program that asks for MAP_32BIT finds room. */
const LOW_FIRST: Vpn = 0x4000_0000 / PAGE_SIZE;
const LOW_END: Vpn = 0x8000_0000 / PAGE_SIZE;

export interface PlacementRequest {
  /** The address asked for: binding with MAP_FIXED, else a hint; 0 for none. */
  readonly address: Vaddr;
  readonly pages: number;
  /** MAP_* bits. */
  readonly flags: number;
  readonly backing: Backing;
}

/** What is to be mapped. */
export type Backing = "memory" | "file";

export const backingOf = (vma: Vma): Backing => (vma.file === null ? "memory" : "file");

/** The lowest page that must stay free below `vma`: its own start, less the guard gap if it grows down. */
export function startWithGap(kernel: Kernel, vma: Vma): Vpn {
  if ((vma.flags & VM_GROWSDOWN) === 0) return vma.start;
  const lowest = Math.max(0, vma.start - kernel.personality.stackGuardPages);
  return lowest - (lowest % kernel.layout.userPages);
}

/** A free place (or with MAP_FIXED, the very place asked for), as an address; or -ENOMEM, -EINVAL, -EPERM. */
export function findPlace(kernel: Kernel, mm: AddressSpace, request: PlacementRequest): number {
  const { address, pages, flags } = request;
  const { taskEnd } = kernel.layout;
  if (pages > taskEnd) return -ENOMEM;
  let place = address;
  if ((flags & MAP_FIXED) !== 0) {
    if (address > addressOf(taskEnd - pages)) return -ENOMEM;
    if (!isAligned(kernel.layout, address)) return -EINVAL;
  } else {
    const page = largePlace(kernel, mm, request) ?? anyPlace(kernel, mm, request);
    if (page === NO_GAP || page + pages > taskEnd) return -ENOMEM;
    place = addressOf(page);
  }
  return place < kernel.tunables.mmapMinAddr && mm.limits.privilege === "user" ? -EPERM : place;
}

const anyPlace = (kernel: Kernel, mm: AddressSpace, request: PlacementRequest): Vpn =>
  kernel.personality.placement === "top-down" ? highest(kernel, mm, request) : lowest(kernel, mm, request);

/**
 * A place that starts at a multiple of a large page, for private memory in whole large pages that nobody has said the
 * place of; null where the kernel does not care, or has no room to choose. The room is that of one large page more.
 *
 * @models linux-6.18 mm/huge_memory.c __thp_get_unmapped_area
 */
function largePlace(kernel: Kernel, mm: AddressSpace, request: PlacementRequest): Vpn | null {
  const { address, pages, flags, backing } = request;
  if (kernel.personality.largeMemory === "anywhere" || kernel.layout.abi !== "x86-64") return null;
  const large = kernel.format.largePages[0]!.pages;
  if (backing === "file" || (flags & MAP_SHARED) !== 0 || address !== 0 || pages % large !== 0) return null;
  const room = anyPlace(kernel, mm, { ...request, pages: pages + large });
  if (room === NO_GAP) return null;
  // Where the room is aligned already, its upper end is taken: the search came from above.
  return (Math.floor(room / large) + 1) * large;
}

/** Whether `[page, page + pages)` is free, and clear of the gap below a stack. */
function isFree(kernel: Kernel, mm: AddressSpace, page: Vpn, pages: number): boolean {
  const vma = mm.vmas.find(page);
  return vma === null || page + pages <= startWithGap(kernel, vma);
}

/**
 * On 32 bits vm.mmap_min_addr bounds the search; on 64 bits it is only looked at afterwards, and a hint is rounded down.
 */
function highest(kernel: Kernel, mm: AddressSpace, request: PlacementRequest): Vpn {
  const { address, pages, flags } = request;
  const { taskEnd, unmappedBase } = kernel.layout;
  const wide = kernel.layout.abi === "x86-64";
  const lowestPage = wide ? 0 : pageOf(alignUp(kernel.layout, kernel.tunables.mmapMinAddr));
  if (wide && (flags & MAP_32BIT) !== 0) return lowestAbove(kernel, mm, request, LOW_FIRST, LOW_END);
  if (pages > taskEnd - lowestPage) return NO_GAP;
  if (address !== 0) {
    const page = pageOf((wide ? alignDown : alignUp)(kernel.layout, address));
    if (page >= lowestPage && page + pages <= taskEnd && isFree(kernel, mm, page, pages)) return page;
  }
  const top = mm.mmapBase === 0 ? kernel.layout.mmapBase : mm.mmapBase;
  const found = highestBelow(kernel, mm, pages, Math.max(1, lowestPage), top);
  return found !== NO_GAP ? found : lowestAbove(kernel, mm, request, unmappedBase, taskEnd);
}

/** The highest gap below `high` that also keeps clear of stacks. */
function highestBelow(kernel: Kernel, mm: AddressSpace, pages: number, low: Vpn, high: Vpn): Vpn {
  let limit = high;
  for (;;) {
    const end = mm.vmas.highestGapEnd(low, limit, pages);
    if (end === NO_GAP) return NO_GAP;
    const above = mm.vmas.find(end);
    if (above === null || startWithGap(kernel, above) >= end) return end - pages;
    limit = startWithGap(kernel, above);
    if (limit <= low) return NO_GAP;
  }
}

/** The hint if it is free on 64 bits (on 32 bits it was tried before), else the lowest gap in `[low, high)`. */
function lowestAbove(kernel: Kernel, mm: AddressSpace, request: PlacementRequest, low: Vpn, high: Vpn): Vpn {
  const { address, pages } = request;
  if (kernel.layout.abi === "x86-64" && address !== 0) {
    const page = pageOf(alignUp(kernel.layout, address));
    if (page + pages <= high && isFree(kernel, mm, page, pages)) return page;
  }
  let from = low;
  for (;;) {
    const start = mm.vmas.lowestGapStart(from, high, pages);
    if (start === NO_GAP) return NO_GAP;
    const above = mm.vmas.find(start);
    if (above === null || startWithGap(kernel, above) >= start + pages) return start;
    from = above.end;
  }
}

/** First fit from the cached hole, and once more from the base if that fails. */
function lowest(kernel: Kernel, mm: AddressSpace, request: PlacementRequest): Vpn {
  const { address, pages } = request;
  const { taskEnd, unmappedBase } = kernel.layout;
  if (address !== 0) {
    const page = pageOf(alignUp(kernel.layout, address));
    if (page + pages <= taskEnd && isFree(kernel, mm, page, pages)) return page;
  }
  const from = Math.max(mm.freeAreaCache, unmappedBase);
  let start = mm.vmas.lowestGapStart(from, taskEnd, pages);
  if (start === NO_GAP && from !== unmappedBase) start = mm.vmas.lowestGapStart(unmappedBase, taskEnd, pages);
  if (start !== NO_GAP) mm.freeAreaCache = start + pages;
  return start;
}

/** A hole has opened at `page`: 2.6.11's next search may start there. */
export function noteHole(kernel: Kernel, mm: AddressSpace, page: Vpn): void {
  if (page >= kernel.layout.unmappedBase && page < mm.freeAreaCache) mm.freeAreaCache = page;
}
