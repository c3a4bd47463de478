/**
 * Page tables are freed area by area: a table goes if no neighbour's pages lie in it, at any level, so that unmapping
 * the last area of a span leaves nothing behind.
 *
 * @models linux-6.1 mm/memory.c free_pgtables, free_pgd_range
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import type { Gather } from "../tlb/gather.ts";
import type { Vma } from "../vma.ts";

interface Span {
  /** Where the neighbour below ends. */
  readonly floor: Vpn;
  /** Where the neighbour above starts; Infinity if there is none. */
  readonly ceiling: Vpn;
}

/** The areas are sorted, and nothing else lies between the span's ends. */
export function freeTablesPerArea(
  kernel: Kernel,
  gather: Gather,
  mm: AddressSpace,
  vmas: readonly Vma[],
  span: Span,
): void {
  const leafSpan = kernel.tables.span(LEAF);
  for (let at = 0; at < vmas.length; ) {
    const first = vmas[at]!.start;
    // Areas near each other are freed in one walk.
    while (at + 1 < vmas.length && vmas[at + 1]!.start <= vmas[at]!.end + leafSpan) at++;
    const end = vmas[at]!.end;
    at++;
    const ceiling = at < vmas.length ? vmas[at]!.start : span.ceiling;
    freeRange(kernel, gather, mm, first, end, { floor: span.floor, ceiling });
  }
}

/** Frees the tables of `[first, end)` that reach neither below `floor` nor to `ceiling` or above. */
function freeRange(kernel: Kernel, gather: Gather, mm: AddressSpace, first: Vpn, end: Vpn, span: Span): void {
  const { tables } = kernel;
  const leafSpan = tables.span(LEAF);
  let from = Math.floor(first / leafSpan) * leafSpan;
  if (from < span.floor) from += leafSpan;
  const ceiling = Math.floor(span.ceiling / leafSpan) * leafSpan;
  // Only the last leaf table can be shared with the neighbour above.
  const to = end > ceiling ? end - leafSpan : end;
  if (from < to) freeBelow(kernel, gather, mm, mm.root, tables.levels, from, to, { floor: span.floor, ceiling });
}

/** Frees what `[first, end)` uses of the tables below `frame`, a table of `level`. */
function freeBelow(
  kernel: Kernel,
  gather: Gather,
  mm: AddressSpace,
  frame: Pfn,
  level: number,
  first: Vpn,
  end: Vpn,
  span: Span,
): void {
  const { tables } = kernel;
  const step = tables.span(level - 1);
  for (let page = tables.nextUsed(frame, level, first, end); page < end; ) {
    const next = tables.endOf(page, level - 1, end);
    const index = tables.indexAt(page, level);
    const table = tables.below(frame, index);
    if (table !== NO_TABLE) {
      if (level - 1 > LEAF) freeBelow(kernel, gather, mm, table, level - 1, page, next, span);
      const start = Math.floor(page / step) * step;
      const isLeaf = level - 1 === LEAF;
      if (isLeaf || (start >= span.floor && next <= Math.floor(span.ceiling / step) * step)) {
        tables.unhang(mm, frame, level, index);
        tables.uncount(mm, table, level - 1);
        gather.addTable(table, level - 1, start, start + step);
      }
    }
    page = tables.nextUsed(frame, level, next, end);
  }
}
