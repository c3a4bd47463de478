/** The ways to have big pages, by name, and their pools. */
import type { PagingFormat } from "../../hw/paging-format.ts";
import type { Allocator } from "../allocator.ts";
import type { BigPages } from "./big-pages.ts";
import { NoBigPages } from "./big-pages.ts";
import { HugePool, type PoolParts } from "./huge-pool.ts";
import { HugetlbSyscalls } from "./hugetlb-syscalls.ts";
import { Hugetlbfs } from "./hugetlbfs.ts";
import { MagicPages } from "./magic.ts";
import { PrefaultedHugetlbfs } from "./prefaulted-hugetlbfs.ts";
import { ownTables, SharedTables, type TableSharing } from "./table-sharing.ts";

/** What a strategy is made from. */
export interface BigPageParts extends PoolParts {
  readonly allocator: Allocator;
  readonly format: PagingFormat;
  /** When an area of huge pages gets them: as its kernel has it. */
  readonly hugePagesCome: "at-mmap" | "at-fault";
}

/** A pool for each size that the CPU has. */
const poolsOf = (parts: BigPageParts): HugePool[] =>
  parts.format.largePages.map((page) => new HugePool(parts.allocator, page, parts));

/** A pool of the usual size alone. */
const usualPool = (parts: BigPageParts): HugePool[] => poolsOf(parts).slice(0, 1);

const hugetlbfs = (parts: BigPageParts, sharing: TableSharing): BigPages =>
  parts.hugePagesCome === "at-mmap"
    ? new PrefaultedHugetlbfs(usualPool(parts), sharing)
    : new Hugetlbfs(poolsOf(parts), sharing);

export const bigPageOptions = {
  none: () => new NoBigPages(),
  "magic-syscall": (parts) => new MagicPages(usualPool(parts)),
  "hugetlb-syscalls": (parts) => new HugetlbSyscalls(usualPool(parts)),
  hugetlbfs: (parts) => hugetlbfs(parts, ownTables),
  "hugetlbfs-shared-pmd": (parts) => hugetlbfs(parts, new SharedTables()),
} as const satisfies Record<string, (parts: BigPageParts) => BigPages>;

export type BigPagesName = keyof typeof bigPageOptions;
