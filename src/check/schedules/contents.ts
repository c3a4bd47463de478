/** What programs have in their pages when all have run, whatever maps it. */
import type { Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_PRESENT } from "../../hw/pte.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { LEAF, NO_TABLE } from "../../mm/page-table.ts";
import { headOfHuge, hugeEntryAt } from "../../mm/thp/huge-entries.ts";

/** The frame that a page of the address space is in, by an entry of either size; or null. */
export function frameAt(kernel: Kernel, mm: AddressSpace, page: Vpn): number | null {
  const { tables, entries } = kernel;
  const huge = hugeEntryAt(kernel, mm, page);
  if (huge !== null) return headOfHuge(kernel, huge) + page - huge.page;
  const leaf = tables.tableAt(mm, page, LEAF);
  if (leaf === NO_TABLE) return null;
  const index = tables.indexAt(page, LEAF);
  const table = leaf as OpenTable;
  return (entries.flags(table, index) & PTE_PRESENT) !== 0 ? entries.frame(table, index) : null;
}

/** What a page holds, if it is present. */
export function byteAt({ kernel }: { readonly kernel: Kernel }, mm: AddressSpace, page: Vpn): number | null {
  const frame = frameAt(kernel, mm, page);
  return frame === null ? null : kernel.memory.readByte(frame, 0);
}

export const wrongIf = (
  found: number | null,
  expected: readonly (number | null)[],
  whose: string,
): string | undefined =>
  expected.includes(found) ? undefined : `${whose} holds ${found}, expected ${expected.join(" or ")}`;
