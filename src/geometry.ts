/**
 * The sizes of a machine: memory, CPUs, paging format, TLBs, disk, and where its zones end. Parsing checks that such a
 * machine can exist; what is left out has a default, and `null` stands for "what the kernel does by itself".
 */
import { z } from "zod";
import { UsageError } from "./base/errors.ts";
import { formatSize } from "./base/size-text.ts";
import { PAGE_SIZE } from "./base/units.ts";
import { type CostEvent, type CostTable, costEvents, costPresets } from "./hw/cost.ts";
import { type DiskModel, diskPresets } from "./hw/disk.ts";
import { type PagingFormat, pagingFormats } from "./hw/paging-format.ts";
import type { TlbShape } from "./hw/tlb.ts";
import { tlbPresets } from "./hw/tlb-presets.ts";
import { parseRecord, presetOr, sizeSchema } from "./size-schema.ts";

const GIB = 2 ** 30;
/** MAX_SWAPFILES. */
const MOST_SWAP_AREAS = 32;
/** Slots of one area are numbered by an int32. */
const MOST_SWAP_PAGES = 2 ** 31;

const namesOf = <T extends object>(table: T) => Object.keys(table) as [Extract<keyof T, string>];

const pageNames = z.array(z.enum(["4K", "2M", "1G"])).min(1);
const ways = z.union([z.int().min(1), z.literal("full")]);

const arrayShapeSchema = z.strictObject({
  pages: pageNames,
  splits: pageNames.exactOptional(),
  entries: z.int().min(1).max(65_536),
  ways,
  largeWays: z.int().min(0).exactOptional(),
});

/** A TLB as its data sheet says (hw/tlb.ts). */
const tlbShapeSchema = z.strictObject({
  name: z.string(),
  rests: z.string(),
  replacement: z.enum(["lru", "tree-plru"]),
  instruction: z.array(arrayShapeSchema).min(1),
  load: z.array(arrayShapeSchema).min(1),
  store: z.array(arrayShapeSchema).min(1).exactOptional(),
  second: z.array(arrayShapeSchema).exactOptional(),
  secondInstruction: z.array(arrayShapeSchema).exactOptional(),
  secondData: z.array(arrayShapeSchema).exactOptional(),
  walkCache: z.strictObject({ entries: z.int().min(1), ways }).exactOptional(),
});

const cycles = Object.fromEntries(
  Object.entries(costEvents).map(([event, meaning]) => [event, z.number().min(0).describe(meaning)]),
) as Record<CostEvent, z.ZodNumber>;

/** What events cost (hw/cost.ts). */
const costTableSchema = z.strictObject({
  name: z.string(),
  rests: z.string(),
  hertz: z.number().positive(),
  cycles: z.strictObject(cycles),
});

/** How slow the disk is (hw/disk.ts). */
const diskModelSchema = z.strictObject({
  name: z.string(),
  rests: z.string(),
  latencySeconds: z.number().min(0),
  bytesPerSecond: z.number().positive(),
});

/** The user's share of a 32-bit address space, and the kernel's. */
export type Split = "3:1" | "2:2" | "1:3" | "4:4";

/**
 * What a split gives to each. With 4:4 (RHEL3's hugemem) the kernel has an address space of its own, and shares only
 * 16 MiB at the top, through which it is entered, and 32 MiB at the bottom.
 *
 * @models rhel3-hugemem include/asm-i386/page.h, processor.h __PAGE_OFFSET, TASK_SIZE
 */
const splits: Readonly<Record<Split, { readonly userBytes: number; readonly pageOffset: number }>> = {
  "3:1": { userBytes: 3 * GIB, pageOffset: 3 * GIB },
  "2:2": { userBytes: 2 * GIB, pageOffset: 2 * GIB },
  "1:3": { userBytes: 1 * GIB, pageOffset: 1 * GIB },
  "4:4": { userBytes: 0xff00_0000, pageOffset: 0x0200_0000 },
};

export const geometrySchema = z.strictObject({
  memoryBytes: sizeSchema.describe("physical memory; also written memory, as in memory=64G"),
  cpus: z.int().min(1).max(8192).default(1).describe("logical CPUs"),
  nodes: z
    .int()
    .min(1)
    .max(64)
    .default(1)
    .describe(
      "NUMA nodes, each with as much memory as the others, in elements of 256 MiB; which is near is not modelled, only whose it is",
    ),
  paging: z.enum(namesOf(pagingFormats)).describe("the paging format: how the MMU walks page tables"),
  split: z
    .enum(["3:1", "2:2", "1:3", "4:4"])
    .nullable()
    .default(null)
    .describe("user to kernel share of a 32-bit address space; null: 3:1, or not applicable"),
  tlb: presetOr(namesOf(tlbPresets), tlbShapeSchema).describe("a TLB preset, or a TLB as its data sheet says"),
  cost: presetOr(namesOf(costPresets), costTableSchema)
    .default("modern")
    .describe("a cost table's name, or a table of cycles by event"),
  disk: presetOr(namesOf(diskPresets), diskModelSchema)
    .default("nvme")
    .describe("a disk's name, or its latency and bandwidth"),
  largePages: z
    .array(z.enum(["2M", "4M", "1G"]))
    .nullable()
    .default(null)
    .describe("sizes of large pages that the CPU offers; null: all that the paging format has"),
  firmware: z
    .enum(["flat", "pc"])
    .default("flat")
    .describe("flat: memory is one range; pc: with the holes below 1 MiB and below 4 GiB that a PC has"),
  bootMemory: z
    .enum(["kernel", "none"])
    .default("kernel")
    .describe("kernel: its image, struct pages and tables take memory at boot; none: all memory is free"),
  pageStructBytes: z
    .int()
    .min(1)
    .max(4096)
    .nullable()
    .default(null)
    .describe("bytes of struct page for each frame; null: the kernel's own"),
  lowmemBytes: sizeSchema
    .nullable()
    .default(null)
    .describe(
      "memory that a 32-bit kernel always has mapped, with its split; null: as its address map leaves room for",
    ),
  atomicTypes: z
    .int()
    .min(1)
    .max(256)
    .nullable()
    .default(null)
    .describe("kmap_atomic's slots of each CPU in the fixmap, which soft pages make larger; null: the kernel's 14"),
  cacheLineBytes: z
    .literal([32, 64, 128])
    .default(64)
    .describe("the CPU's cache line, which blocks of PTE chains fill"),
  swap: z
    .union([sizeSchema, z.array(sizeSchema).max(MOST_SWAP_AREAS)], {
      error: `write the size of a swap area, such as 1G, or up to ${MOST_SWAP_AREAS} sizes, such as 1G,512M`,
    })
    .default([])
    .describe("swap areas: the size of one, or a list of sizes (1G,512M), filled in this order; 0: none"),
  segments: z
    .union([sizeSchema, z.array(sizeSchema)], {
      error: "write the size of a segment, such as 256M, or several sizes, such as 256M,64M",
    })
    .default([])
    .describe(
      "memory outside all zones, without struct pages, that guests share or a device has: a size, or a list (256M,64M); 0: none",
    ),
  softwareBits: z
    .enum(["some", "none"])
    .default("some")
    .describe("bits of a page-table entry that hardware leaves to the kernel; s390 was said to have none"),
  dmaBytes: sizeSchema.default(16 * 2 ** 20).describe("where ZONE_DMA ends"),
});

export type Geometry = z.output<typeof geometrySchema>;
/** A geometry as a person writes it. */
export type GeometryInput = z.input<typeof geometrySchema>;

/** A geometry from a file or the command line. What is impossible is a UsageError that says why. */
export function parseGeometry(input: unknown): Geometry {
  const geometry = parseRecord(geometrySchema, "geometry", withFullNames(input), ["memory"]);
  for (const check of checks) check(geometry, pagingFormats[geometry.paging]);
  return geometry;
}

/** The paging format of the machine's CPU: of the large pages that it could have, those that the CPU offers. */
export function formatOf({ paging, largePages, softwareBits }: Geometry): PagingFormat {
  const format = pagingFormats[paging];
  const withPages =
    largePages === null ? format : format.withLargePages(largePages.map((name) => largePageBytes[name] / PAGE_SIZE));
  return softwareBits === "some" ? withPages : withPages.withoutSoftwareBits();
}

/** `memory` is short for `memoryBytes`, and sizes with commas between them are a list. */
function withFullNames(input: unknown): unknown {
  if (typeof input !== "object" || input === null) return input;
  const record: Record<string, unknown> = { ...input };
  if ("memory" in record) {
    record.memoryBytes = record.memory;
    delete record.memory;
  }
  for (const key of ["swap", "segments"]) {
    const list = record[key];
    if (typeof list === "string" && list.includes(",")) record[key] = list.split(",");
  }
  return record;
}

/** Whether the kernel cannot have all memory mapped at once. */
export const isNarrow = (format: PagingFormat): boolean => format.vaddrBits === 32;

/** Bytes of the address space that are a program's. */
export function userBytes(geometry: Geometry): number {
  const format = pagingFormats[geometry.paging];
  return isNarrow(format) ? splits[geometry.split ?? "3:1"].userBytes : 2 ** (format.vaddrBits - 1);
}

/** The memory of NUMA nodes comes in elements of 256 MiB. */
const NODE_ELEMENT_FRAMES = 2 ** 28 / PAGE_SIZE;

/** Frames that each node spans, of so many; the last one has what is left. */
export const nodeFrames = (nodes: number, frames: number): number =>
  Math.ceil(frames / nodes / NODE_ELEMENT_FRAMES) * NODE_ELEMENT_FRAMES;

/** Where a 32-bit kernel's direct map starts (PAGE_OFFSET). */
export const pageOffsetOf = ({ split }: Geometry): number => splits[split ?? "3:1"].pageOffset;

/**
 * Memory that the kernel always has mapped at most, where it could map `mappable` with a 3:1 split. Another split
 * moves the border; the windows above (vmalloc, kmap, fixmap) stay as large as they are.
 */
export function lowmemLimit(geometry: Geometry, mappable: number): number {
  if (!isNarrow(pagingFormats[geometry.paging])) return Number.POSITIVE_INFINITY;
  return geometry.lowmemBytes ?? mappable + 3 * GIB - pageOffsetOf(geometry);
}

/** Pages of each swap area. */
export const swapAreasOf = ({ swap }: Geometry): number[] =>
  [swap]
    .flat()
    .filter((bytes) => bytes > 0)
    .map((bytes) => bytes / PAGE_SIZE);

/** Pages of each segment. */
export const segmentsOf = ({ segments }: Geometry): number[] =>
  [segments]
    .flat()
    .filter((bytes) => bytes > 0)
    .map((bytes) => bytes / PAGE_SIZE);

/** The TLB that the geometry names or spells out. */
export const tlbShapeOf = ({ tlb }: Geometry): TlbShape => (typeof tlb === "string" ? tlbPresets[tlb] : tlb);

/** The cost table that the geometry names or spells out. */
export const costTableOf = ({ cost }: Geometry): CostTable => (typeof cost === "string" ? costPresets[cost] : cost);

/** The disk that the geometry names or spells out. */
export const diskModelOf = ({ disk }: Geometry): DiskModel => (typeof disk === "string" ? diskPresets[disk] : disk);

type Check = (geometry: Geometry, format: PagingFormat) => void;

function refuse(key: string, why: string): never {
  throw new UsageError(`geometry.${key}: ${why}`);
}

/** Bytes of the format's large pages, as people call them. */
const largePageBytes = { "2M": 2 ** 21, "4M": 2 ** 22, "1G": 2 ** 30 } as const;

const checks: readonly Check[] = [
  function memoryIsThere({ memoryBytes }) {
    if (memoryBytes < PAGE_SIZE || memoryBytes % PAGE_SIZE !== 0) {
      refuse("memoryBytes", `${memoryBytes} bytes are not a whole number of pages of ${PAGE_SIZE} bytes, at least one`);
    }
  },

  function memoryCanBeAddressed({ memoryBytes }, format) {
    const most = format.maxFrames * PAGE_SIZE;
    if (memoryBytes <= most) return;
    const wider = Object.values(pagingFormats).find(({ maxFrames }) => maxFrames * PAGE_SIZE >= memoryBytes);
    const remedy = wider === undefined ? "; use less memory" : `; use paging=${wider.name}, or less memory`;
    refuse(
      "memoryBytes",
      `${formatSize(memoryBytes)} are more than the ${formatSize(most)} that ${format.name} paging can address${remedy}`,
    );
  },

  function splitIsOf32Bits({ split }, format) {
    if (split === null || isNarrow(format)) return;
    refuse("split", `${format.name} paging has no ${split} split: its kernel has half of the address space; use null`);
  },

  function lowmemIsOf32Bits({ lowmemBytes }, format) {
    if (lowmemBytes === null || isNarrow(format)) return;
    refuse("lowmemBytes", `with ${format.name} paging the kernel has all memory mapped: there is no lowmem; use null`);
  },

  function lowmemFits(geometry) {
    const { lowmemBytes, memoryBytes } = geometry;
    if (lowmemBytes === null) return;
    if (lowmemBytes > memoryBytes) {
      refuse(
        "lowmemBytes",
        `${formatSize(lowmemBytes)} of lowmem are more than the ${formatSize(memoryBytes)} of memory`,
      );
    }
    const kernelBytes = 4 * GIB - pageOffsetOf(geometry);
    if (lowmemBytes >= kernelBytes) {
      const split = geometry.split ?? "3:1";
      refuse("lowmemBytes", `a ${split} split leaves the kernel ${formatSize(kernelBytes)}, windows included`);
    }
    if (lowmemBytes < PAGE_SIZE || lowmemBytes % PAGE_SIZE !== 0) {
      refuse("lowmemBytes", `${lowmemBytes} bytes are not a whole number of pages, at least one`);
    }
  },

  function dmaIsWholePages({ dmaBytes }) {
    if (dmaBytes % PAGE_SIZE !== 0) refuse("dmaBytes", `${dmaBytes} bytes are not a whole number of pages`);
  },

  function swapFits(geometry, format) {
    for (const pages of swapAreasOf(geometry)) {
      const size = formatSize(pages * PAGE_SIZE);
      if (!Number.isInteger(pages) || pages < 2) {
        refuse("swap", `${size} are not a whole number of pages, at least two: the first is the area's header`);
      }
      if (pages - 1 > format.highestSwapOffset || pages > MOST_SWAP_PAGES) {
        const most = Math.min(format.highestSwapOffset + 1, MOST_SWAP_PAGES) * PAGE_SIZE;
        refuse(
          "swap",
          `${size} are more than the ${formatSize(most)} that an area can have with ${format.name} paging`,
        );
      }
    }
  },

  function segmentsAreWholePages(geometry) {
    for (const pages of segmentsOf(geometry)) {
      if (!Number.isInteger(pages)) refuse("segments", `${pages * PAGE_SIZE} bytes are not a whole number of pages`);
    }
  },

  function pagesExist({ largePages }, format) {
    const has = (name: keyof typeof largePageBytes) =>
      format.largePages.some(({ pages }) => pages * PAGE_SIZE === largePageBytes[name]);
    const names = Object.keys(largePageBytes) as (keyof typeof largePageBytes)[];
    for (const name of largePages ?? []) {
      if (has(name)) continue;
      refuse(
        "largePages",
        `${format.name} paging has no ${name} pages; beside 4K it has ${names.filter(has).join(", ")}`,
      );
    }
  },

  function arraysAreWhole(geometry) {
    const {
      name,
      instruction,
      load,
      store = [],
      second = [],
      secondInstruction = [],
      secondData = [],
    } = tlbShapeOf(geometry);
    for (const { entries, ways } of [instruction, load, store, second, secondInstruction, secondData].flat()) {
      if (ways !== "full" && entries % ways !== 0) {
        refuse("tlb", `${name}: ${entries} entries are not a whole number of sets of ${ways}`);
      }
    }
  },
];
