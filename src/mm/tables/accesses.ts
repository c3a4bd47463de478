/** How page tables in highmem are reached, and where they are put, by the names of the design space. */
import { WANT_KERNEL, WANT_USER, type Want } from "../allocator.ts";
import type { KmapParts } from "../kmap/kmap.ts";
import type { TableAccess } from "./access.ts";
import { AtomicAccess } from "./atomic.ts";
import { BlockingAccess } from "./blocking.ts";
import { directAccess } from "./direct.ts";

export const tableAccesses = {
  direct: (_parts: KmapParts): TableAccess => directAccess(),
  "kmap-atomic": (parts: KmapParts): TableAccess => new AtomicAccess(parts.atomicMaps),
  "kmap-blocking": (parts: KmapParts): TableAccess => new BlockingAccess(parts),
} as const;

/** The zones that leaf tables may come from. Tables above them are always in lowmem. */
export const tablePlacements = { lowmem: WANT_KERNEL, highmem: WANT_USER } as const satisfies Record<string, Want>;
