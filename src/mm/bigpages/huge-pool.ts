/**
 * The pool of huge pages of one size: frames that are kept together, so that there are some when memory has long been
 * in pieces. Nobody else gets them, whether they are in use or not; that is what they cost.
 *
 *     total = free + in use        reserved <= free        surplus <= total
 *
 * A reservation is a promise: so many of the free pages are for mappings that have been made and not touched yet.
 * Surplus pages are beyond what was asked for: lent by the buddy system, and given back when they are free.
 *
 * @models linux-6.1 mm/hugetlb.c struct hstate, set_max_huge_pages, hugetlb_acct_memory, free_huge_page, try_to_free_low
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import type { LargePage } from "../../hw/paging-format.ts";
import { type Allocator, WANT_USER } from "../allocator.ts";
import { NO_FRAME } from "../frames.ts";
import { OWNER_HUGE, ZONE_HIGHMEM } from "../zone.ts";
import { type Vmemmap, vmemmapFreed } from "./vmemmap.ts";

/** Whether a page is one of those that were promised. */
export type Claim = "promised" | "unpromised";

/** Pages of 4 KiB that pools hold, in use or not. */
export const pooledPages = (pools: readonly HugePool[]): number =>
  pools.reduce((sum, { total, pages }) => sum + total * pages, 0);

/** What is the same for all pools of a machine. */
export interface PoolParts {
  /** vm.nr_overcommit_hugepages: how many surplus pages there may be. */
  readonly mostSurplus: number;
  readonly pageStructBytes: number;
  /** What becomes of the struct pages of its pages. */
  readonly vmemmap: Vmemmap;
}

export class HugePool {
  /** Pages of 4 KiB in one of its pages. */
  readonly pages: number;
  readonly order: number;
  /** The level of the entries that map them. */
  readonly level: number;
  total = 0;
  reserved = 0;
  surplus = 0;
  /** How often pages and promises have been given or taken back: moves with every change of the pool. */
  moves = 0;
  private readonly allocator: Allocator;
  private readonly mostSurplus: number;
  /** Last in, first out. */
  private readonly freeList: Pfn[] = [];

  private readonly pageStructBytes: number;
  private readonly vmemmap: Vmemmap;

  constructor(allocator: Allocator, { pages, level }: LargePage, parts: PoolParts) {
    this.allocator = allocator;
    this.pages = pages;
    this.order = Math.log2(pages);
    this.level = level;
    this.mostSurplus = parts.mostSurplus;
    this.pageStructBytes = parts.pageStructBytes;
    this.vmemmap = parts.vmemmap;
  }

  get free(): number {
    return this.freeList.length;
  }

  /** Free pages that are promised to nobody. */
  get available(): number {
    return this.free - this.reserved;
  }

  /** The struct pages of all its frames. */
  get structPageBytes(): number {
    return this.total * this.pages * this.pageStructBytes;
  }

  /** How much of that hugetlb_optimize_vmemmap gives back. */
  get optimisableBytes(): number {
    return this.total * this.optimisableEachBytes;
  }

  /** The same of one of its pages. */
  get optimisableEachBytes(): number {
    return vmemmapFreed(this.pages, this.pageStructBytes);
  }

  /** Those that are free, in no order. */
  freePages(): readonly Pfn[] {
    return this.freeList;
  }

  /**
   * vm.nr_hugepages: makes the pool as near to `wanted` pages as memory and its users allow; how many there are then.
   * Pages in use that are too many become surplus ones.
   */
  resize(wanted: number): number {
    while (this.surplus > 0 && wanted > this.persistent) this.surplus--;
    while (wanted > this.persistent && this.grow());
    const least = Math.max(wanted, this.reserved + this.total - this.free);
    if (least < this.persistent) this.lowmemFirst();
    while (least < this.persistent && this.shrink());
    while (wanted < this.persistent && this.surplus < this.total) this.surplus++;
    return this.total;
  }

  /** Promises `pages` huge pages: false, and nothing changed, if there are not so many. */
  reserve(pages: number): boolean {
    this.moves++;
    const missing = pages - this.available;
    if (missing > 0) {
      let lent = 0;
      while (lent < missing && this.lend()) lent++;
      if (lent < missing) {
        for (; lent > 0; lent--) this.giveBackSurplus();
        return false;
      }
    }
    this.reserved += pages;
    return true;
  }

  /** Takes the promise of `pages` pages back. */
  unreserve(pages: number): void {
    this.moves++;
    this.reserved -= pages;
    if (this.reserved < 0) bug(`${-this.reserved} more huge pages are unreserved than were reserved`);
    for (let left = pages; left > 0 && this.surplus > 0 && this.available > 0; left--) this.giveBackSurplus();
  }

  /** Takes a page back that was for nothing, and the promise that it kept if it kept one. */
  untake(head: Pfn, claim: Claim): void {
    this.moves++;
    this.allocator.frames.refs.write(head, 0);
    this.freeList.push(head);
    if (claim === "promised") this.reserved++;
    else if (this.surplus > 0) this.giveBackSurplus();
  }

  /** Promises again what was promised before, for a moment in which it is taken back twice. */
  reserveAnyway(pages: number): void {
    this.moves++;
    this.reserved += pages;
  }

  /** A page with one reference, contents unknown; or NO_FRAME. */
  take(claim: Claim): Pfn {
    this.moves++;
    if (claim === "promised") {
      if (this.reserved === 0) bug("a huge page is promised, and none is reserved");
      this.reserved--;
    } else if (this.available <= 0 && !this.lend()) return NO_FRAME;
    const head = this.freeList.pop() ?? bug("a huge page is reserved, and none is free");
    this.allocator.frames.refs.write(head, 1);
    return head;
  }

  /** A page whose last reference is gone. */
  give(head: Pfn): void {
    this.moves++;
    const { frames } = this.allocator;
    if (frames.mapCount.read(head) !== 0)
      bug(`huge page ${head} is free, and ${frames.mapCount.read(head)} entries map it`);
    frames.flags.write(head, 0);
    frames.mapping.write(head, 0);
    frames.makeCompound(head, this.order);
    this.freeList.push(head);
    if (this.surplus > 0) this.giveBackSurplus();
  }

  /** Pages beyond the surplus ones. */
  private get persistent(): number {
    return this.total - this.surplus;
  }

  private grow(): boolean {
    const head = this.allocator.tryAllocateLarge(this.order, WANT_USER, OWNER_HUGE);
    if (head === NO_FRAME) return false;
    this.allocator.frames.refs.write(head, 0);
    this.allocator.frames.makeCompound(head, this.order);
    this.freeList.push(head);
    this.total++;
    this.vmemmap.fold(head, this.pages);
    return true;
  }

  /** Gives the page that was freed last back to the buddy system: false if there is no memory for its struct pages. */
  private shrink(): boolean {
    const { frames } = this.allocator;
    const head = this.freeList[this.freeList.length - 1] ?? bug("no huge page is free to be given back");
    if (!this.vmemmap.unfold(head, this.pages)) return false;
    this.freeList.pop();
    frames.unmakeCompound(head);
    frames.refs.write(head, 1);
    this.allocator.freeLarge(head, this.order);
    this.total--;
    return true;
  }

  /** The next pages to be given back are those that the kernel can always reach. */
  private lowmemFirst(): void {
    const { allocator, freeList } = this;
    const isLow = (head: Pfn) => (allocator.zoneOf(head).kind === ZONE_HIGHMEM ? 0 : 1);
    freeList.sort((one, other) => isLow(one) - isLow(other));
  }

  /** Nobody lends pages of more than one block. */
  private lend(): boolean {
    if (this.order >= this.allocator.largestOrders || this.surplus >= this.mostSurplus || !this.grow()) return false;
    this.surplus++;
    return true;
  }

  /** A page that cannot go stays a surplus one. */
  private giveBackSurplus(): void {
    if (this.shrink()) this.surplus--;
  }
}
