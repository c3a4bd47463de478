/** What a machine's memory is used for at one moment, and what it has counted so far: the numbers of a report. */
import { z } from "zod";
import { PAGE_SIZE } from "../base/units.ts";
import type { Cpu } from "../hw/cpu.ts";
import type { AddressSpace } from "../mm/address-space.ts";
import { pooledPages } from "../mm/bigpages/huge-pool.ts";
import type { Kernel } from "../mm/kernel.ts";
import { noWindowCosts } from "../mm/memmap/map-window.ts";
import { CountedEntries } from "../mm/tables/counted-entries.ts";
import { headOfHuge, hugeEntries, isHugeZero } from "../mm/thp/huge-entries.ts";
import {
  OWNER_MEM_MAP,
  OWNER_PAGE_CACHE,
  OWNER_PAGE_TABLES,
  OWNER_SLAB,
  OWNER_STACKS,
  OWNER_USER,
  OWNER_VMAS,
  ownerNames,
  ZONE_HIGHMEM,
} from "../mm/zone.ts";

const bytes = z.int();

export const memorySchema = z.strictObject({
  /** Page tables of all levels. */
  pageTablesBytes: bytes,
  /** The same by level, leaf tables first. */
  pageTablesByLevelBytes: z.array(bytes),
  /** The same by address space, the largest first, at most ten. */
  pageTablesByProcessBytes: z.array(z.strictObject({ space: z.int(), bytes })),
  /** The page tables of the address space that has most. */
  pageTablesLargestProcessBytes: bytes,
  addressSpaces: z.int(),
  vmas: z.int(),
  /** struct pages. */
  memMapBytes: bytes,
  /** Pools of huge pages, and how much of them is in use. */
  hugePagesBytes: bytes,
  hugePagesUsedBytes: bytes,
  /** Anonymous memory that large entries map (AnonHugePages), and frames of such pages that nobody uses any more. */
  anonHugeBytes: bytes,
  anonHugeIdleBytes: bytes,
  /** What such pages hold beside what programs have accessed: resident, and never touched. */
  anonHugeUntouchedBytes: bytes,
  /** Anonymous memory by the size of the pages that entries map, counted once for each process that maps it; the smallest first. */
  anonymousByPageSize: z.array(z.strictObject({ pageBytes: bytes, bytes })),
  /** The struct pages of huge pages that hugetlb_optimize_vmemmap would give back. */
  hugePagesOptimisableBytes: bytes,
  /** What of it has been given back. */
  vmemmapFreedBytes: bytes,
  reverseMapBytes: bytes,
  /** Pages of the caches of vmas. */
  vmaBytes: bytes,
  slabBytes: bytes,
  stacksBytes: bytes,
  userBytes: bytes,
  pageCacheBytes: bytes,
  /** Pages mapped, counted once for each process that maps them. */
  residentBytes: bytes,
  freeBytes: bytes,
  lowmemBytes: bytes,
  lowmemFreeBytes: bytes,
  lowmemByOwnerBytes: z.record(z.enum(ownerNames), bytes),
  highmemFreeBytes: bytes,
  /** By order: free blocks of 2^order pages. */
  freeBlocksByOrder: z.array(z.int()),
});
export type MemorySnapshot = z.infer<typeof memorySchema>;

/** The level of the tables that mappings of huge pages may share. */
const SHARED_LEVEL = 2;

const LARGEST_SHOWN = 10;

export const pageTablesBytes = (kernel: Kernel): number => kernel.allocator.ownedBy(OWNER_PAGE_TABLES) * PAGE_SIZE;

/** Tables of one level; those that several address spaces have are there once. */
function tablesOf({ spaces, bigPages }: Kernel, level: number): number {
  let tables = level === SHARED_LEVEL ? 0 - bigPages.tablesInCommon : 0;
  for (const { tablesByLevel } of spaces) tables += tablesByLevel[level]!;
  return tables;
}

/** The anonymous memory of these address spaces, by the size of the pages that entries map. */
export function anonymousByPageSize(
  kernel: Kernel,
  spaces: Iterable<AddressSpace>,
): MemorySnapshot["anonymousByPageSize"] {
  const { transparent } = kernel;
  const { pages } = transparent.pages;
  let small = 0;
  let huge = 0;
  for (const mm of spaces) {
    const mapped = largeEntriesOf(kernel, mm) * pages;
    huge += mapped;
    small += mm.resident.anon - mapped;
  }
  const sizes = [{ pageBytes: PAGE_SIZE, bytes: small * PAGE_SIZE }];
  if (transparent.exist) sizes.push({ pageBytes: pages * PAGE_SIZE, bytes: huge * PAGE_SIZE });
  return sizes;
}

/** Large entries that map memory. Each has a leaf table in reserve; so have those of zeros, which are nobody's memory. */
function largeEntriesOf(kernel: Kernel, mm: AddressSpace): number {
  if (kernel.transparent.pages.zeroMaps === 0) return mm.reservedLeaves.length;
  const all = hugeEntries(kernel, mm, 0, kernel.layout.taskEnd);
  return all.filter((entry) => !isHugeZero(kernel, headOfHuge(kernel, entry))).length;
}

export function memorySnapshot(kernel: Kernel): MemorySnapshot {
  const { allocator } = kernel;
  const owned = (owner: number): number => allocator.ownedBy(owner) * PAGE_SIZE;
  const low = allocator.zones.filter((zone) => zone.kind !== ZONE_HIGHMEM);
  const high = allocator.zones.filter((zone) => zone.kind === ZONE_HIGHMEM);
  const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
  const spaces = [...kernel.spaces];
  const { pools } = kernel.bigPages;
  const transparent = kernel.transparent.pages;
  const tables = spaces.map((space) => ({ space: space.id, bytes: sum(space.tablesByLevel) * PAGE_SIZE }));
  tables.sort((a, b) => b.bytes - a.bytes || a.space - b.space);
  const levels = Array.from({ length: kernel.format.levels }, (_, level) => level + 1);
  const orders = Math.max(...allocator.zones.map((zone) => zone.buddy.orders));
  return {
    pageTablesBytes: pageTablesBytes(kernel),
    pageTablesByLevelBytes: levels.map((level) => tablesOf(kernel, level) * PAGE_SIZE),
    pageTablesByProcessBytes: tables.slice(0, LARGEST_SHOWN),
    pageTablesLargestProcessBytes: tables[0]?.bytes ?? 0,
    addressSpaces: spaces.length,
    vmas: kernel.slabs.vmas.objects,
    memMapBytes: owned(OWNER_MEM_MAP),
    hugePagesBytes: pooledPages(pools) * PAGE_SIZE,
    hugePagesUsedBytes: sum(pools.map(({ total, free, pages }) => (total - free) * pages)) * PAGE_SIZE,
    anonHugeBytes: transparent.mapped * transparent.pages * PAGE_SIZE,
    anonHugeIdleBytes: transparent.idleFrames * PAGE_SIZE,
    anonHugeUntouchedBytes: transparent.untouchedFrames * PAGE_SIZE,
    anonymousByPageSize: anonymousByPageSize(kernel, spaces),
    hugePagesOptimisableBytes: sum(pools.map(({ optimisableBytes }) => optimisableBytes)),
    vmemmapFreedBytes: kernel.vmemmap.freedPages * PAGE_SIZE,
    reverseMapBytes: kernel.reverseMap.bytes,
    vmaBytes: owned(OWNER_VMAS),
    slabBytes: owned(OWNER_SLAB),
    stacksBytes: owned(OWNER_STACKS),
    userBytes: owned(OWNER_USER),
    pageCacheBytes: owned(OWNER_PAGE_CACHE),
    residentBytes: sum(spaces.map((space) => space.residentPages)) * PAGE_SIZE,
    freeBytes: allocator.freePages * PAGE_SIZE,
    lowmemBytes: sum(low.map((zone) => zone.present)) * PAGE_SIZE,
    lowmemFreeBytes: sum(low.map((zone) => zone.free)) * PAGE_SIZE,
    lowmemByOwnerBytes: Object.fromEntries(
      ownerNames.map((name, owner) => [name, sum(low.map((zone) => zone.ownedBy(owner))) * PAGE_SIZE]),
    ) as MemorySnapshot["lowmemByOwnerBytes"],
    highmemFreeBytes: sum(high.map((zone) => zone.free)) * PAGE_SIZE,
    freeBlocksByOrder: Array.from({ length: orders }, (_, order) =>
      sum(allocator.zones.map((zone) => zone.buddy.freeBlocks(order))),
    ),
  };
}

/** Costs under names that say whose they are: "pagesScanned" of "reclaim" is "reclaimPagesScanned". */
function named(whose: string, costs: Readonly<Record<string, number>>): Record<string, number> {
  const name = (key: string): string => `${whose}${key[0]!.toUpperCase()}${key.slice(1)}`;
  return Object.fromEntries(Object.entries(costs).map(([key, value]) => [name(key), value]));
}

/** Every counter of the kernel under its own name, those of the MMUs summed, and the costs of its parts. */
export function countersOf(kernel: Kernel, cpus: readonly Cpu[]): Record<string, number> {
  const sum = (of: (cpu: Cpu) => number): number => cpus.reduce((total, cpu) => total + of(cpu), 0);
  const kmap = kernel.kmap.costs;
  const series = kernel.tables.access.costs;
  return {
    ...kernel.counters,
    tlbMissesData: sum(({ mmu }) => mmu.missesData),
    tlbMissesInstruction: sum(({ mmu }) => mmu.missesInstruction),
    tlbSecondLevelHits: sum(({ mmu }) => mmu.secondLevelHits),
    walks: sum(({ mmu }) => mmu.walks),
    walkSteps: sum(({ mmu }) => mmu.walkSteps),
    dirtyUpdates: sum(({ mmu }) => mmu.dirtyUpdates),
    rootLoads: sum(({ mmu }) => mmu.rootLoads),
    ...named("reverseMap", { ...kernel.reverseMap.costs }),
    ...named("reclaim", { ...kernel.reclaim.costs }),
    ...named("tableDiscard", { ...kernel.tableDiscard.costs }),
    tableEntriesLookedAt: kernel.entries instanceof CountedEntries ? kernel.entries.looks : 0,
    ...named("swap", { ...kernel.swap.costs }),
    diskReads: kernel.files.costs.diskReads,
    diskPagesRead: kernel.files.costs.pagesRead,
    diskWrites: kernel.files.costs.diskWrites,
    diskPagesWritten: kernel.files.costs.pagesWritten,
    allocationFailures: kernel.allocator.failures,
    oomKills: kernel.oomVictims.length,
    kmaps: kmap.maps,
    kmapsFound: kmap.found,
    kmapLookupSteps: kmap.lookupSteps,
    kmapFlushes: kmap.flushes,
    kmapWaits: kmap.waits,
    ...named("memMap", { ...(kernel.structPages.windows?.costs ?? noWindowCosts()) }),
    tableMaps: series.maps,
    tableMapsFound: series.found,
    tableMapFlushes: series.flushes,
    windowEntriesWritten: kernel.counters.atomicMaps + kmap.entriesWritten + series.entriesWritten,
  };
}
