/**
 * Everything by which a kernel reaches memory that it has not always mapped, put together for one machine: slots of
 * kmap_atomic, kmap's pools, page tables in highmem and the cache of page tables.
 */
import type { Pfn } from "../base/units.ts";
import type { PhysicalMemory } from "../hw/physical-memory.ts";
import type { Entries } from "../hw/pte.ts";
import type { Allocator, Want } from "./allocator.ts";
import type { Counters } from "./counters.ts";
import { AtomicMaps, type InvalidatePolicy } from "./kmap/atomic.ts";
import { ATOMIC_TYPES } from "./kmap/atomic-types.ts";
import { KernelTable } from "./kmap/kernel-table.ts";
import type { Kmap } from "./kmap/kmap.ts";
import { type KmapName, kmaps } from "./kmap/kmaps.ts";
import { noHighmem } from "./kmap/no-highmem.ts";
import { PageContents } from "./kmap/page-contents.ts";
import type { TableAccess } from "./tables/access.ts";
import { tableAccesses, tablePlacements } from "./tables/accesses.ts";
import type { TableCache } from "./tables/cache/table-cache.ts";
import { tableCaches } from "./tables/cache/table-caches.ts";
import type { TlbFlush } from "./tlb-flush.ts";

export interface HighmemParts {
  readonly memory: PhysicalMemory;
  readonly entries: Entries;
  readonly allocator: Allocator;
  readonly counters: Counters;
  readonly tlbFlush: TlbFlush;
  readonly cpus: number;
  /** The first frame that the kernel has not always mapped; one past the last frame if it has all of them. */
  readonly highmemFrom: Pfn;
  /** One past the last frame. */
  readonly frames: number;
  readonly invalidates: InvalidatePolicy;
  /** Slots of each of kmap's pools; null: what one page table maps. */
  readonly kmapSlots: number | null;
}

export interface HighmemChoice {
  readonly kmap: KmapName;
  readonly pageTablePlacement: keyof typeof tablePlacements;
  readonly pageTableAccess: keyof typeof tableAccesses;
  readonly pageTableCache: keyof typeof tableCaches;
}

export interface Highmem {
  readonly atomicMaps: AtomicMaps;
  readonly kmap: Kmap;
  readonly contents: PageContents;
  readonly access: TableAccess;
  readonly cache: TableCache;
}

export function wireHighmem(parts: HighmemParts, choice: HighmemChoice): Highmem {
  const { memory, entries, allocator, counters, cpus, highmemFrom, tlbFlush } = parts;
  const hasHighmem = highmemFrom < parts.frames;
  const atomicMaps = new AtomicMaps({
    highmemFrom,
    table: hasHighmem ? KernelTable.create(parts, ATOMIC_TYPES * cpus) : null,
    span: allocator.frames.softFrames,
    cpus,
    counters,
    where: tlbFlush,
    invalidates: parts.invalidates,
  });
  const slots = parts.kmapSlots ?? 1 << entries.format.indexBits;
  const kmapParts = { memory, entries, allocator, slots, atomicMaps, flushes: tlbFlush };
  const kmap = hasHighmem ? kmaps[choice.kmap](kmapParts) : noHighmem();
  const contents = new PageContents(memory, atomicMaps, kmap);
  const access = tableAccesses[hasHighmem ? choice.pageTableAccess : "direct"](kmapParts);
  const leafWant: Want = tablePlacements[choice.pageTablePlacement];
  const cached = tableCaches[choice.pageTableCache];
  if (cached.frames === "per-cpu") allocator.keepPerCpuLists(cpus, tlbFlush);
  const { levels } = entries.format;
  const cache = cached.create({ memory, contents, allocator, counters, where: tlbFlush, cpus, levels, leafWant });
  allocator.drainWhenShort(() => cache.drain());
  return { atomicMaps, kmap, contents, access, cache };
}
