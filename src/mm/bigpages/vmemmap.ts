/**
 * The struct pages of a huge page are alike but for the first ones: the pages that hold them can all be the first one,
 * mapped again and again, and the others be given back (hugetlb_optimize_vmemmap).
 *
 *     2 MiB    512 struct pages of 64 bytes       8 pages of them        7 given back
 *     1 GiB    262144                             4096                   4095
 *
 * Where such a huge page is to become ordinary memory again, its struct pages need memory first: without it the huge page
 * cannot go.
 *
 * @models linux-6.1 mm/hugetlb_vmemmap.c hugetlb_vmemmap_optimizable_size, vmemmap_remap_free, vmemmap_remap_alloc
 * @models linux-6.1 Documentation/mm/vmemmap_dedup.rst
 * @differs the tables in which the kernel maps the rest page by page, 4 KiB for each 128 MiB, are not counted
 */
import { PAGE_SIZE, type Pfn } from "../../base/units.ts";
import { type Allocator, WANT_KERNEL } from "../allocator.ts";
import { NO_FRAME } from "../frames.ts";
import type { FrameRange } from "../memmap/map-plan.ts";
import { OWNER_MEM_MAP } from "../zone.ts";

/** The pages of struct pages that a huge page keeps. */
const KEPT_PAGES = 1;

/** Bytes that the struct pages of one huge page, of `pages` pages of 4 KiB, can do without. */
export function vmemmapFreed(pages: number, pageStructBytes: number): number {
  // Where a struct page lies across two pages, they are mapped as they are.
  if (!Number.isInteger(Math.log2(pageStructBytes))) return 0;
  return Math.max(0, (pages * pageStructBytes) / PAGE_SIZE - KEPT_PAGES) * PAGE_SIZE;
}

/** What becomes of the struct pages of huge pages. */
export interface Vmemmap {
  /** Pages of struct pages that were given back. */
  readonly freedPages: number;
  /** Frames, of those that boot gave to struct pages, that these have left. */
  leftFrames(): Iterable<Pfn>;
  /** Whether the huge page at `head` has only the first page of its struct pages. */
  isFolded(head: Pfn): boolean;
  /** The huge page at `head`, of `pages` pages of 4 KiB, is there: its struct pages may be given back. */
  fold(head: Pfn, pages: number): void;
  /** It is to go: its struct pages are needed again. False, and nothing changed, if there is no memory for them. */
  unfold(head: Pfn, pages: number): boolean;
}

/** Every frame has its struct page in memory of its own. */
export const fullVmemmap: Vmemmap = {
  freedPages: 0,
  leftFrames: () => [],
  isFolded: () => false,
  fold: () => {},
  unfold: () => true,
};

export interface VmemmapParts {
  readonly allocator: Allocator;
  readonly pageStructBytes: number;
  /** Frames in a row that hold the struct pages of `[head, head + pages)` from boot on; null where nothing is known of them. */
  readonly placeOf: (head: Pfn, pages: number) => Pfn | null;
}

/** Of the struct pages of a huge page only the first page stays. */
class FoldedVmemmap implements Vmemmap {
  private readonly parts: VmemmapParts;
  /** By the first frame of a huge page: the frames that its struct pages left. */
  private readonly left = new Map<Pfn, FrameRange>();
  /** By frame that struct pages have left and come back from others' hands: the one that they are in instead. */
  private readonly moved = new Map<Pfn, Pfn>();
  freedPages = 0;

  constructor(parts: VmemmapParts) {
    this.parts = parts;
  }

  *leftFrames(): Generator<Pfn> {
    for (const { first, end } of this.left.values()) for (let frame = first; frame < end; frame++) yield frame;
    yield* this.moved.keys();
  }

  isFolded(head: Pfn): boolean {
    return this.left.has(head);
  }

  fold(head: Pfn, pages: number): void {
    const count = this.savedPages(pages);
    const place = count === 0 ? null : this.parts.placeOf(head, pages);
    if (place === null) return;
    const first = place + KEPT_PAGES;
    this.left.set(head, { first, end: first + count });
    this.freedPages += count;
    const { allocator } = this.parts;
    for (let at = first; at < first + count; ) {
      const frame = this.moved.get(at);
      if (frame !== undefined) {
        this.moved.delete(at++);
        allocator.release(frame);
        continue;
      }
      const from = at;
      while (at < first + count && !this.moved.has(at)) at++;
      allocator.releaseReserved(from, at, OWNER_MEM_MAP);
    }
  }

  unfold(head: Pfn, pages: number): boolean {
    const { allocator } = this.parts;
    const left = this.left.get(head);
    if (left === undefined) return true;
    const count = this.savedPages(pages);
    const found: Pfn[] = [];
    while (found.length < count) {
      const frame = allocator.tryAllocate(0, WANT_KERNEL, OWNER_MEM_MAP);
      if (frame === NO_FRAME) {
        for (const each of found) allocator.release(each);
        return false;
      }
      found.push(frame);
    }
    for (const [at, frame] of found.entries()) this.moved.set(left.first + at, frame);
    this.left.delete(head);
    this.freedPages -= count;
    return true;
  }

  private savedPages(pages: number): number {
    return vmemmapFreed(pages, this.parts.pageStructBytes) / PAGE_SIZE;
  }
}

export const vmemmaps = {
  full: () => fullVmemmap,
  "hugetlb-optimised": (parts) => new FoldedVmemmap(parts),
} as const satisfies Record<string, (parts: VmemmapParts) => Vmemmap>;

export type VmemmapName = keyof typeof vmemmaps;
