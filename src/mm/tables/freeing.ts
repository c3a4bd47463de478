/**
 * When a page table is given back that maps nothing any more.
 *
 *     spans         once nobody has an area in the whole span of a top-level entry
 *     pmd-ranges    once nobody has an area in the table's own span
 *     when-empty    once its last entry is cleared, whoever still has areas there
 *
 * The first two look at areas, and so only when some are unmapped; tables that truncation, MADV_DONTNEED or reclaim
 * leave empty stay. The last needs a count of entries for each table, and every path that clears entries must ask.
 *
 * A table that is taken off its tree may still be in the caches of some CPU: the caller flushes, and only then frees it.
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { PagingFormat } from "../../hw/paging-format.ts";
import type { PhysicalMemory } from "../../hw/physical-memory.ts";
import { Entries } from "../../hw/pte.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Frames } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { NO_TABLE } from "../page-table.ts";
import type { Gather } from "../tlb/gather.ts";
import type { Vma } from "../vma.ts";
import { CountedEntries } from "./counted-entries.ts";
import { freeSpans } from "./spans.ts";
import { takeEmpty } from "./when-empty.ts";

/** What lies between the neighbours of areas that are unmapped. */
export interface FreedSpan {
  /** Where the area below ends. */
  readonly floor: Vpn;
  /** Where the area above starts; Infinity if there is none. */
  readonly ceiling: Vpn;
}

/** Frees the tables that covered `vmas` and no neighbour. */
export type FreeTables = (
  kernel: Kernel,
  gather: Gather,
  mm: AddressSpace,
  vmas: readonly Vma[],
  span: FreedSpan,
) => void;

export interface TableFreeing {
  /** The areas, off their address space's set, have lost their entries. Requires: page_table_lock is held. */
  readonly afterUnmap: FreeTables;
  /**
   * Entries of the leaf table of `page` have been cleared: that table, off its tree, if it goes; otherwise NO_TABLE.
   * Requires: page_table_lock is held since before they were, and no table is open.
   */
  takeEmpty(kernel: Kernel, mm: AddressSpace, page: Vpn): Pfn;
}

/** A strategy, and the entries that it needs. */
interface FreeingChoice {
  entries(memory: PhysicalMemory, format: PagingFormat, frames: Frames): Entries;
  readonly freeing: TableFreeing;
}

const plainEntries = (memory: PhysicalMemory, format: PagingFormat): Entries => new Entries(memory, format);

/** Each kernel's own way: 2.6.11 looks at one piece between the neighbours, later kernels area by area. */
const freeByPersonality: FreeTables = (kernel, gather, mm, vmas, span) =>
  kernel.personality.pages.freeTables(kernel, gather, mm, vmas, span);

const keepEmpty = (): Pfn => NO_TABLE;

export const tableFreeings = {
  spans: { entries: plainEntries, freeing: { afterUnmap: freeSpans, takeEmpty: keepEmpty } },
  "pmd-ranges": { entries: plainEntries, freeing: { afterUnmap: freeByPersonality, takeEmpty: keepEmpty } },
  "when-empty": {
    entries: (memory, format, frames) => new CountedEntries(memory, format, frames),
    freeing: { afterUnmap: freeByPersonality, takeEmpty },
  },
} as const satisfies Record<string, FreeingChoice>;

export type TableFreeingName = keyof typeof tableFreeings;
