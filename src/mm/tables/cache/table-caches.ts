/** The caches of page tables by the names of the design space. */
import { NoTableCache } from "./none.ts";
import { Quicklists } from "./quicklists.ts";
import type { TableCache, TableCacheParts } from "./table-cache.ts";

/** How page tables are cached, and whether the allocator keeps lists of single frames for each CPU. */
interface TableCacheChoice {
  readonly frames: "zone" | "per-cpu";
  readonly create: (parts: TableCacheParts) => TableCache;
}

export const tableCaches = {
  none: { frames: "zone", create: (parts) => new NoTableCache(parts) },
  quicklists: { frames: "zone", create: (parts) => new Quicklists(parts) },
  "per-cpu-pages": { frames: "per-cpu", create: (parts) => new NoTableCache(parts) },
} as const satisfies Readonly<Record<string, TableCacheChoice>>;
