/**
 * Where boot has put the struct pages of frames: in a row by frame number, those of memory without any left out, over the
 * ranges that were reserved for them.
 *
 *     sections of frames    | 0 | 1 |   hole   | 8 |
 *     mem_map               |.0.|.1.|.8.|
 */
import { PAGE_SIZE, type Pfn } from "./base/units.ts";
import { type BootLayout, describedSections } from "./boot.ts";
import type { Footprint } from "./footprint.ts";
import type { Geometry } from "./geometry.ts";
import { OWNER_MEM_MAP } from "./mm/zone.ts";

/** The frames in a row that hold the struct pages of `[head, head + pages)`; null if there are none, or not in a row. */
export type StructPagePlaces = (head: Pfn, pages: number) => Pfn | null;

export function structPagePlaces(boot: BootLayout, geometry: Geometry, kernel: Footprint): StructPagePlaces {
  const ranges = boot.reserved.filter(({ owner }) => owner === OWNER_MEM_MAP).sort((a, b) => a.first - b.first);
  const bytesEach = geometry.pageStructBytes ?? kernel.pageStructBytes;
  const rankOf = rankIn(geometry, kernel);
  return (head, pages) => {
    const rank = rankOf(head);
    if (rank === null) return null;
    let page = (rank * bytesEach) / PAGE_SIZE;
    const count = (pages * bytesEach) / PAGE_SIZE;
    for (const { first, end } of ranges) {
      if (page + count <= end - first) return first + page;
      if (page < end - first) return null;
      page -= end - first;
    }
    return null;
  };
}

/** How many struct pages lie before that of a frame; null if it has none. */
function rankIn(geometry: Geometry, kernel: Footprint): (frame: Pfn) => number | null {
  if (kernel.sectionBytes === 0) return (frame) => frame;
  const section = kernel.sectionBytes / PAGE_SIZE;
  const ranks = new Map(describedSections(geometry, kernel).map((number, rank) => [number, rank]));
  return (frame) => {
    const rank = ranks.get(Math.floor(frame / section));
    return rank === undefined ? null : rank * section + (frame % section);
  };
}
