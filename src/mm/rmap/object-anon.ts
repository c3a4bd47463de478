/**
 * Only the count is kept with a frame. Its entries are found through what owns it: a file page through the areas that
 * map its file, an anonymous page through the areas on its anon_vma's list. Each such area has one place where the page
 * can be, and the entry there says whether it is.
 *
 *     frame -> mapping, index -> areas with first <= index < end -> page = start + (index - first) -> entry
 *
 * Mapping is as cheap as it can be; asking costs one look per area, whether it maps the page or not. Areas of a file are
 * found by index in O(log n + m), those of an anon_vma by going through its list.
 *
 * @models linux-6.1 mm/rmap.c rmap_walk_file, rmap_walk_anon, page_vma_mapped_walk
 * @models linux-2.6.11 mm/rmap.c page_referenced_file, page_referenced_anon
 */
import type { Pfn, PteSlot } from "../../base/units.ts";
import { PG_ANON } from "../frames.ts";
import type { Vma } from "../vma.ts";
import { CountedMap } from "./counted-map.ts";
import { NO_SLOT, slotIfMapped } from "./search.ts";

export class ObjectAnon extends CountedMap {
  override forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void {
    const { world, costs } = this;
    const { frames } = world;
    const mapping = frames.mapping.read(frame);
    let left = frames.mapCount.read(frame);
    if (mapping === 0 || left === 0) return;
    const index = frames.index.read(frame);
    const visitArea = (vma: Vma): boolean => {
      costs.areasVisited++;
      const page = vma.start + (index - vma.fileIndex);
      const slot = slotIfMapped(world, costs, vma.mm, page, frame);
      if (slot === NO_SLOT) return true;
      left--;
      return visit(slot) && left > 0;
    };
    if (frames.has(frame, PG_ANON)) world.anonVmas.byId(mapping).forEachVma(index, visitArea);
    else world.files.byId(mapping).mappings.forEach(index, index + 1, visitArea);
  }
}
