/**
 * One array for all frames up to the last one, holes included, in memory that is always mapped: nothing is faster, and a
 * 32-bit machine pays for all of its highmem out of lowmem.
 *
 * @models linux-2.6.11 include/asm-i386/page.h pfn_to_page, page_to_pfn (CONFIG_FLATMEM since 2.6.13)
 */
import { PAGE_SIZE, type Pfn, type Vaddr } from "../../base/units.ts";
import { endOfMemory, type MapPlan, type MemoryShape, mapFrames, type PlacedPart } from "./map-plan.ts";
import { MemMap } from "./mem-map.ts";

export function planFlat(shape: MemoryShape): MapPlan {
  const all = { first: 0, end: endOfMemory(shape) };
  return { parts: [{ ...all, frames: mapFrames(shape, all), home: "lowmem", pieces: "one" }], remapped: 0 };
}

export class FlatMap extends MemMap {
  /** mem_map. */
  private readonly base: Vaddr;

  constructor(shape: MemoryShape, parts: readonly PlacedPart[]) {
    super(shape, parts);
    this.base = shape.directMap + parts[0].ranges[0].first * PAGE_SIZE;
  }

  pageOf(frame: Pfn): Vaddr | null {
    if (frame >= this.parts[0].end) return null;
    return this.base + Math.floor(frame / 2 ** this.softPageShift) * this.structBytes;
  }

  pfnOf(page: Vaddr): Pfn {
    return ((page - this.base) / this.structBytes) * 2 ** this.softPageShift;
  }
}
