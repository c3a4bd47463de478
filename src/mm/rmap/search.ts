/** Looking whether a page-table entry maps a frame: what every strategy that keeps no entries does. */
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { AddressSpace } from "../address-space.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import type { MappedWorld, ReverseMapCosts } from "./reverse-map.ts";

/** No entry there maps the frame. */
export const NO_SLOT = -1;

/** The kernel's page is there, whether the program may touch it or not. */
const MAPS = PTE_PRESENT | PTE_PROT_NONE;

/** The entry of `page` in `mm` if it maps `frame`, or NO_SLOT. */
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

/** Visits the entries of the pages `[first, end)` of `mm` that map `frame`, until `visit` returns false; whether it did not. */
export function scanRange(
  world: MappedWorld,
  costs: ReverseMapCosts,
  mm: AddressSpace,
  range: { readonly first: Vpn; readonly end: Vpn },
  frame: Pfn,
  visit: (slot: PteSlot) => boolean,
): boolean {
  const { tables, entries } = world;
  const { end } = range;
  for (let page = tables.nextLeaf(mm, range.first, end); page < end; page = tables.nextLeaf(mm, page, end)) {
    const tableEnd = tables.endOf(page, LEAF, end);
    const table = tables.openLeafReverse(mm, page);
    if (table === NO_TABLE) return true;
    let index = tables.indexAt(page, LEAF);
    let goOn = true;
    for (; page < tableEnd && goOn; page++, index++) {
      costs.entriesRead++;
      if ((entries.flags(table, index) & MAPS) === 0 || entries.frame(table, index) !== frame) continue;
      goOn = visit(entries.slotOf(table, index));
    }
    tables.closeReverse(table);
    if (!goOn) return false;
  }
  return true;
}
