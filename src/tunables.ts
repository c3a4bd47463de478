/**
 * Policy constants: what `/proc/sys/vm`, `ulimit` and the kernel's command line set. The defaults are those of Linux
 * 6.1; a kernel preset replaces what was different in its time.
 */
import { z } from "zod";
import { PAGE_SIZE } from "./base/units.ts";
import { sizeSchema } from "./size-schema.ts";

const MIB = 2 ** 20;

/** MAX_ORDER since hugetlb pages; kernels before had 10. */
const MAX_ORDERS = 11;

/** A limit of setrlimit: bytes, or null for none. */
const limit = () => sizeSchema.nullable();

export const tunablesSchema = z.strictObject({
  overcommitMode: z
    .literal([0, 1, 2])
    .default(0)
    .describe("vm.overcommit_memory: 0 refuses what is obviously too much, 1 nothing, 2 all beyond CommitLimit"),
  overcommitRatio: z.int().min(0).max(1000).default(50).describe("vm.overcommit_ratio, per cent of memory"),
  adminReserveBytes: sizeSchema.default(8 * MIB).describe("vm.admin_reserve_kbytes: kept for root in mode 2"),
  userReserveBytes: sizeSchema.default(128 * MIB).describe("vm.user_reserve_kbytes: kept from one process in mode 2"),
  executeInPlace: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      "mount -o xip: files of a trace whose paths begin so are frames of geometry.segments; null: only those called xip:NAME",
    ),
  maxMapCount: z.int().min(1).default(65_530).describe("vm.max_map_count: areas of one address space"),
  faultAroundBytes: sizeSchema
    .refine((bytes) => bytes >= PAGE_SIZE && Number.isInteger(Math.log2(bytes)), "a power of two, 4096 or more")
    .default(65_536)
    .describe("fault_around_bytes: the window of cached pages that a read fault maps"),
  readaheadPages: z.int().min(0).default(32).describe("read_ahead_kb, in pages: what a file read brings in at once"),
  dirtyRatio: z
    .int()
    .min(0)
    .max(100)
    .default(20)
    .describe("vm.dirty_ratio, per cent of memory: above it whoever makes pages of files dirty is held up"),
  dirtyBackgroundRatio: z
    .int()
    .min(0)
    .max(100)
    .default(10)
    .describe("vm.dirty_background_ratio: above it the kernel's own thread writes dirty pages"),
  pageCluster: z
    .int()
    .min(0)
    .max(5)
    .nullable()
    .default(null)
    .describe("vm.page-cluster: a swap read brings in 2^n pages; null: 2 on machines below 16 MiB, otherwise 3"),
  minFreeKiB: z.int().min(0).nullable().default(null).describe("vm.min_free_kbytes; null: from the formula"),
  swappiness: z
    .int()
    .min(0)
    .max(100)
    .default(60)
    .describe("vm.swappiness: how readily mapped pages are taken, rather than those of the page cache alone"),
  watermarks: z
    .enum(["linux-2.4", "linux-2.6", "linux-6.1"])
    .default("linux-6.1")
    .describe("the formula of the zones' watermarks"),
  buddyOrders: z
    .int()
    .min(1)
    .max(MAX_ORDERS)
    .default(MAX_ORDERS)
    .describe("orders of the buddy system (MAX_ORDER): 11, or 10 before hugetlb pages"),
  mobility: z
    .enum(["grouped", "mixed"])
    .default("mixed")
    .describe(
      "page_group_by_mobility: whether the kernel's own frames lie in blocks of their own, as in 2.6.24 and ever since, so that pages can be moved out of the others",
    ),
  stackLimitBytes: limit()
    .default(8 * MIB)
    .describe("RLIMIT_STACK"),
  lockedLimitBytes: limit()
    .default(8 * MIB)
    .describe("RLIMIT_MEMLOCK"),
  dataLimitBytes: limit().default(null).describe("RLIMIT_DATA"),
  addressSpaceLimitBytes: limit().default(null).describe("RLIMIT_AS"),
  privilege: z.enum(["root", "user"]).default("root").describe("who runs programs: root may exceed some limits"),
  mmapMinAddr: sizeSchema
    .refine((bytes) => bytes % PAGE_SIZE === 0, "a whole number of pages")
    .default(65_536)
    .describe("vm.mmap_min_addr: the lowest address that a program may map"),
  kmapSlots: z
    .int()
    .min(1)
    .max(65_536)
    .nullable()
    .default(null)
    .describe("LAST_PKMAP: slots of each pool of kmap; null: what one page table maps, 1024 or (PAE) 512"),
  kmapInvalidates: z
    .enum(["always", "when-changed"])
    .default("always")
    .describe("INVLPG of a kmap_atomic slot: always, or (RHEL3) only when its entry says something else"),
  memMapSlots: z
    .int()
    .min(2)
    .max(262_144)
    .default(1024)
    .describe("slots of each task's window onto mem_map, where it is in highmem: 1024 show 4 MiB of struct pages"),
  hugePages: z
    .int()
    .min(0)
    .default(0)
    .describe("vm.nr_hugepages: huge pages of the usual size (2 MiB, or 4 MiB without PAE) that are kept from boot on"),
  hugePages1G: z.int().min(0).default(0).describe("hugepages= after hugepagesz=1G: pages of 1 GiB kept from boot on"),
  hugePagesOvercommit: z
    .int()
    .min(0)
    .default(0)
    .describe("vm.nr_overcommit_hugepages: huge pages of each size that may be borrowed beyond the pool"),
  thpZeroPage: z
    .boolean()
    .default(true)
    .describe("transparent_hugepage/use_zero_page: whether a read is given a huge page of zeros"),
  thpDefrag: z
    .enum(["always", "defer", "defer+madvise", "madvise", "never"])
    .default("madvise")
    .describe(
      "transparent_hugepage/defrag: whether a fault moves and frees memory to have a huge page, leaves that to the kernel's threads, or takes a small page",
    ),
  khugepagedPages: z
    .int()
    .min(1)
    .default(4096)
    .describe("khugepaged/pages_to_scan: pages that it looks at in one turn"),
  khugepagedFaults: z
    .int()
    .min(1)
    .default(10_000)
    .describe("faults between two turns of khugepaged, where Linux waits for 10 seconds (scan_sleep_millisecs)"),
  khugepagedMostNone: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe(
      "khugepaged/max_ptes_none: empty entries that a table may have to be made a huge page; null: all but one",
    ),
  khugepagedMostSwapped: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe("khugepaged/max_ptes_swap: entries in swap; null: an eighth of a table"),
  khugepagedMostShared: z
    .int()
    .min(0)
    .nullable()
    .default(null)
    .describe("khugepaged/max_ptes_shared: entries whose pages others map too; null: half of a table"),
  hugetlbShmGroup: z
    .enum(["nobody", "everybody"])
    .default("nobody")
    .describe(
      "vm.hugetlb_shm_group: which unprivileged programs are of the group that may have segments of huge pages",
    ),
  singlePageFlushCeiling: z
    .int()
    .min(0)
    .default(33)
    .describe("tlb_single_page_flush_ceiling: ranges of more pages flush the whole TLB"),
});

export type Tunables = z.output<typeof tunablesSchema>;
/** Tunables as a person writes them: whatever is left out keeps its default. */
export type TunablesInput = z.input<typeof tunablesSchema>;

export const defaultTunables: Tunables = tunablesSchema.parse({});
