/**
 * Only the count is kept with a frame. Its entries are found through what owns it: a file page through the areas that
 * map its file, an anonymous page through the areas on its anon_vma's list. Each such area has one place where the page
 * can be, and the entry there says whether it is.
 *
 *     frame -> mapping, index -> areas with first <= index < end -> page = start + (index - first) -> entry
 *
 * Mapping is as cheap as it can be; asking costs one look per area, whether it maps the page or not. Areas of a file are
 * found by index in O(log n + m), those of an anon_vma by going through its list. In a nonlinear area the page may be
 * anywhere, so reclaim does without, and who must have all entries reads the area's whole tables.
 *
 * @models linux-6.1 mm/rmap.c rmap_walk_file, rmap_walk_anon, page_vma_mapped_walk
 * @models linux-2.6.11 mm/rmap.c page_referenced_file, page_referenced_anon
 */
import type { Pfn, PteSlot } from "../../base/units.ts";
import { PG_ANON } from "../frames.ts";
import type { Vma } from "../vma.ts";
import { CountedMap } from "./counted-map.ts";
import { atMost, Search, type Visit } from "./search.ts";

export class ObjectAnon extends CountedMap {
  protected readonly search = new Search(this.world, this.costs);

  override get searchesFiles(): boolean {
    return true;
  }

  override addRun(first: Pfn, end: Pfn, _slot: PteSlot, _vma: Vma): void {
    this.countAllAdded(first, end);
  }

  override removeRun(first: Pfn, end: Pfn, _slot: PteSlot, _vma: Vma): void {
    this.countAllRemoved(first, end);
  }

  override forEach(frame: Pfn, visit: Visit): void {
    const { frames } = this.world;
    const count = frames.mapCount.read(frame);
    if (count === 0) return;
    if (frames.has(frame, PG_ANON)) this.visitAnonymous(frame, count, visit);
    else if (frames.mapping.read(frame) === 0) this.search.everywhere(frame, atMost(count, visit));
    else this.visitFile(frame, atMost(count, visit));
  }

  override forEachKnown(frame: Pfn, visit: Visit): void {
    const { frames } = this.world;
    const count = frames.mapCount.read(frame);
    if (count === 0) return;
    if (frames.has(frame, PG_ANON)) this.visitAnonymous(frame, count, visit);
    else if (frames.mapping.read(frame) !== 0) this.search.fileAreas(frame, atMost(count, visit));
  }

  /** Visits the `count` entries of an anonymous page. */
  protected visitAnonymous(frame: Pfn, count: number, visit: Visit): void {
    this.search.anonymousAreas(frame, count, visit);
  }

  private visitFile(frame: Pfn, visit: Visit): void {
    const { search } = this;
    if (!search.fileAreas(frame, visit)) return;
    for (const vma of search.nonlinearAreas(frame)) if (!search.area(vma, frame, visit)) return;
  }
}
