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
  /** Tables of these levels, where the mapping covers them whole, are there once, for all. */
  readonly inCommon?: readonly number[];
  /** And they hang in a tree besides that is nobody's: that of what is mapped, from its first page on. */
  readonly ownTree?: boolean;
}

export interface TableBytes {
  readonly leaf: number;
  readonly upper: number;
}

/** Pages that tables of a level cover each. */
const spanOf = (format: PagingFormat, level: number): number => 2 ** (format.indexBits * level);

/** Tables of a level that reach into the pages. */
const reached = (span: number, first: Vpn, pages: number): number =>
  Math.floor((first + pages - 1) / span) - Math.floor(first / span) + 1;

/** And those that cover nothing else. */
const covered = (span: number, first: Vpn, pages: number): number =>
  Math.max(0, Math.floor((first + pages) / span) - Math.ceil(first / span));

/** Tables of a level that one tree has for the pages. */
function tablesOf(format: PagingFormat, level: number, first: Vpn, pages: number): number {
  if (level === format.levels) return 1;
  // Where the CPU keeps the top level (PAE), all tables right below it are born with the root: one for each GiB of a program's three.
  const isBorn = format.cachesTopLevel && level === format.levels - 1;
  return isBorn ? 3 : reached(spanOf(format, level), first, pages);
}

/** The tables that all these processes have for their mapping, roots included. */
export function tableBytes(format: PagingFormat, mapped: Mapped): TableBytes {
  const { processes, first, pages, level, inCommon = [], ownTree = false } = mapped;
  const hosted = covered(spanOf(format, level), first, pages) * spanOf(format, level);
  let [leaf, upper] = [0, 0];
  for (let at = level; at <= format.levels; at++) {
    const common = inCommon.includes(at) ? covered(spanOf(format, at), first, pages) : 0;
    const each = tablesOf(format, at, first, pages) - common;
    // The tree has what is in common, and whatever it needs besides.
    const ones = ownTree && hosted > 0 ? tablesOf(format, at, 0, hosted) : common;
    const bytes = processes === 0 ? 0 : (each * processes + ones) * PAGE_SIZE;
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
