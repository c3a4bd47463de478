/**
 * The pages of a shmem file that are in swap, by index: each place is a user of its slot. A page is here or in the page
 * cache, never in both. Where the kernel's own pages are larger than 4 KiB, a place is such a page's, and each index in it leads
 * to the slot.
 *
 * @models linux-2.6.11 mm/shmem.c shmem_swp_entry
 * @differs costs nothing: Linux keeps 16 places in the inode and the others in pages of their own, and later in the page
 *          cache's tree
 */
import { bug } from "../../base/errors.ts";
import type { FileIndex, SwapSlot } from "../../base/units.ts";
import { NO_SWAP_SLOT } from "./swap-area.ts";

export class SwappedPages {
  /** By the index of its first part. */
  private readonly slots = new Map<FileIndex, SwapSlot>();
  private readonly parts: number;

  constructor(parts = 1) {
    this.parts = parts;
  }

  get count(): number {
    return this.slots.size;
  }

  /** The slot of page `index`, or NO_SWAP_SLOT. */
  find(index: FileIndex): SwapSlot {
    return this.slots.get(this.firstOf(index)) ?? NO_SWAP_SLOT;
  }

  add(index: FileIndex, slot: SwapSlot): void {
    if (this.slots.has(this.firstOf(index))) bug(`page ${index} is in swap twice`);
    this.slots.set(this.firstOf(index), slot);
  }

  remove(index: FileIndex): void {
    if (!this.slots.delete(this.firstOf(index))) bug(`page ${index} is not in swap`);
  }

  private firstOf(index: FileIndex): FileIndex {
    return index - (index % this.parts);
  }

  /** The pages in swap that have a part in `[first, end)`, by the index of their first part, as they are now. */
  within(first: FileIndex, end: FileIndex): (readonly [FileIndex, SwapSlot])[] {
    if (this.slots.size === 0) return [];
    return [...this.slots].filter(([index]) => index + this.parts > first && index < end).sort(([a], [b]) => a - b);
  }
}
