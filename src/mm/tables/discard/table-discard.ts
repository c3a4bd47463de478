/**
 * Whether leaf tables leave memory when it is short. What maps a file can be made again from the file's areas and its
 * cache, at the price of a fault for each page, so a table of nothing else may go although its pages are in use. Tables
 * of anonymous memory, of private copies, of nonlinear and of locked areas say what nobody else knows, and stay.
 *
 *     none   they stay, whatever they take: as every Linux until now
 *     age    leaf tables are on a list, oldest at the tail, as pages are: one that was not used since the last look goes
 *     scan   address spaces are walked in virtual order, and the same is asked of each table met
 *
 * @models MAIL-BIGPAGE (page tables of non-anonymous objects can be discarded; "arguably they belong on the lru")
 */
import type { Pfn } from "../../../base/units.ts";
import type { Path } from "../../../sync/path.ts";
import type { Want } from "../../allocator.ts";
import type { Frames } from "../../frames.ts";
import type { Kernel } from "../../kernel.ts";
import { DiscardByAge } from "./by-age.ts";
import { DiscardByScan } from "./by-scan.ts";

/** Who is told of leaf tables: that they hang in a tree, and that they hang there no longer. */
export interface LeafList {
  hung(table: Pfn): void;
  /** The same for all of `[first, end)`, in this order. */
  hungRun(first: Pfn, end: Pfn): void;
  unhung(table: Pfn): void;
}

export interface TableDiscard extends LeafList {
  /** What it has cost so far. */
  readonly costs: DiscardCosts;
  /** Frees leaf tables that lie in zones up to `want`; how many. Requires: no page_table_lock is held. */
  discardTables(kernel: Kernel, want: Want): Path<number>;
}

export interface DiscardCosts {
  /** Leaf tables looked at, and their entries read. */
  tablesScanned: number;
  entriesScanned: number;
  /** Leaf tables discarded, and the entries that they held: each costs a fault if it is used again. */
  tablesDiscarded: number;
  entriesDiscarded: number;
}

const keepTables = (): TableDiscard => ({
  costs: { tablesScanned: 0, entriesScanned: 0, tablesDiscarded: 0, entriesDiscarded: 0 },
  hung: () => {},
  hungRun: () => {},
  unhung: () => {},
  // biome-ignore lint/correctness/useYield: a path that never waits
  *discardTables(): Path<number> {
    return 0;
  },
});

export const tableDiscards = {
  none: keepTables,
  age: (frames: Frames) => new DiscardByAge(frames),
  scan: () => new DiscardByScan(),
} as const satisfies Record<string, (frames: Frames) => TableDiscard>;

export type TableDiscardName = keyof typeof tableDiscards;
