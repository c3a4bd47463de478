/**
 * The measures that reports show: a name, a unit, what it says, and how it comes out of a run's numbers. Tables,
 * documentation and comparisons derive from this list.
 */
import { formatSize } from "../base/size-text.ts";
import { pagingFormats } from "../hw/paging-format.ts";
import { HUGE_LEVEL } from "../mm/thp/huge-entries.ts";
import { freeContiguity, hugeCoverage } from "./memory-shape.ts";
import type { CompletedRun } from "./report.ts";

export type MeasureUnit = "bytes" | "percent" | "count" | "per 1000" | "each" | "cycles" | "seconds";

export interface Measure {
  /** Its key, for options and CSV columns. */
  readonly key: string;
  readonly name: string;
  readonly unit: MeasureUnit;
  readonly group: "memory" | "lowmem" | "faults" | "tlb" | "work" | "reclaim" | "estimates";
  /** What it says and where it comes from. */
  readonly how: string;
  readonly of: (run: CompletedRun) => number | undefined;
  /** Whether a run makes it worth a line for all; absent: any run that has another value than 0. */
  readonly tells?: (run: CompletedRun) => boolean;
}

const counter =
  (name: string) =>
  (run: CompletedRun): number | undefined =>
    run.counters[name];
const perThousand =
  (...names: string[]) =>
  (run: CompletedRun): number | undefined => {
    const { accesses } = run.counters;
    if (accesses === 0) return undefined;
    return (names.reduce((sum, name) => sum + (run.counters[name] ?? 0), 0) * 1000) / accesses;
  };
/** What only some designs do: nothing where it has not happened. */
const counterIfAny =
  (name: string) =>
  (run: CompletedRun): number | undefined =>
    run.counters[name] || undefined;
/** How many of one thing come on each of others; unknown where there are none of those. */
const ratio =
  (what: string, ...to: string[]) =>
  (run: CompletedRun): number | undefined => {
    const { counters } = run;
    const times = to.reduce((sum, name) => sum + (counters[name] ?? 0), 0);
    return times === 0 || counters[what] === undefined ? undefined : counters[what] / times;
  };
const isNarrow = (run: CompletedRun): boolean => ["i386", "pae"].includes(run.spec.geometry.paging);
const owner =
  (name: string) =>
  (run: CompletedRun): number | undefined =>
    isNarrow(run) ? (run.memory.lowmemByOwnerBytes as Record<string, number>)[name] : undefined;
const highmemCounter =
  (name: string) =>
  (run: CompletedRun): number | undefined =>
    isNarrow(run) ? run.counters[name] : undefined;
const level =
  (index: number) =>
  (run: CompletedRun): number | undefined =>
    run.memory.pageTablesByLevelBytes[index];

/** What shows that somebody wanted free memory in large blocks. */
const wantsBlocks = ({ spec, counters, memory }: CompletedRun): boolean =>
  spec.design.softPageShift !== "0" ||
  memory.hugePagesBytes > 0 ||
  ["thpFaultAlloc", "thpFaultFallback", "thpCollapseAlloc", "compactStall"].some((name) => counters[name]! > 0);
/** The order of a block that a large entry maps. */
const hugeOrder = ({ spec: { geometry } }: CompletedRun): number =>
  Math.log2(pagingFormats[geometry.paging].entrySpan(HUGE_LEVEL));

/** The default measures, in the order of a table. */
export const measures: readonly Measure[] = [
  {
    key: "pageTablesBytes",
    name: "PageTables",
    unit: "bytes",
    group: "memory",
    how: "frames that are page tables of any level, at their peak",
    of: (run) => run.memory.pageTablesBytes,
  },
  {
    key: "leafTablesBytes",
    name: "  leaf tables",
    unit: "bytes",
    group: "memory",
    how: "those whose entries map 4 KiB pages",
    of: level(0),
  },
  {
    key: "secondTablesBytes",
    name: "  second level",
    unit: "bytes",
    group: "memory",
    how: "those that point to leaf tables",
    of: level(1),
  },
  { key: "thirdTablesBytes", name: "  third level", unit: "bytes", group: "memory", how: "one level up", of: level(2) },
  {
    key: "fourthTablesBytes",
    name: "  fourth level",
    unit: "bytes",
    group: "memory",
    how: "one level up",
    of: level(3),
  },
  {
    key: "pageTablesLargestProcessBytes",
    name: "VmPTE, largest process",
    unit: "bytes",
    group: "memory",
    how: "page tables of the address space that has most",
    of: (run) => run.memory.pageTablesLargestProcessBytes,
  },
  {
    key: "memMapBytes",
    name: "struct pages",
    unit: "bytes",
    group: "memory",
    how: "mem_map: one struct page for each frame",
    of: (run) => run.memory.memMapBytes,
  },
  {
    key: "reverseMapBytes",
    name: "reverse map",
    unit: "bytes",
    group: "memory",
    how: "what finding a frame's entries keeps: chains, or nothing",
    of: (run) => run.memory.reverseMapBytes,
  },
  {
    key: "vmaBytes",
    name: "vmas",
    unit: "bytes",
    group: "memory",
    how: "slab pages of areas",
    of: (run) => run.memory.vmaBytes,
  },
  {
    key: "residentBytes",
    name: "RSS, all processes",
    unit: "bytes",
    group: "memory",
    how: "pages mapped, once for each process that maps them",
    of: (run) => run.memory.residentBytes,
  },
  {
    key: "anonHugeBytes",
    name: "AnonHugePages",
    unit: "bytes",
    group: "memory",
    how: "anonymous memory that entries of 2 MiB (4 MiB on i386) map, once however many processes map it",
    of: (run) => run.memory.anonHugeBytes || undefined,
  },
  {
    key: "anonHugeCoverage",
    name: "  of anonymous RSS",
    unit: "percent",
    group: "memory",
    how: "what such entries map of the anonymous memory of all processes; entries of 4 KiB map the rest",
    of: (run) => hugeCoverage(run.memory),
  },
  {
    key: "anonHugeUntouchedBytes",
    name: "  never touched (bloat)",
    unit: "bytes",
    group: "memory",
    how: "resident less touched: frames of transparent huge pages, split or not, whose page the trace has never accessed, nor the kernel for it; what was small before it became huge counts as touched",
    of: (run) => run.memory.anonHugeUntouchedBytes || undefined,
  },
  {
    key: "anonHugeIdleBytes",
    name: "  given up, not free",
    unit: "bytes",
    group: "memory",
    how: "frames of transparent huge pages that nobody has any more, and that are free when their page is split",
    of: (run) => run.memory.anonHugeIdleBytes || undefined,
  },
  {
    key: "pageCacheBytes",
    name: "page cache",
    unit: "bytes",
    group: "memory",
    how: "frames that hold files' pages",
    of: (run) => run.memory.pageCacheBytes,
  },
  {
    key: "freeBytes",
    name: "MemFree",
    unit: "bytes",
    group: "memory",
    how: "frames in the hands of the allocator",
    of: (run) => run.memory.freeBytes,
  },
  {
    key: "freeContiguity",
    name: "  in blocks of a huge page",
    unit: "percent",
    group: "memory",
    how: "free memory that lies in blocks of 2 MiB (4 MiB on i386) or more: 100 less the unusable free space index; told where such blocks were wanted, or pages of the kernel's are larger",
    of: (run) => freeContiguity(run.memory.freeBlocksByOrder, hugeOrder(run)),
    tells: wantsBlocks,
  },
  {
    key: "lowmemFreeBytes",
    name: "LowFree",
    unit: "bytes",
    group: "lowmem",
    how: "free memory that the kernel always has mapped",
    of: (run) => (isNarrow(run) ? run.memory.lowmemFreeBytes : undefined),
  },
  {
    key: "lowmemPageTablesBytes",
    name: "lowmem: page tables",
    unit: "bytes",
    group: "lowmem",
    how: "lowmem frames owned by page tables",
    of: owner("page-tables"),
  },
  {
    key: "lowmemMemMapBytes",
    name: "lowmem: struct pages",
    unit: "bytes",
    group: "lowmem",
    how: "lowmem frames owned by mem_map",
    of: owner("mem-map"),
  },
  {
    key: "lowmemReverseMapBytes",
    name: "lowmem: reverse map",
    unit: "bytes",
    group: "lowmem",
    how: "lowmem frames owned by the reverse map",
    of: owner("reverse-map"),
  },
  {
    key: "lowmemVmasBytes",
    name: "lowmem: vmas",
    unit: "bytes",
    group: "lowmem",
    how: "lowmem frames owned by areas",
    of: owner("vmas"),
  },
  {
    key: "lowmemSlabBytes",
    name: "lowmem: slab",
    unit: "bytes",
    group: "lowmem",
    how: "lowmem frames of other small objects",
    of: owner("slab"),
  },
  {
    key: "lowmemStacksBytes",
    name: "lowmem: kernel stacks",
    unit: "bytes",
    group: "lowmem",
    how: "lowmem frames of tasks' stacks",
    of: owner("stacks"),
  },
  {
    key: "lowmemKmapBytes",
    name: "lowmem: kmap",
    unit: "bytes",
    group: "lowmem",
    how: "lowmem frames of the kernel's windows: their tables and indexes",
    of: owner("kmap"),
  },
  {
    key: "accesses",
    name: "accesses",
    unit: "count",
    group: "work",
    how: "memory accesses that the trace stands for",
    of: counter("accesses"),
  },
  {
    key: "minorFaults",
    name: "pgfault, minor",
    unit: "count",
    group: "faults",
    how: "faults repaired without a disk",
    of: counter("minorFaults"),
  },
  {
    key: "majorFaults",
    name: "pgmajfault",
    unit: "count",
    group: "faults",
    how: "faults that read a page from disk",
    of: counter("majorFaults"),
  },
  {
    key: "copyOnWriteFaults",
    name: "copy-on-write faults",
    unit: "count",
    group: "faults",
    how: "first writes to pages shared since a fork or with a file",
    of: counter("copyOnWriteFaults"),
  },
  {
    key: "tlbMissesData",
    name: "TLB misses, data",
    unit: "count",
    group: "tlb",
    how: "loads and stores that the first level did not hold",
    of: counter("tlbMissesData"),
  },
  {
    key: "tlbMissesInstruction",
    name: "TLB misses, instruction",
    unit: "count",
    group: "tlb",
    how: "fetches that the first level did not hold",
    of: counter("tlbMissesInstruction"),
  },
  {
    key: "tlbMissesPerThousand",
    name: "TLB misses per 1000",
    unit: "per 1000",
    group: "tlb",
    how: "first-level misses, of both kinds, for each thousand accesses",
    of: perThousand("tlbMissesData", "tlbMissesInstruction"),
  },
  {
    key: "tlbSecondLevelHits",
    name: "second-level TLB hits",
    unit: "count",
    group: "tlb",
    how: "misses that the second level held",
    of: counter("tlbSecondLevelHits"),
  },
  {
    key: "walks",
    name: "page walks",
    unit: "count",
    group: "tlb",
    how: "misses that went to the page tables",
    of: counter("walks"),
  },
  {
    key: "walkSteps",
    name: "walk steps",
    unit: "count",
    group: "tlb",
    how: "page-table entries that walks read",
    of: counter("walkSteps"),
  },
  {
    key: "tlbInvalidations",
    name: "TLB pages flushed",
    unit: "count",
    group: "tlb",
    how: "INVLPG, on all CPUs",
    of: counter("tlbInvalidations"),
  },
  {
    key: "tlbReloads",
    name: "TLBs flushed whole",
    unit: "count",
    group: "tlb",
    how: "CR3 reloads for a flush, on all CPUs",
    of: counter("tlbReloads"),
  },
  {
    key: "tlbShootdowns",
    name: "IPIs",
    unit: "count",
    group: "tlb",
    how: "interrupts sent to flush other CPUs' TLBs",
    of: counter("tlbShootdowns"),
  },
  { key: "forks", name: "forks", unit: "count", group: "work", how: "address spaces copied", of: counter("forks") },
  {
    key: "ptesCopied",
    name: "PTEs copied by fork",
    unit: "count",
    group: "work",
    how: "entries that fork copied into children",
    of: counter("ptesCopied"),
  },
  {
    key: "ptesZapped",
    name: "PTEs cleared",
    unit: "count",
    group: "work",
    how: "entries cleared by unmapping, truncation and exit",
    of: counter("ptesZapped"),
  },
  {
    key: "tablesFreedEmpty",
    name: "page tables freed empty",
    unit: "count",
    group: "work",
    how: "leaf tables that went with their last entry, whoever still had areas there",
    of: counterIfAny("tablesFreedEmpty"),
  },
  {
    key: "entriesLookedAt",
    name: "  PTEs looked at for it",
    unit: "count",
    group: "work",
    how: "entries that were looked at before they were written, to count those of their table",
    of: counterIfAny("tableEntriesLookedAt"),
  },
  {
    key: "reverseMapAdds",
    name: "reverse-map adds",
    unit: "count",
    group: "work",
    how: "times the reverse map was told of a new entry",
    of: counter("reverseMapAdds"),
  },
  {
    key: "reverseMapLinksFollowed",
    name: "reverse-map links",
    unit: "count",
    group: "work",
    how: "links that keeping and asking the reverse map followed",
    of: counter("reverseMapLinksFollowed"),
  },
  {
    key: "reverseMapAddsPerFault",
    name: "  adds per fault",
    unit: "each",
    group: "work",
    how: "reverse-map adds for each fault that was repaired, those of forks among them",
    of: ratio("reverseMapAdds", "minorFaults", "majorFaults"),
  },
  {
    key: "reverseMapLinksPerFault",
    name: "  links per fault",
    unit: "each",
    group: "work",
    how: "links followed for each fault that was repaired",
    of: ratio("reverseMapLinksFollowed", "minorFaults", "majorFaults"),
  },
  {
    key: "ptesCopiedPerFork",
    name: "  PTEs copied per fork",
    unit: "each",
    group: "work",
    how: "entries that a fork copied, each of which the reverse map is told of",
    of: ratio("ptesCopied", "forks"),
  },
  {
    key: "reverseMapAreasVisited",
    name: "reverse map: areas",
    unit: "count",
    group: "work",
    how: "areas that questions about a frame looked into",
    of: counter("reverseMapAreasVisited"),
  },
  {
    key: "reverseMapEntriesRead",
    name: "reverse map: PTEs read",
    unit: "count",
    group: "work",
    how: "entries that questions about a frame read to see whether they map it",
    of: counter("reverseMapEntriesRead"),
  },
  {
    key: "kswapdTurns",
    name: "kswapd turns",
    unit: "count",
    group: "reclaim",
    how: "times that kswapd woke up to free pages",
    of: counter("reclaimKswapdTurns"),
  },
  {
    key: "directTurns",
    name: "direct reclaims",
    unit: "count",
    group: "reclaim",
    how: "allocations that had to free pages themselves (allocstall)",
    of: counter("reclaimDirectTurns"),
  },
  {
    key: "pagesScanned",
    name: "pages scanned",
    unit: "count",
    group: "reclaim",
    how: "pages that reclaim took off the end of a list to look at (pgscan)",
    of: counter("reclaimPagesScanned"),
  },
  {
    key: "pagesFreed",
    name: "pages freed",
    unit: "count",
    group: "reclaim",
    how: "pages that reclaim freed (pgsteal)",
    of: counter("reclaimPagesFreed"),
  },
  {
    key: "reclaimEntriesVisited",
    name: "PTEs visited",
    unit: "count",
    group: "reclaim",
    how: "entries that reclaim looked at, by the reverse map or by walking address spaces",
    of: counter("reclaimEntriesVisited"),
  },
  {
    key: "entriesVisitedPerPageFreed",
    name: "  per page freed",
    unit: "each",
    group: "reclaim",
    how: "entries that reclaim looked at for each page that it freed",
    of: ratio("reclaimEntriesVisited", "reclaimPagesFreed"),
  },
  {
    key: "tablesDiscarded",
    name: "page tables discarded",
    unit: "count",
    group: "reclaim",
    how: "leaf tables of files' mappings that left memory",
    of: counterIfAny("tableDiscardTablesDiscarded"),
  },
  {
    key: "entriesDiscarded",
    name: "  PTEs in them",
    unit: "count",
    group: "reclaim",
    how: "entries that they held: each costs a fault if it is used again",
    of: counterIfAny("tableDiscardEntriesDiscarded"),
  },
  {
    key: "discardTablesScanned",
    name: "page tables scanned",
    unit: "count",
    group: "reclaim",
    how: "leaf tables that were looked at to see whether they may be discarded",
    of: counterIfAny("tableDiscardTablesScanned"),
  },
  {
    key: "discardEntriesScanned",
    name: "  PTEs read for it",
    unit: "count",
    group: "reclaim",
    how: "entries that were read to see whether their table was used, or says what nobody else knows",
    of: counterIfAny("tableDiscardEntriesScanned"),
  },
  {
    key: "pagesSwappedIn",
    name: "pages swapped in",
    unit: "count",
    group: "reclaim",
    how: "pages read from swap (pswpin)",
    of: counter("swapPagesIn"),
  },
  {
    key: "pagesSwappedOut",
    name: "pages swapped out",
    unit: "count",
    group: "reclaim",
    how: "pages written to swap (pswpout)",
    of: counter("swapPagesOut"),
  },
  {
    key: "oomKills",
    name: "OOM kills",
    unit: "count",
    group: "reclaim",
    how: "processes that were killed because no memory was to be had",
    of: counter("oomKills"),
  },
  {
    key: "atomicMaps",
    name: "kmap_atomic",
    unit: "count",
    group: "work",
    how: "highmem frames mapped through a slot of the CPU's: page tables, and pages zeroed or copied",
    of: highmemCounter("atomicMaps"),
  },
  {
    key: "atomicInvalidations",
    name: "INVLPG for kmap_atomic",
    unit: "count",
    group: "work",
    how: "translations of such slots dropped, on one CPU",
    of: highmemCounter("atomicInvalidations"),
  },
  {
    key: "kmaps",
    name: "kmap",
    unit: "count",
    group: "work",
    how: "windows of the pool taken, for files and other processes' memory",
    of: highmemCounter("kmaps"),
  },
  {
    key: "kmapFlushes",
    name: "kmap: flushes of all CPUs",
    unit: "count",
    group: "work",
    how: "rounds of the pools of windows",
    of: highmemCounter("tlbFlushesKernel"),
  },
  {
    key: "memMapLookups",
    name: "struct pages looked up",
    unit: "count",
    group: "work",
    how: "struct pages in highmem that the kernel turned to, each looked up in the running task's window",
    of: counterIfAny("memMapLookups"),
  },
  {
    key: "memMapMisses",
    name: "  not in the task's window",
    unit: "count",
    group: "work",
    how: "frames of mem_map that had to be mapped for them",
    of: counterIfAny("memMapMisses"),
  },
  {
    key: "memMapFlushes",
    name: "  INVLPG for them",
    unit: "count",
    group: "work",
    how: "slots of windows that showed another frame before, on one CPU",
    of: counterIfAny("memMapFlushes"),
  },
  {
    key: "tableMaps",
    name: "kmap of page tables",
    unit: "count",
    group: "work",
    how: "page tables opened through windows that may be waited for",
    of: highmemCounter("tableMaps"),
  },
  {
    key: "estimatedCycles",
    name: "cycles (estimated)",
    unit: "cycles",
    group: "estimates",
    how: "events times the cost table; not measured, and no other sources of time",
    of: (run) => run.estimated.cycles,
  },
  {
    key: "estimatedDiskSeconds",
    name: "disk time (estimated)",
    unit: "seconds",
    group: "estimates",
    how: "reads and writes times the latency of geometry.disk, pages by its bandwidth, one after the other",
    of: (run) => run.estimated.diskSeconds,
  },
];

/** A measure's value for people: three significant digits and an explicit unit; with `exact`, the whole number. */
export function formatMeasure(value: number | undefined, unit: MeasureUnit, style: "short" | "exact"): string {
  if (value === undefined) return "-";
  if (style === "exact") return Number.isInteger(value) ? String(value) : value.toFixed(6);
  if (unit === "bytes") return formatSize(value);
  if (unit === "percent") return `${value === 0 ? "0" : value.toPrecision(3)} %`;
  if (unit === "per 1000") return value >= 1000 ? formatCount(value) : value.toPrecision(3);
  if (unit === "each") return value >= 1000 ? formatCount(value) : value === 0 ? "0" : value.toPrecision(3);
  if (unit === "seconds") return value === 0 ? "0" : `${value.toPrecision(3)} s`;
  return formatCount(value);
}

const SCALES = [
  { from: 1e15, unit: "P" },
  { from: 1e12, unit: "T" },
  { from: 1e9, unit: "G" },
  { from: 1e6, unit: "M" },
];

/** "1,234" as it is up to 99,999; above that "123 k", "1.23 M". */
export function formatCount(value: number): string {
  if (value < 100_000) return Math.round(value).toLocaleString("en-US");
  for (const { from, unit } of SCALES) {
    if (value >= from * 0.9995) return `${(value / from).toPrecision(3)} ${unit}`;
  }
  return `${(value / 1e3).toPrecision(3)} k`;
}
