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
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import { PG_ANON } from "../frames.ts";
import type { LargeMap, LargeVisit } from "../thp/large-map.ts";
import type { Vma } from "../vma.ts";
import { CountedMap } from "./counted-map.ts";
import { atMost, eachPlace, isLargeMapped, Search, type Visit } from "./search.ts";

export class ObjectAnon extends CountedMap implements LargeMap {
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
    const count = frames.leafMaps(frame);
    if (count === 0) return;
    if (frames.has(frame, PG_ANON)) this.visitAnonymous(frame, count, visit);
    else if (frames.mapping.read(frame) === 0) this.search.everywhere(frame, atMost(this.world, count, visit));
    else this.visitFile(frame, atMost(this.world, count, visit));
  }

  override forEachKnown(frame: Pfn, visit: Visit): void {
    const { frames } = this.world;
    const count = frames.leafMaps(frame);
    if (count === 0) return;
    if (frames.has(frame, PG_ANON)) this.visitAnonymous(frame, count, visit);
    else if (frames.mapping.read(frame) !== 0) this.search.fileAreas(frame, atMost(this.world, count, visit));
  }

  addLarge(head: Pfn, end: Pfn, _mm: AddressSpace, _page: Vpn): void {
    this.countAllAdded(head, end);
  }

  removeLarge(head: Pfn, end: Pfn): void {
    this.countAllRemoved(head, end);
  }

  moveLarge(_head: Pfn, _end: Pfn, _page: Vpn): void {
    this.costs.moves++;
  }

  /** @models linux-6.1 mm/page_vma_mapped.c page_vma_mapped_walk (pmd_trans_huge) */
  forEachLarge(head: Pfn, visit: LargeVisit): void {
    const { world, costs } = this;
    let left = world.frames.largeMaps.read(head);
    if (left === 0) return;
    eachPlace(world, costs, head, ({ mm }, page) => {
      if (!isLargeMapped(world, costs, mm, page, head)) return true;
      left--;
      return visit(mm, page) && left > 0;
    });
  }

  /** Visits the `count` entries of an anonymous page. */
  protected visitAnonymous(frame: Pfn, count: number, visit: Visit): void {
    const { search, world } = this;
    // An entry of a table that several address spaces have is met in the area of each.
    if (!world.tables.shared.exist) search.anonymousAreas(frame, count, visit);
    else search.anonymousAreas(frame, Number.POSITIVE_INFINITY, atMost(world, count, visit));
  }

  private visitFile(frame: Pfn, visit: Visit): void {
    const { search } = this;
    if (!search.fileAreas(frame, visit)) return;
    for (const vma of search.nonlinearAreas(frame)) if (!search.area(vma, frame, visit)) return;
  }
}
