/**
 * Who shares leaf tables with whom, and when. What it means to share one is in shared-tables.ts, and how to get a table of
 * one's own in unshare.ts: that is the same whoever has made it shared.
 *
 *     none          every address space has its own tables
 *     fork-shared   fork hangs the parent's tables in the child's tree, and a fault in a shared mapping of a file those of
 *                   somebody who maps the same
 */
import type { Pfn, Vpn } from "../../../base/units.ts";
import type { Path } from "../../../sync/path.ts";
import type { AddressSpace } from "../../address-space.ts";
import type { Kernel } from "../../kernel.ts";
import { NO_TABLE } from "../../page-table.ts";
import type { Slabs } from "../../slab.ts";
import type { Vma } from "../../vma.ts";
import { ForkShared } from "./fork-shared.ts";

export interface TableSharing {
  /** Whether fork may hang the parent's leaf table of `page` in the child's tree, by the areas that it covers. */
  maySharePages(kernel: Kernel, parent: AddressSpace, page: Vpn): boolean;
  /** Does so, if there is such a table: 0, or -ENOMEM with nothing done. Requires: it may; the parent's mmap_sem is held for write. */
  shareAtFork(kernel: Kernel, child: AddressSpace, parent: AddressSpace, page: Vpn): Path<number>;
  /**
   * Hangs the leaf table of another area, which maps the same pages of the file, over `page`, which has none: that table, or
   * NO_TABLE. Requires: page_table_lock and mmap_sem are held.
   */
  joinAtFault(kernel: Kernel, vma: Vma, page: Vpn): Pfn;
  /** So many places of shared tables are gone. */
  placesGone(count: number): void;
}

export const noSharing: TableSharing = {
  maySharePages: () => false,
  // biome-ignore lint/correctness/useYield: a path that is never taken
  *shareAtFork() {
    return 0;
  },
  joinAtFault: () => NO_TABLE,
  placesGone: () => {},
};

/** What a machine makes its strategy of. */
export interface SharingParts {
  readonly slabs: Slabs;
  readonly wordBytes: 4 | 8;
}

export const tableSharings = {
  none: () => noSharing,
  "fork-shared": (parts: SharingParts) => new ForkShared(parts),
} as const satisfies Record<string, (parts: SharingParts) => TableSharing>;

export type TableSharingName = keyof typeof tableSharings;
