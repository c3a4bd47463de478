/**
 * Page tables are freed by whole spans of a top-level entry, 4 MiB with two levels and 1 GiB with PAE: only when no area
 * is left in the span. With PAE a process that keeps one page of a gigabyte keeps all the leaf tables that it ever had
 * there, up to 512.
 *
 *     areas      |..A..|                 |.B..|      unmapped: what lies between A and B
 *     spans   [      0      ][      1      ][      2      ]
 *                                freed
 *
 * @models linux-2.4.22 mm/mmap.c free_pgtables; mm/memory.c clear_page_tables
 * @differs 2.4 knows three levels; with more, the span is that of a top-level entry all the same
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import type { Gather } from "../tlb/gather.ts";
import type { Vma } from "../vma.ts";
import type { FreedSpan } from "./freeing.ts";

export function freeSpans(
  kernel: Kernel,
  gather: Gather,
  mm: AddressSpace,
  vmas: readonly Vma[],
  { floor, ceiling }: FreedSpan,
): void {
  if (vmas.length === 0) return;
  const { tables } = kernel;
  const { levels } = tables;
  const span = tables.span(levels - 1);
  const start = vmas[0]!.start;
  const end = vmas[vmas.length - 1]!.end;
  // Whole spans that start no earlier than the neighbour below ends, and end no later than the one above starts.
  const first =
    floor > Math.floor(start / span) * span ? Math.ceil(floor / span) * span : Math.floor(start / span) * span;
  const last = Math.min(Math.ceil(end / span) * span, Math.floor(ceiling / span) * span);
  for (let page = first; page < last; page += span) {
    const index = tables.indexAt(page, levels);
    const table = tables.below(mm.root, index);
    if (table === NO_TABLE) continue;
    if (levels - 1 > LEAF) freeBelow(kernel, gather, mm, table, levels - 1, page);
    if (tables.format.cachesTopLevel) continue;
    tables.unhang(mm, mm.root, levels, index);
    tables.uncount(mm, table, levels - 1);
    gather.addTable(table, levels - 1, page, page + span);
  }
}

/** Frees all tables below `frame`, a table of `level` that starts at `start`. */
function freeBelow(kernel: Kernel, gather: Gather, mm: AddressSpace, frame: Pfn, level: number, start: Vpn): void {
  const { tables } = kernel;
  const step = tables.span(level - 1);
  const end = start + tables.span(level);
  for (let page = tables.nextUsed(frame, level, start, end); page < end; ) {
    const index = tables.indexAt(page, level);
    const table = tables.below(frame, index);
    if (table !== NO_TABLE) {
      if (level - 1 > LEAF) freeBelow(kernel, gather, mm, table, level - 1, page);
      tables.unhang(mm, frame, level, index);
      tables.uncount(mm, table, level - 1);
      gather.addTable(table, level - 1, page, page + step);
    }
    page = tables.nextUsed(frame, level, page + step, end);
  }
}
