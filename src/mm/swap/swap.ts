/**
 * Swap: areas of slots that hold pages of programs while memory does not, and the swap cache, which knows the frames
 * that are in memory and have a slot too. Each entry of a page table that names a slot counts as a user of it, as does
 * the place of a shmem page in its file, and as does the swap cache.
 *
 *     swap slot   area 0: 1 2 3 ... | area 1: ...      one number over all areas; the first slot of each is its header
 *
 * A page on its way out is in the cache first, so that whoever faults on it meanwhile finds it; a page on its way in is
 * put there before it is read, so that nobody reads it twice.
 *
 * Where the kernel's own pages are larger than 4 KiB, so are slots: an entry names the part that it mapped, by an offset in pages
 * of 4 KiB.
 *
 * @models linux-2.6.11 mm/swapfile.c get_swap_page, swap_free, swap_duplicate, vm_swap_full; mm/swap_state.c
 * @models linux-2.6.11 mm/page_io.c swap_writepage, swap_readpage; mm/swap.c swap_setup
 * @differs areas are there from boot on, and filled in their order; the swap cache's tree is one over all areas
 */
import { bug } from "../../base/errors.ts";
import { PAGE_SIZE, type Pfn, type SwapSlot } from "../../base/units.ts";
import type { PhysicalMemory } from "../../hw/physical-memory.ts";
import { PageCache } from "../page-cache.ts";
import type { Slab } from "../slab.ts";
import { NO_SWAP_SLOT, SwapArea } from "./swap-area.ts";
import { SwapContents } from "./swap-contents.ts";

export { NO_SWAP_SLOT, SATURATED } from "./swap-area.ts";

/** Where a slot is. */
export interface SwapPlace {
  /** The area's number. */
  readonly type: number;
  /** In slots. */
  readonly offset: number;
}

export interface SwapParts {
  /** Pages of each area, its header included. */
  readonly sizes: readonly number[];
  /** page_cluster: 2^order slots are read at once; 0: no neighbours are read. */
  readonly clusterOrder: number;
  readonly memory: PhysicalMemory;
  /** Frames of the kernel's own page, and so pages of a slot. */
  readonly softFrames?: number;
  /** The slab of the swap cache's tree nodes. */
  readonly nodes: Slab;
}

/** What page_cluster is if nobody says it: blocks of 16 KiB on machines of less than 16 MiB, of 32 KiB on others. */
export const usualClusterOrder = (frames: number): number => (frames * PAGE_SIZE < 16 * 2 ** 20 ? 2 : 3);

export class Swap {
  readonly areas: readonly SwapArea[];
  readonly contents: SwapContents;
  /** The frames that have a slot (swapper_space), by slot. */
  private readonly cache: PageCache;
  /** What swapping has cost so far. A request brings in or out what lies together. */
  readonly costs = { pagesIn: 0, pagesOut: 0, readRequests: 0, writeRequests: 0, cacheHits: 0 };
  /** Pages of 4 KiB that a slot holds. */
  readonly slotPages: number;
  /** Slots of a block that is read at once; 1: each page is read alone. */
  private readonly blockPages: number;
  /** By area: its first slot. */
  private readonly firstSlots: readonly SwapSlot[];

  constructor({ sizes, clusterOrder, memory, softFrames = 1, nodes }: SwapParts) {
    this.slotPages = softFrames;
    this.blockPages = Math.max(1, (1 << clusterOrder) / softFrames);
    const slotsOf = sizes.map((pages) => Math.max(1, Math.floor(pages / softFrames)));
    this.areas = slotsOf.map((slots) => new SwapArea(slots));
    this.contents = new SwapContents(memory, softFrames);
    this.cache = new PageCache(nodes);
    let first = 0;
    this.firstSlots = slotsOf.map((slots) => {
      first += slots;
      return first - slots;
    });
  }

  /** Pages that could be in swap (total_swap_pages). */
  get totalPages(): number {
    return this.areas.reduce((sum, area) => sum + area.usable, 0) * this.slotPages;
  }

  /** Pages that free slots could hold (nr_swap_pages). */
  get freePages(): number {
    return this.areas.reduce((sum, area) => sum + area.free, 0) * this.slotPages;
  }

  /** Whether slots are so scarce that pages which come in give theirs back at once (vm_swap_full). */
  get isFull(): boolean {
    return this.freePages * 2 < this.totalPages;
  }

  /** Pages of the swap cache. */
  get cachedPages(): number {
    return this.cache.count * this.slotPages;
  }

  /** A slot with one user, or NO_SWAP_SLOT. */
  allocate(): SwapSlot {
    for (let type = 0; type < this.areas.length; type++) {
      const offset = this.areas[type]!.allocate();
      if (offset !== NO_SWAP_SLOT) return this.firstSlots[type]! + offset;
    }
    return NO_SWAP_SLOT;
  }

  /** One user more of a slot that has some. */
  duplicate(slot: SwapSlot): void {
    const { type, offset } = this.placeOf(slot);
    this.areas[type]!.duplicate(offset);
  }

  /** One user less; how many are left. With the last one goes what the slot holds. */
  release(slot: SwapSlot): number {
    const { type, offset } = this.placeOf(slot);
    const left = this.areas[type]!.release(offset);
    if (left === 0) this.contents.forget(slot);
    return left;
  }

  /** Users of the slot, the swap cache included; 0: it is free. */
  usersOf(slot: SwapSlot): number {
    const { type, offset } = this.placeOf(slot);
    return this.areas[type]!.count(offset);
  }

  /** The frame that the swap cache has for the slot, or NOT_CACHED. */
  find(slot: SwapSlot): Pfn {
    return this.cache.find(slot as number);
  }

  /** The swap cache has `frame` for the slot from now on. 0, or -ENOMEM with nothing changed. */
  insert(slot: SwapSlot, frame: Pfn): number {
    return this.cache.insert(slot as number, frame);
  }

  /** The swap cache has nothing for the slot any more. */
  remove(slot: SwapSlot): void {
    this.cache.remove(slot as number);
  }

  placeOf(slot: SwapSlot): SwapPlace {
    let type = this.areas.length - 1;
    while (type > 0 && slot < this.firstSlots[type]!) type--;
    const offset = type < 0 ? 0 : slot - this.firstSlots[type]!;
    if (offset < 1 || offset >= this.areas[type]!.slots) bug(`there is no swap slot ${slot}`);
    return { type, offset };
  }

  slotAt(type: number, offset: number): SwapSlot {
    return this.firstSlots[type]! + offset;
  }

  /** Slots that are worth a read with `slot`: those of its aligned block, in order, up to the first that is free; none if pages are read alone. */
  *blockAround(slot: SwapSlot): IterableIterator<SwapSlot> {
    if (this.blockPages === 1) return;
    const { type, offset } = this.placeOf(slot);
    const area = this.areas[type]!;
    const first = offset - (offset % this.blockPages);
    const end = Math.min(first + this.blockPages, area.slots);
    for (let at = Math.max(first, 1); at < end && area.count(at) > 0; at++) yield this.slotAt(type, at);
  }
}
