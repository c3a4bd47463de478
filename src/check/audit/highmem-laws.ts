/** Laws of windows on highmem, and of what may be there at all. */
import { ZONE_HIGHMEM } from "../../mm/zone.ts";
import type { Law } from "./law.ts";

const slotCountsAreUses: Law = {
  name: "slot-counts-are-uses",
  statement:
    "In each pool of windows a slot's count is 0 and its entry clear, or one more than its users and its entry set; and between operations there are no users.",
  check: ({ kernel }, report) => {
    for (const pool of [...kernel.kmap.pools(), ...kernel.tables.access.pools()]) {
      for (const wrong of pool.disagreements()) report(wrong);
      if (pool.users !== 0) report(`${pool.name} has ${pool.users} users`);
    }
  },
};

const atomicSlotsAreFree: Law = {
  name: "atomic-slots-are-free",
  statement:
    "Between operations no CPU holds an atomic slot, and each slot's entry names the frame that it showed last.",
  check: ({ kernel }, report) => {
    for (const wrong of kernel.atomicMaps.disagreements()) report(wrong);
  },
};

const upperTablesAreLow: Law = {
  name: "upper-tables-are-low",
  statement: "Only leaf tables are in highmem: the tables above them, and those of the kernel's windows, never are.",
  check: ({ kernel, spaces, tableFrames }, report) => {
    const { allocator } = kernel;
    let leaves = 0;
    for (const { tables } of spaces) leaves += tables[1]!;
    let high = 0;
    for (const frame of tableFrames.keys()) if (allocator.zoneOf(frame).kind === ZONE_HIGHMEM) high++;
    if (high > leaves) report(`${high} tables are in highmem, and there are ${leaves} leaf tables`);
    for (const { mm } of spaces) {
      if (allocator.zoneOf(mm.root).kind === ZONE_HIGHMEM) report(`the root of address space ${mm.id}`);
    }
  },
};

export const highmemLaws: readonly Law[] = [slotCountsAreUses, atomicSlotsAreFree, upperTablesAreLow];
