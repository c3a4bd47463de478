/**
 * Page tables as the bits in memory say: the checker's own walk, which shares nothing with the kernel's but the
 * accessors of single entries.
 */
import type { Pfn, Vpn } from "../base/units.ts";
import type { PagingFormat } from "../hw/paging-format.ts";
import { type Entries, type OpenTable, PTE_LARGE, PTE_PRESENT, PTE_PROT_NONE, PTE_WRITE } from "../hw/pte.ts";

/** What a walk reads: nothing but memory. */
export interface Tables {
  readonly entries: Entries;
  readonly format: PagingFormat;
}

export interface Visitor {
  /** A table of `level` (1: leaves) whose first entry is for `page`. */
  table?(frame: Pfn, level: number, page: Vpn): void;
  /** An entry that is not empty and refers to no lower table. `limits`: PTE_WRITE if the entries above it allow writes, or 0. */
  leaf?(page: Vpn, table: OpenTable, index: number, level: number, limits: number): void;
}

/** Visits the tables and the leaf entries of `[first, end)` in order of address. */
export function walkTables(tables: Tables, root: Pfn, first: Vpn, end: Vpn, visitor: Visitor): void {
  walkTable(tables, root, tables.format.levels, 0, { first, end, visitor }, PTE_WRITE);
}

interface Range {
  readonly first: Vpn;
  readonly end: Vpn;
  readonly visitor: Visitor;
}

function walkTable(tables: Tables, frame: Pfn, level: number, base: Vpn, range: Range, limits: number): void {
  const { entries, format } = tables;
  const { first, end, visitor } = range;
  const table = frame as OpenTable;
  const step = format.entrySpan(level);
  visitor.table?.(frame, level, base);
  const from = Math.max(0, Math.floor((first - base) / step));
  const to = Math.min(format.entriesPerTable(level), Math.ceil((end - base) / step));
  for (let index = from; index < to; index++) {
    const flags = entries.flags(table, index);
    if (flags === 0) continue;
    const page = base + index * step;
    if (level === 1 || mapsLarge(flags)) visitor.leaf?.(page, table, index, level, limits);
    else if ((flags & PTE_PRESENT) !== 0) {
      const narrowed = limits & limitsOf(format, level, flags);
      walkTable(tables, entries.frame(table, index), level - 1, page, range, narrowed);
    }
  }
}

/** What an entry above the leaves allows: PTE_WRITE or 0. The entries that PAE's CPUs keep for themselves have no such bit. */
const limitsOf = (format: PagingFormat, level: number, flags: number): number =>
  format.cachesTopLevel && level === format.levels ? PTE_WRITE : flags & PTE_WRITE;

/** Whether an entry above the leaf tables maps a page. Without rights only x86-64 keeps the bit that says so. */
const mapsLarge = (flags: number): boolean => (flags & (PTE_LARGE | PTE_PROT_NONE)) !== 0;

/** Whether such an entry holds a frame: present to the CPU, or kept without rights. */
export const holdsFrame = (flags: number): boolean => (flags & (PTE_PRESENT | PTE_PROT_NONE)) !== 0;

/** Whether the frame has no struct page: it lies above all that have one. */
export const hasNoStructPage = ({ frames }: { readonly frames: { readonly count: number } }, frame: Pfn): boolean =>
  frame >= frames.count;

/** The entry for one page. */
export interface Found {
  readonly table: OpenTable;
  readonly index: number;
  /** PTE_* bits; without PTE_WRITE if an entry above forbids writes. */
  readonly flags: number;
  readonly level: number;
}

/** The leaf entry of `page`, or undefined where no table or nothing in it is. */
export function entryOf(tables: Tables, root: Pfn, page: Vpn): Found | undefined {
  const { entries, format } = tables;
  let table = root as OpenTable;
  let limits = PTE_WRITE;
  for (let level: number = format.levels; level > 0; level--) {
    const index = format.indexAt(page, level);
    const flags = entries.flags(table, index);
    if (flags === 0) return undefined;
    if (level === 1 || mapsLarge(flags)) return { table, index, flags: flags & (limits | ~PTE_WRITE), level };
    if ((flags & PTE_PRESENT) === 0) return undefined;
    limits &= limitsOf(format, level, flags);
    table = entries.frame(table, index) as OpenTable;
  }
  return undefined;
}
