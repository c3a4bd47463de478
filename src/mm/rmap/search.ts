/** Looking whether page-table entries map a frame: what every strategy that does not keep them does. */
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { AddressSpace } from "../address-space.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import type { Vma } from "../vma.ts";
import type { MappedWorld, ReverseMapCosts } from "./reverse-map.ts";

/** No entry there maps the frame. */
export const NO_SLOT = -1;

/** The kernel's page is there, whether the program may touch it or not. */
const MAPS = PTE_PRESENT | PTE_PROT_NONE;

/** What is shown the entries that a search finds; false: it has seen enough. */
export type Visit = (slot: PteSlot) => boolean;

/** The entry of `page` in `mm` if it maps this very `frame`, or NO_SLOT. */
export function slotIfMapped(
  world: MappedWorld,
  costs: ReverseMapCosts,
  mm: AddressSpace,
  page: Vpn,
  frame: Pfn,
): PteSlot {
  const { tables, entries } = world;
  const table = tables.openLeafReverse(mm, page);
  if (table === NO_TABLE) return NO_SLOT;
  costs.entriesRead++;
  const index = tables.indexAt(page, LEAF);
  const mapped = (entries.flags(table, index) & MAPS) !== 0 && entries.frame(table, index) === frame;
  const slot = mapped ? entries.slotOf(table, index) : NO_SLOT;
  tables.closeReverse(table);
  return slot;
}

/** Whether a large entry for the pages from `page` of `mm` on maps the huge page at `head`. */
export function isLargeMapped(
  world: MappedWorld,
  costs: ReverseMapCosts,
  mm: AddressSpace,
  page: Vpn,
  head: Pfn,
): boolean {
  const { tables, entries } = world;
  const found = tables.largeAt(mm, page);
  if (found === null) return false;
  costs.entriesRead++;
  const table = tables.openReverse(found.table);
  const isMapped = entries.frame(table, found.index) === head;
  tables.closeReverse(table);
  return isMapped;
}

/** Visits the entries of the pages `[first, end)` of `mm` that map a part of the page `frame`, until `visit` returns false; whether it did not. */
export function scanRange(
  world: MappedWorld,
  costs: ReverseMapCosts,
  mm: AddressSpace,
  range: { readonly first: Vpn; readonly end: Vpn },
  frame: Pfn,
  visit: Visit,
): boolean {
  const { tables, entries, frames } = world;
  const { end } = range;
  for (let page = tables.nextLeaf(mm, range.first, end); page < end; page = tables.nextLeaf(mm, page, end)) {
    const tableEnd = tables.endOf(page, LEAF, end);
    const table = tables.openLeafReverse(mm, page);
    if (table === NO_TABLE) return true;
    let index = tables.indexAt(page, LEAF);
    let goOn = true;
    for (; page < tableEnd && goOn; page++, index++) {
      costs.entriesRead++;
      if ((entries.flags(table, index) & MAPS) === 0 || frames.head(entries.frame(table, index)) !== frame) continue;
      goOn = visit(entries.slotOf(table, index));
    }
    tables.closeReverse(table);
    if (!goOn) return false;
  }
  return true;
}

/** The searches of one reverse map: what they look at is charged to it. Each returns whether `visit` never had enough. */
export class Search {
  private readonly world: MappedWorld;
  private readonly costs: ReverseMapCosts;

  constructor(world: MappedWorld, costs: ReverseMapCosts) {
    this.world = world;
    this.costs = costs;
  }

  /** Where `vma` has the page, or parts of it, if it has them in its order. */
  linear(vma: Vma, frame: Pfn, visit: Visit): boolean {
    const { world, costs } = this;
    const index = world.frames.index.read(frame);
    const end = Math.min(index + world.frames.softFrames, vma.fileIndex + vma.pages);
    costs.areasVisited++;
    for (let at = Math.max(index, vma.fileIndex); at < end; at++) {
      const slot = slotIfMapped(world, costs, vma.mm, vma.start + (at - vma.fileIndex), frame + (at - index));
      if (slot !== NO_SLOT && !visit(slot)) return false;
    }
    return true;
  }

  /** The whole area. */
  area(vma: Vma, frame: Pfn, visit: Visit): boolean {
    this.costs.areasVisited++;
    return scanRange(this.world, this.costs, vma.mm, { first: vma.start, end: vma.end }, frame, visit);
  }

  /** All areas of an address space. */
  space(mm: AddressSpace, frame: Pfn, visit: Visit): boolean {
    for (const vma of mm.vmas) if (!this.area(vma, frame, visit)) return false;
    return true;
  }

  /** All areas of all address spaces. */
  everywhere(frame: Pfn, visit: Visit): boolean {
    for (const mm of this.world.spaces) if (!this.space(mm, frame, visit)) return false;
    return true;
  }

  /** The linear areas that map the page of a file: `linear` in each. */
  fileAreas(frame: Pfn, visit: Visit): boolean {
    const { frames, files } = this.world;
    const index = frames.index.read(frame);
    let goOn = true;
    this.costs.fileSearches++;
    files.byId(frames.mapping.read(frame)).mappings.forEach(index, index + frames.softFrames, (vma) => {
      goOn = this.linear(vma, frame, visit);
      return goOn;
    });
    return goOn;
  }

  /** The file's nonlinear areas. */
  nonlinearAreas(frame: Pfn): ReadonlySet<Vma> {
    const { frames, files } = this.world;
    return files.byId(frames.mapping.read(frame)).mappings.nonlinear;
  }

  /** The areas of an anonymous page's anon_vma, as `linear`, until `most` entries were found: reclaim's most frequent search. */
  anonymousAreas(frame: Pfn, most: number, visit: Visit): void {
    const { world, costs } = this;
    const index = world.frames.index.read(frame);
    const indexEnd = index + world.frames.softFrames;
    let left = most;
    for (const { vma } of world.anonVmas.byId(world.frames.mapping.read(frame)).links) {
      const end = Math.min(indexEnd, vma.fileIndex + vma.pages);
      let at = Math.max(index, vma.fileIndex);
      if (at < end) costs.areasVisited++;
      for (; at < end; at++) {
        const slot = slotIfMapped(world, costs, vma.mm, vma.start + (at - vma.fileIndex), frame + (at - index));
        if (slot !== NO_SLOT && (!visit(slot) || --left === 0)) return;
      }
    }
  }
}

/** What is shown the areas of an anonymous page, and where it is in each. */
type VisitPlace = (vma: Vma, page: Vpn) => boolean;

/** Visits the places of an anonymous page in the areas of its anon_vma. */
export function eachPlace({ frames, anonVmas }: MappedWorld, costs: ReverseMapCosts, frame: Pfn, visit: VisitPlace) {
  const index = frames.index.read(frame);
  anonVmas.byId(frames.mapping.read(frame)).forEachVma(index, index + 1, (vma) => {
    costs.areasVisited++;
    return visit(vma, vma.start + (index - vma.fileIndex));
  });
}

/**
 * `visit`, told no more when it has been shown `most` entries, and none twice: a search comes to the entries of a table that
 * several places have in each of them.
 */
export function atMost({ tables, entries }: MappedWorld, most: number, visit: Visit): Visit {
  let left = most;
  let seen: Set<PteSlot> | undefined;
  return (slot) => {
    if (tables.shared.find(entries.tableOf(slot)) !== undefined) {
      seen ??= new Set();
      if (seen.has(slot)) return true;
      seen.add(slot);
    }
    left--;
    return visit(slot) && left > 0;
  };
}
