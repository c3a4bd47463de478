/**
 * What a change of an entry means where several places have its table: every one of them counts it, and the TLBs of every
 * one of them drop it. Where nobody shares, these cost what the plain calls cost.
 */
import type { PteSlot, Vpn } from "../../../base/units.ts";
import type { AddressSpace, Resident } from "../../address-space.ts";
import type { Kernel } from "../../kernel.ts";
import type { SharedTable } from "./shared-tables.ts";

/** An entry, that of `page` in `mm`, has changed: everybody who has it flushes the page. */
export function flushEntry(kernel: Kernel, mm: AddressSpace, page: Vpn, slot: PteSlot): void {
  const { tables, entries, tlbFlush } = kernel;
  if (tables.shared.find(entries.tableOf(slot)) === undefined) tlbFlush.page(mm, page);
  else tables.forEachPlace(slot, (sharer, at) => tlbFlush.page(sharer, at));
}

/** The entry in `table` names a place in swap from now on. */
export function countSwapEntry({ tables }: Kernel, mm: AddressSpace, table: number): void {
  const shared = tables.shared.find(table);
  if (shared === undefined) mm.resident.swap++;
  else shared.count("swap", 1);
}

/** A part of a table, as one of its places sees it. */
export interface Part {
  readonly mm: AddressSpace;
  readonly first: Vpn;
  readonly end: Vpn;
}

/**
 * Entries of a part of the table were cleared as if it were its address space's alone, which counted `before`: the others
 * count and flush them too. The flush of `part.mm` is the caller's.
 */
export function tellOthers(kernel: Kernel, shared: SharedTable, part: Part, before: Resident): void {
  const { tables, tlbFlush } = kernel;
  const { mm, first, end } = part;
  for (const kind of ["anon", "file", "shmem", "swap"] as const) {
    const change = mm.resident[kind] - before[kind];
    if (change === 0) continue;
    mm.resident[kind] = before[kind];
    shared.count(kind, change);
  }
  const start = first - (first % tables.span(1));
  shared.forEachPlace((other, from) => {
    if (other === mm && from === start) return;
    tlbFlush.range(other, from + first - start, from + end - start);
  });
}
