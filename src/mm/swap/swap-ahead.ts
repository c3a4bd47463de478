/**
 * MADV_WILLNEED for memory that no file on disk backs: what it has in swap is read, and waits in the swap cache.
 *
 * @models linux-6.1 mm/madvise.c swapin_walk_pmd_entry, shmem_swapin_range
 */
import type { SwapSlot, Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { Kernel } from "../kernel.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { LEAF } from "../page-table.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import type { Vma } from "../vma.ts";
import { NO_SWAP_SLOT } from "./swap.ts";
import { slotNamedAt } from "./swap-fault.ts";
import { readSwap } from "./swap-in.ts";

/** Reads what pages `[first, end)` of the area, anonymous or of a shmem file, have in swap. Requires: mmap_sem is held. */
export function* readSwapAhead(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<void> {
  const slots = vma.file === null ? yield* slotsOfTables(kernel, vma, first, end) : slotsOfFile(vma, first, end);
  for (const slot of slots) {
    if (kernel.swap.find(slot) !== NOT_CACHED) continue;
    const frame = yield* readSwap(kernel, slot);
    if (frame >= 0) kernel.allocator.release(frame);
  }
}

function slotsOfFile(vma: Vma, first: Vpn, end: Vpn): SwapSlot[] {
  return vma.file!.swapped.within(vma.indexAt(first), vma.indexAt(end)).map(([, slot]) => slot);
}

function* slotsOfTables(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<SwapSlot[]> {
  const { tables } = kernel;
  const { mm } = vma;
  const slots: SwapSlot[] = [];
  if (mm.resident.swap === 0) return slots;
  for (let page = tables.nextLeaf(mm, first, end); page < end; page = tables.nextLeaf(mm, page, end)) {
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    for (const stop = tables.endOf(page, LEAF, end); page < stop; page++) {
      const slot = slotNamedAt(kernel, vma, page);
      if (slot !== NO_SWAP_SLOT) slots.push(slot);
    }
    unlockTables(kernel, mm);
  }
  return slots;
}
