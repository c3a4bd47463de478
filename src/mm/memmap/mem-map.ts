/**
 * Where the struct page of each frame is. The state of a frame is kept in arrays (frames.ts), whatever the layout; what a
 * layout decides is which frames of memory hold the struct pages, which zone pays for them, and by what arithmetic a
 * kernel gets from a frame's number to its struct page and back:
 *
 *     flat               mem_map + pfn
 *     discontig          map of the node that the frame is in + (pfn - start of the node)
 *     sparse             map of the section + pfn; sections without memory have none
 *     per-task-window    frames in highmem, which have no address until a window shows them
 *
 * Ensures, whatever the layout: each frame of memory has one struct page, no two share a byte, and
 * `pfnOf(pageOf(frame)) === frame` for every frame that has an address.
 *
 * Addresses of a 64-bit kernel's half are negative, as the signed numbers that they are.
 */
import { PAGE_SIZE, type Pfn, type Vaddr } from "../../base/units.ts";
import type { FrameRange, MemoryShape, PlacedPart } from "./map-plan.ts";

/** The struct page begins in this frame, at this byte. */
export interface Place {
  readonly frame: Pfn;
  readonly offset: number;
}

export abstract class MemMap {
  readonly structBytes: number;
  readonly softPageShift: number;
  /** The parts, in ascending order of the frames that they describe. */
  readonly parts: readonly PlacedPart[];

  constructor(shape: MemoryShape, parts: readonly PlacedPart[]) {
    this.structBytes = shape.structBytes;
    this.softPageShift = shape.softPageShift;
    this.parts = parts;
  }

  /** The address at which the kernel always has the struct page of `frame` (pfn_to_page); null if it has none there. */
  abstract pageOf(frame: Pfn): Vaddr | null;

  /** The first frame that the struct page at `page` describes (page_to_pfn). Requires: `pageOf` gave it. */
  abstract pfnOf(page: Vaddr): Pfn;

  /** Where in memory the struct page of `frame` begins; null if it has none. */
  placeOf(frame: Pfn): Place | null {
    const part = this.partOf(frame);
    if (part === undefined) return null;
    const byte = this.indexIn(part, frame) * this.structBytes;
    return { frame: frameAt(part, Math.floor(byte / PAGE_SIZE)), offset: byte % PAGE_SIZE };
  }

  /** The first of the frames, in a row, that hold the struct pages of `[first, end)` and no others; null if there are no such. */
  rowOf(first: Pfn, end: Pfn): Pfn | null {
    const place = this.placeOf(first);
    const last = this.placeOf(end - 1);
    if (place === null || last === null || place.offset !== 0) return null;
    const bytes = ((end - first) / 2 ** this.softPageShift) * this.structBytes;
    const isRow = last.frame === place.frame + bytes / PAGE_SIZE - 1;
    return isRow && last.offset + this.structBytes === PAGE_SIZE ? place.frame : null;
  }

  /** Frames that hold struct pages. */
  get frames(): number {
    return this.parts.reduce((sum, { ranges }) => sum + lengthOf(ranges), 0);
  }

  protected partOf(frame: Pfn): PlacedPart | undefined {
    return this.parts.find(({ first, end }) => frame >= first && frame < end);
  }

  /** How many struct pages of the part lie before the frame's. */
  protected indexIn({ first }: FrameRange, frame: Pfn): number {
    return Math.floor((frame - first) / 2 ** this.softPageShift);
  }
}

const lengthOf = (ranges: readonly FrameRange[]): number =>
  ranges.reduce((sum, { first, end }) => sum + end - first, 0);

/** The frame that holds the part's page number `at`. */
function frameAt({ ranges }: PlacedPart, at: number): Pfn {
  let left = at;
  for (const { first, end } of ranges) {
    if (left < end - first) return first + left;
    left -= end - first;
  }
  return ranges[ranges.length - 1].end;
}
