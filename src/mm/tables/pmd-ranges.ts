/**
 * Page tables are freed once an unmapping is done, in whole pieces between the neighbours: a leaf table if its span
 * lies between them entirely, a table above only if the piece walked spans it exactly. With PAE, tables of the second
 * level stay until the address space dies, since changing the top level of a live one is too dear.
 *
 * @models linux-2.6.11 mm/mmap.c free_pgtables; mm/memory.c clear_page_range
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import type { Gather } from "../tlb/gather.ts";
import type { Vma } from "../vma.ts";

export function freePmdRanges(
  kernel: Kernel,
  gather: Gather,
  mm: AddressSpace,
  vmas: readonly Vma[],
  span: { readonly floor: Vpn; readonly ceiling: Vpn },
): void {
  if (vmas.length === 0) return;
  const { tables, layout } = kernel;
  const top = tables.span(tables.levels - 1);
  const start = vmas[0]!.start;
  const end = vmas[vmas.length - 1]!.end;
  // Out to whole entries of the top table, but not into a neighbour.
  const first = Math.max(Math.floor(start / top) * top, span.floor);
  // With nobody above, the last entry is freed whole, even if the user's part ends within it.
  const ceiling = span.ceiling < layout.taskEnd ? span.ceiling : Number.POSITIVE_INFINITY;
  const last = Math.min(Math.ceil(end / top) * top, ceiling);
  const leafSpan = tables.span(LEAF);
  if (Math.floor(first / leafSpan) < Math.floor(last / leafSpan)) {
    clearBelow(kernel, gather, mm, mm.root, tables.levels, first, last);
  }
}

/** Frees the tables below `frame`, a table of `level`, whose whole span lies in `[first, end)`. */
function clearBelow(
  kernel: Kernel,
  gather: Gather,
  mm: AddressSpace,
  frame: Pfn,
  level: number,
  first: Vpn,
  end: Vpn,
): void {
  const { tables } = kernel;
  const step = tables.span(level - 1);
  const isFixed = level === tables.levels && tables.format.cachesTopLevel;
  for (let page = first; page < end; ) {
    const next = tables.endOf(page, level - 1, end);
    const index = tables.indexAt(page, level);
    const table = tables.below(frame, index);
    if (table !== NO_TABLE) {
      if (level - 1 > LEAF) clearBelow(kernel, gather, mm, table, level - 1, page, next);
      if (page % step === 0 && next - page === step && !isFixed) {
        tables.unhang(mm, frame, level, index);
        tables.uncount(mm, table, level - 1);
        gather.addTable(table, level - 1, page, next);
      }
    }
    page = next;
  }
}
