/**
 * /proc/meminfo: what memory is used for, under the kernel's own names. The lines that a kernel has and this one lacks
 * are those whose mechanism is not modelled (buffers of block devices, bounce buffers): none is printed as a zero that
 * nobody counted.
 *
 * @models linux-6.1 fs/proc/meminfo.c meminfo_proc_show, mm/page_alloc.c si_mem_available
 * @models linux-2.6.11 fs/proc/proc_misc.c meminfo_read_proc
 * @differs counts are exact; a real kernel's lag behind by what its CPUs have not yet added to them
 */
import { PAGE_SIZE } from "../base/units.ts";
import { type HugePool, pooledPages } from "./bigpages/huge-pool.ts";
import type { FileKind } from "./file.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF } from "./page-table.ts";
import { OWNER_PAGE_CACHE, OWNER_STACKS, ZONE_HIGHMEM, type Zone } from "./zone.ts";

/** One line: its key, and how many pages. */
export interface MeminfoLine {
  readonly key: string;
  readonly pages: number;
  /** Of what is printed as a number of huge pages: that number; `pages` is what they hold. */
  readonly count?: number;
}

/** Whose lines. */
export type MeminfoName = "linux-2.6.11" | "linux-6.1";

type Count = (kernel: Kernel) => number;

const sum = (values: Iterable<number>): number => {
  let total = 0;
  for (const value of values) total += value;
  return total;
};
const isHigh = (zone: Zone): boolean => zone.kind === ZONE_HIGHMEM;
const isLow = (zone: Zone): boolean => !isHigh(zone);
const managed =
  (of: (zone: Zone) => boolean): Count =>
  ({ allocator }) =>
    sum(allocator.zones.filter(of).map((zone) => zone.managed));
const free =
  (of: (zone: Zone) => boolean): Count =>
  ({ allocator }) =>
    sum(allocator.zones.filter(of).map((zone) => zone.free));

/** Page tables of the levels from the leaf tables up to `highest`, but never the top one. */
const pageTables =
  (highest: number): Count =>
  ({ spaces, format, bigPages, tables }) => {
    const levels = Math.min(highest, format.levels - 1);
    const inCommon = tables.shared.inCommon + (levels > LEAF ? bigPages.tablesInCommon : 0);
    return sum([...spaces].map((mm) => sum(mm.tablesByLevel.slice(LEAF, levels + 1)))) - inCommon;
  };

const cachedOf = ({ files }: Kernel, kind: FileKind): number =>
  sum([...files.all()].map((file) => (file.kind === kind ? file.pages.frameCount : 0)));

/** Pages of files that some process maps. */
const mappedFilePages: Count = (kernel) => kernel.structPages.aside(() => countMappedFilePages(kernel));

function countMappedFilePages({ files, frames }: Kernel): number {
  let mapped = 0;
  for (const file of files.all()) {
    if (file.mappings.count === 0) continue;
    file.pages.forEach(0, Number.POSITIVE_INFINITY, (_index, frame) => {
      if (frames.mapCount.read(frame) > 0) mapped += frames.softFrames;
      return true;
    });
  }
  return mapped;
}

const mapped: Count = ({ frames }) => frames.mapped;
const anonymous: Count = (kernel) => mapped(kernel) - mappedFilePages(kernel);
const cached: Count = ({ allocator }) => allocator.ownedBy(OWNER_PAGE_CACHE);
const shmem: Count = (kernel) => cachedOf(kernel, "shmem");
const stacks: Count = ({ allocator }) => allocator.ownedBy(OWNER_STACKS);
const slab: Count = ({ slabs }) => slabs.pages;
const reclaimable: Count = ({ slabs }) => slabs.pagesOf("reclaimable");
const dirty: Count = ({ files }) => files.dirty.pages;
const underWriteback: Count = ({ files }) => files.dirty.underWriteback;
const swapTotal: Count = ({ swap }) => swap.totalPages;
const swapFree: Count = ({ swap }) => swap.freePages;
const swapCached: Count = ({ swap }) => swap.cachedPages;

/** Pages on the lists whose names start so: a strategy of reclaim may have several for what the kernel adds up. */
const listed =
  (start: "active" | "inactive"): Count =>
  ({ allocator, reclaim, frames }) =>
    frames.softFrames *
    sum(
      allocator.zones
        .flatMap((zone) => reclaim.listsOf(zone))
        .filter(({ name }) => name.startsWith(start))
        .map(({ count }) => count),
    );

/** What programs could still have: free memory beyond all marks, and half or more of what can be dropped. */
const available: Count = (kernel) => {
  const { zones, freePages } = kernel.allocator;
  const kept = sum(zones.map((zone) => Math.min(Math.max(...zone.reserve) + zone.high, zone.managed)));
  const low = sum(zones.map((zone) => zone.low));
  const spared = (pages: number): number => pages - Math.min(Math.floor(pages / 2), low);
  return Math.max(0, freePages - kept + spared(cachedOf(kernel, "regular")) + spared(reclaimable(kernel)));
};

/** What a line counts: pages, or huge pages of the usual size. */
type Lines = Readonly<Record<string, Count | { readonly ofHugePages: Count }>>;

/** Counts of the usual huge pages: lines that only a kernel with hugetlbfs has. */
const pooled = (count: (pool: HugePool) => number): { readonly ofHugePages: Count } => ({
  ofHugePages: ({ bigPages }) => count(bigPages.pools[0]!),
});

/** @models linux-6.1 mm/hugetlb.c hugetlb_report_meminfo */
const hugePages = ({ bigPages }: Kernel, kind: MeminfoName): Lines => {
  if (bigPages.poolFor(0) === null) return {};
  const counts = { HugePages_Total: pooled(({ total }) => total), HugePages_Free: pooled(({ free }) => free) };
  const size = { Hugepagesize: () => bigPages.pools[0]!.pages };
  if (kind === "linux-2.6.11") return { ...counts, ...size };
  return {
    ...counts,
    HugePages_Rsvd: pooled(({ reserved }) => reserved),
    HugePages_Surp: pooled(({ surplus }) => surplus),
    ...size,
    Hugetlb: () => pooledPages(bigPages.pools),
  };
};

/** Anonymous memory that is mapped by large entries: a line of kernels that can have any. */
const transparentPages = ({ transparent }: Kernel): Lines =>
  transparent.exist ? { AnonHugePages: () => transparent.pages.mapped * transparent.pages.pages } : {};

const highmem: Lines = {
  HighTotal: managed(isHigh),
  HighFree: free(isHigh),
  LowTotal: managed(isLow),
  LowFree: free(isLow),
};

const every = (): boolean => true;

/** In the order in which each kernel prints them. A kernel for machines without highmem leaves those lines out. */
const reports: Readonly<Record<MeminfoName, (kernel: Kernel) => Lines>> = {
  "linux-2.6.11": (kernel) => ({
    MemTotal: managed(every),
    MemFree: free(every),
    Cached: cached,
    SwapCached: swapCached,
    Active: listed("active"),
    Inactive: listed("inactive"),
    ...highmem,
    SwapTotal: swapTotal,
    SwapFree: swapFree,
    Dirty: dirty,
    Writeback: underWriteback,
    Mapped: mapped,
    Slab: slab,
    CommitLimit: ({ commitment }) => commitment.limitPages,
    Committed_AS: ({ commitment }) => commitment.pages,
    PageTables: pageTables(LEAF),
    ...hugePages(kernel, "linux-2.6.11"),
  }),
  "linux-6.1": (kernel) => ({
    MemTotal: managed(every),
    MemFree: free(every),
    MemAvailable: available,
    Cached: cached,
    SwapCached: swapCached,
    Active: listed("active"),
    Inactive: listed("inactive"),
    ...(kernel.layout.abi === "i386" ? highmem : {}),
    SwapTotal: swapTotal,
    SwapFree: swapFree,
    Dirty: dirty,
    Writeback: underWriteback,
    AnonPages: anonymous,
    Mapped: mappedFilePages,
    Shmem: shmem,
    KReclaimable: reclaimable,
    Slab: slab,
    SReclaimable: reclaimable,
    SUnreclaim: ({ slabs }) => slabs.pagesOf("unreclaimable"),
    KernelStack: stacks,
    PageTables: pageTables(LEAF + 1),
    CommitLimit: ({ commitment }) => commitment.limitPages,
    Committed_AS: ({ commitment }) => commitment.pages,
    ...transparentPages(kernel),
    ...hugePages(kernel, "linux-6.1"),
  }),
};

/** The lines of /proc/meminfo. */
export function meminfo(kernel: Kernel): MeminfoLine[] {
  const lines = reports[kernel.personality.meminfo](kernel);
  return Object.entries(lines).map(([key, of]) => {
    if (typeof of === "function") return { key, pages: of(kernel) };
    const count = of.ofHugePages(kernel);
    return { key, pages: count * kernel.bigPages.pools[0]!.pages, count };
  });
}

/** How wide a kernel's keys and numbers are. */
interface Columns {
  readonly key: number;
  readonly number: number;
  /** Of numbers of huge pages, and of their size. */
  readonly counts: { readonly key: number; readonly number: number };
  readonly sizes: { readonly key: number; readonly number: number };
}

const columns: Readonly<Record<MeminfoName, Columns>> = {
  "linux-2.6.11": { key: 14, number: 8, counts: { key: 17, number: 5 }, sizes: { key: 17, number: 5 } },
  "linux-6.1": { key: 16, number: 8, counts: { key: 19, number: 5 }, sizes: { key: 16, number: 8 } },
};

const KIB_PER_PAGE = PAGE_SIZE / 1024;

/** The text that the kernel prints: `Key:   N kB`, a line each; of now, or of lines that were taken before. */
export function meminfoText(kernel: Kernel, lines: readonly MeminfoLine[] = meminfo(kernel)): string {
  const { counts, sizes, ...usual } = columns[kernel.personality.meminfo];
  return lines
    .map(({ key, pages, count }) => {
      const width = count !== undefined ? counts : key === "Hugepagesize" ? sizes : usual;
      const number = count ?? pages * KIB_PER_PAGE;
      const unit = count === undefined ? " kB" : "";
      return `${`${key}:`.padEnd(width.key)}${String(number).padStart(width.number)}${unit}\n`;
    })
    .join("");
}
