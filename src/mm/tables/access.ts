/**
 * How the kernel gets at a page table that is in highmem. A table in lowmem is always at hand, and nobody asks here for
 * it. What an opened table is used for keeps the second table of an operation, and the one that a reverse map looks
 * into, apart from the first: they are open at the same time.
 */
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { PoolCosts, SlotPool } from "../kmap/slot-pool.ts";

/** What an opened table is to the operation. */
export type TableUse = number;
export const USE_FIRST = 0;
export const USE_SECOND = 1; // fork's and mremap's source
export const USE_REVERSE = 2; // a reverse map, within any of these

export const TABLE_USES = 3;

export interface TableAccess {
  /** Whether what an operation has opened must be closed before it waits for anything. */
  readonly mode: "atomic" | "sleeping";
  readonly costs: PoolCosts;
  /** Whether room must be taken before tables are opened. */
  readonly takesRoom: boolean;
  /** The table's words can be read and written until `hide`. Never waits: see `takeRoom`. */
  show(table: Pfn, use: TableUse): void;
  hide(table: Pfn, use: TableUse): void;
  /** The first table that was shown last is shown and hidden again, so many times. */
  again(times: number): void;
  /**
   * Room for one table of each use, kept until `giveRoom`: whoever has it opens without waiting. It is taken before any
   * lock that spins. Waits only if it is a path; after that everything that was read before must be looked up again: the
   * table may be gone, and its entries others (pte_same).
   */
  takeRoom(): Path<void> | undefined;
  giveRoom(): void;
  /** Pools of windows of its own, for audits. */
  pools(): Iterable<SlotPool>;
}
