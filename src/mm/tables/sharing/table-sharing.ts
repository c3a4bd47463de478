/**
 * Who shares leaf tables with whom, and when. What it means to share one is in shared-tables.ts, and how to get a table of
 * one's own in unshare.ts: that is the same whoever has made it shared.
 *
 *     none          every address space has its own tables
 *     fork-shared   fork hangs the parent's tables in the child's tree, and a fault in a shared mapping of a file those of
 *                   somebody who maps the same
 *     file-shared   a file has tables of its own, which hang in the trees of all who share its pages
 */
import type { Pfn, Vpn } from "../../../base/units.ts";
import type { Path } from "../../../sync/path.ts";
import type { AddressSpace } from "../../address-space.ts";
import type { FileObject } from "../../file.ts";
import type { Kernel } from "../../kernel.ts";
import { NO_TABLE } from "../../page-table.ts";
import type { Slabs } from "../../slab.ts";
import type { Vma } from "../../vma.ts";
import { FileShared } from "./file-shared.ts";
import { ForkShared } from "./fork-shared.ts";
import { nobodyHosts } from "./nobody-hosts.ts";

/** Where a file has a page in its own tree. */
export interface HostedPlace {
  readonly vma: Vma;
  readonly page: Vpn;
}

export interface TableSharing {
  /** Whether a fault in a shared mapping of a file may find a table that others have. */
  readonly sharesMappings: boolean;
  /** Whether fork may hang the parent's leaf table of `page` in the child's tree, by the areas that it covers. */
  maySharePages(kernel: Kernel, parent: AddressSpace, page: Vpn): boolean;
  /** Does so, if there is such a table: 0, or -ENOMEM with nothing done. Requires: it may; the parent's mmap_sem is held for write. */
  shareAtFork(kernel: Kernel, child: AddressSpace, parent: AddressSpace, page: Vpn): Path<number>;
  /**
   * Hangs the leaf table of another area, which maps the same pages of the file, over `page`, which has none: that table, or
   * NO_TABLE. Requires: page_table_lock and mmap_sem are held.
   */
  joinAtFault(kernel: Kernel, vma: Vma, page: Vpn): Pfn;
  /** Whether the table of `page` is that of its file, if the area has none of its own there. */
  isHosted(kernel: Kernel, vma: Vma, page: Vpn): boolean;
  /** Whether fork leaves the area to the child's faults, which find the file's tables. */
  leavesToFaults(kernel: Kernel, vma: Vma): boolean;
  /**
   * Hangs the table of the file over a page that is hosted, if none hangs there: the page's place in the file's own tree; or null
   * without memory. Requires: mmap_sem is held, and no lock that spins.
   */
  attach(kernel: Kernel, vma: Vma, page: Vpn): Path<HostedPlace | null>;
  /** One user of the file less: if nobody but its own tree is left, that lets go of it too; whether it did. */
  dropHost(kernel: Kernel, file: FileObject): boolean;
  /** So many places of shared tables are gone. */
  placesGone(count: number): void;
}

export const noSharing: TableSharing = {
  sharesMappings: false,
  maySharePages: () => false,
  // biome-ignore lint/correctness/useYield: a path that is never taken
  *shareAtFork() {
    return 0;
  },
  joinAtFault: () => NO_TABLE,
  ...nobodyHosts,
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
  "file-shared": (parts: SharingParts) => new FileShared(parts),
} as const satisfies Record<string, (parts: SharingParts) => TableSharing>;

export type TableSharingName = keyof typeof tableSharings;
