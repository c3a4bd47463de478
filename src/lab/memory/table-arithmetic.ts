/**
 * How many page tables a mapping needs, by arithmetic: nothing is run, and nothing but the format is known. What a run
 * counts must be the same to the byte.
 *
 *     tables of a level = spans of that level that the mapping reaches into; one root
 */
import { PAGE_SIZE, type Vpn } from "../../base/units.ts";
import type { PagingFormat } from "../../hw/paging-format.ts";

/** Processes that map the same pages, all of them, at the same place. */
export interface Mapped {
  readonly processes: number;
  readonly first: Vpn;
  readonly pages: number;
  /** The level of the tables whose entries map its pages: 1, or more for huge pages. */
  readonly level: number;
  /** Tables of these levels are there once, for all. */
  readonly inCommon?: readonly number[];
}

export interface TableBytes {
  readonly leaf: number;
  readonly upper: number;
}

/** Pages that tables of a level cover each. */
const spanOf = (format: PagingFormat, level: number): number => 2 ** (format.indexBits * level);

/** The tables that all these processes have for their mapping, roots included. */
export function tableBytes(format: PagingFormat, mapped: Mapped): TableBytes {
  const { processes, first, pages, level, inCommon = [] } = mapped;
  let [leaf, upper] = [0, 0];
  for (let at = level; at <= format.levels; at++) {
    const span = spanOf(format, at);
    const reached = Math.floor((first + pages - 1) / span) - Math.floor(first / span) + 1;
    // Where the CPU keeps the top level (PAE), all tables right below it are born with the root: one for each GiB of a program's three.
    const isBorn = format.cachesTopLevel && at === format.levels - 1;
    const each = at === format.levels ? 1 : isBorn ? 3 : reached;
    const bytes = each * PAGE_SIZE * (inCommon.includes(at) ? Math.min(1, processes) : processes);
    if (at === 1) leaf += bytes;
    else upper += bytes;
  }
  return { leaf, upper };
}

/** How many such processes have their tables in so many bytes, if nothing else is there. */
export const processesThatFit = (format: PagingFormat, mapped: Omit<Mapped, "processes">, bytes: number): number => {
  const { leaf, upper } = tableBytes(format, { ...mapped, processes: 1 });
  return Math.floor(bytes / (leaf + upper));
};
