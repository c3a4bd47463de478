/**
 * How a machine's memory is laid out when its kernel has started: which frames exist, which zone they are in, and what
 * is reserved for ever. The kernel's image and tables come out of lowmem, so that a machine with much memory has less
 * of it left: that is the whole story of big 32-bit machines.
 *
 *     0      640K 1M   16M            lowmem end        firmware's hole      4G
 *     | DMA  |hole| DMA | NORMAL       | HIGHMEM         | (no memory)        | HIGHMEM ...
 *                        image  ->      <- boot tables, mem_map, bounce buffers
 *
 * @models linux-6.1 arch/x86/mm/init.c, mm/page_alloc.c free_area_init, arch/x86/kernel/e820.c
 * @models linux-2.6.11 arch/i386/mm/init.c
 */
import { UsageError } from "./base/errors.ts";
import { formatSize } from "./base/size-text.ts";
import { PAGE_SIZE, type Pfn } from "./base/units.ts";
import type { Footprint } from "./footprint.ts";
import { type Geometry, isNarrow, lowmemLimit, nodeFrames, pageOffsetOf, segmentsOf } from "./geometry.ts";
import { pagingFormats } from "./hw/paging-format.ts";
import { Allocator, type FrameContents } from "./mm/allocator.ts";
import { Buddy } from "./mm/buddy.ts";
import type { Frames } from "./mm/frames.ts";
import { scaledLowmemBytes } from "./mm/kmap/windows.ts";
import type { FrameRange, MapPart, MemoryShape } from "./mm/memmap/map-plan.ts";
import type { MemMap } from "./mm/memmap/mem-map.ts";
import type { MapLayout } from "./mm/memmap/mem-maps.ts";
import { watermarkPolicies } from "./mm/watermarks.ts";
import {
  OWNER_BOOT,
  OWNER_BOUNCE_BUFFERS,
  OWNER_KERNEL_IMAGE,
  ZONE_DMA,
  ZONE_DMA32,
  ZONE_HIGHMEM,
  ZONE_NORMAL,
  Zone,
} from "./mm/zone.ts";
import { overlap, type Reservation, Reservations } from "./reservations.ts";
import type { Tunables } from "./tunables.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

export interface BootLayout {
  /** One past the highest frame of memory. */
  readonly frames: number;
  /** One past the highest frame of all, those of segments included. */
  readonly allFrames: number;
  /** Memory outside all zones. */
  readonly segments: readonly FrameRange[];
  /** One past the last frame, segments included, that the kernel always has mapped. */
  readonly mappedEnd: Pfn;
  /** One past the last frame that the kernel always has mapped. */
  readonly lowmemEnd: Pfn;
  /** The same, were no maps of nodes mapped at the addresses below it (highstart_pfn). */
  readonly highStart: Pfn;
  /** Where struct pages are; null: boot took no memory for them. */
  readonly memMap: MemMap | null;
  /** The zones that span something, lowest first. */
  readonly zones: readonly (FrameRange & { readonly kind: number })[];
  /** What exists is free, in ascending order, or reserved. */
  readonly free: readonly FrameRange[];
  readonly reserved: readonly Reservation[];
}

const framesOf = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);

/** Whether segments have struct pages. */
export type DescribedSegments = "described" | "not described";

/** How struct pages lie: their layout, how many frames share one, and whether segments have them. */
export interface StructPlan {
  readonly layout: MapLayout;
  /** One for each 2^softPageShift frames; left out: for each. */
  readonly softPageShift?: number;
  /** Left out: they have none. */
  readonly segments?: DescribedSegments;
}

/** Lays out memory whose segments have no struct pages; there is one for each 2^softPageShift frames. */
export const layOutMemory = (geometry: Geometry, kernel: Footprint, layout: MapLayout, softPageShift = 0): BootLayout =>
  layOutMachine(geometry, kernel, { layout, softPageShift });

/** Lays out a machine's memory under a kernel. Throws UsageError when the kernel does not fit its lowmem. */
export function layOutMachine(geometry: Geometry, kernel: Footprint, structs: StructPlan): BootLayout {
  const { layout, softPageShift = 0 } = structs;
  const ram = memoryRanges(geometry);
  const frames = ram[ram.length - 1].end;
  const segments = layOutSegments(geometry, frames);
  const allFrames = segments.at(-1)?.end ?? frames;
  const mappable = lowmemFrames(geometry, kernel, softPageShift);
  const highStart = Math.min(mappable, frames);
  const described = structs.segments === "described" ? [...ram, ...segments] : ram;
  const shape = shapeOf(geometry, kernel, { ram: described, softPageShift, lowmemEnd: highStart }, frames);
  const planned = layout.plan(shape);
  const parts = planned.parts.filter(({ home }) => geometry.bootMemory === "kernel" || home === "highmem");
  const lowmemEnd = highStart - (parts.length === 0 ? 0 : planned.remapped);
  const zones = zonesBelow(frames, lowmemEnd, geometry, kernel);
  const plan = new Reservations(ram, lowmemEnd);
  const held = reserveForKernel(plan, geometry, kernel, parts);
  const placed = parts.map(({ first, end }, at) => ({ first, end, ranges: held[at] }));
  const memMap = parts.length === 0 ? null : layout.create(shape, placed);
  return {
    frames,
    allFrames,
    segments,
    lowmemEnd,
    highStart,
    mappedEnd: lowmemEnd < frames ? lowmemEnd : Math.min(mappable, allFrames),
    zones,
    free: plan.free,
    reserved: plan.reserved,
    memMap,
  };
}

/** Where segments begin: where a table of the kernel's direct map could. */
const SEGMENT_ALIGNMENT = framesOf(4 * MIB);

/** The segments, above all memory. Throws UsageError where the paging format cannot address them. */
function layOutSegments(geometry: Geometry, memoryEnd: Pfn): FrameRange[] {
  let end = memoryEnd;
  const segments = segmentsOf(geometry).map((pages) => {
    const first = Math.ceil(end / SEGMENT_ALIGNMENT) * SEGMENT_ALIGNMENT;
    end = first + pages;
    return { first, end };
  });
  const { maxFrames, name } = pagingFormats[geometry.paging];
  if (segments.length > 0 && end > maxFrames) {
    throw new UsageError(
      `geometry.segments: above the ${formatSize(memoryEnd * PAGE_SIZE)} of memory they end at ${formatSize(end * PAGE_SIZE)}, and ` +
        `${name} paging can address ${formatSize(maxFrames * PAGE_SIZE)}; use less memory, or smaller segments`,
    );
  }
  return segments;
}

/** Frames that the kernel could always have mapped; with soft pages its windows take more of its addresses. */
function lowmemFrames(geometry: Geometry, kernel: Footprint, softPageShift: number): number {
  const { paging, cpus, atomicTypes } = geometry;
  if (softPageShift === 0 || geometry.lowmemBytes !== null || !isNarrow(pagingFormats[paging])) {
    return framesOf(lowmemLimit(geometry, kernel.lowmemBytes));
  }
  const tablePages = 1 << pagingFormats[paging].indexBits;
  const pageOffset = pageOffsetOf(geometry);
  const bytes = scaledLowmemBytes({ pageOffset, tablePages, cpus, softPageShift, atomicTypes });
  if (bytes > 0) return framesOf(Math.min(bytes, lowmemLimit(geometry, kernel.lowmemBytes)));
  throw new UsageError(
    `the slots of kmap_atomic of ${cpus} CPUs, each of ${formatSize(PAGE_SIZE * 2 ** softPageShift)}, leave no addresses for lowmem; ` +
      "use fewer geometry.cpus, smaller soft pages, another geometry.split, or geometry.lowmemBytes",
  );
}

/** `memoryEnd`: one past the highest frame of memory; what has struct pages beyond belongs to the last node. */
function shapeOf(
  geometry: Geometry,
  kernel: Footprint,
  memory: Pick<MemoryShape, "ram" | "softPageShift" | "lowmemEnd">,
  memoryEnd: Pfn,
): MemoryShape {
  const nodes = nodesOf(geometry, memoryEnd);
  const last = nodes[nodes.length - 1];
  const end = memory.ram[memory.ram.length - 1].end;
  return {
    ...memory,
    nodes: [...nodes.slice(0, -1), { first: last.first, end }],
    structBytes: geometry.pageStructBytes ?? kernel.pageStructBytes,
    sectionFrames: framesOf(kernel.sectionBytes),
    largePageFrames: pagingFormats[geometry.paging].entrySpan(2),
    directMap: kernel.directMap ?? pageOffsetOf(geometry),
    vmemmap: kernel.vmemmap,
  };
}

/** What each node spans that has memory: as much as the others, but for the last one. */
function nodesOf({ nodes }: Geometry, frames: number): FrameRange[] {
  if (nodes === 1) return [{ first: 0, end: frames }];
  const span = nodeFrames(nodes, frames);
  return Array.from({ length: Math.ceil(frames / span) }, (_, at) => ({
    first: at * span,
    end: Math.min((at + 1) * span, frames),
  }));
}

/** The allocator of a machine that has just started. */
export function startAllocator(
  layout: BootLayout,
  frames: Frames,
  tunables: Tunables,
  contents: FrameContents,
): Allocator {
  const zones = layout.zones.map(({ kind, first, end }) => {
    const zone = new Zone(kind, first, end, new Buddy(frames, first, end, tunables.buddyOrders, tunables.mobility));
    for (const range of layout.free) {
      const part = overlap(range, zone);
      if (part !== undefined) addFree(zone, part, frames.softFrames);
    }
    for (const range of layout.reserved) {
      const part = overlap(range, zone);
      if (part !== undefined) zone.addReserved(part.end - part.first, range.owner);
    }
    return zone;
  });
  const allocator = new Allocator(frames, zones, watermarkPolicies[tunables.watermarks], contents);
  if (tunables.minFreeKiB !== null) allocator.setMinFree(tunables.minFreeKiB);
  return allocator;
}

/** Gives the zone what it can hand out of a range: whole soft pages. What is left of others at the ends is lost. */
function addFree(zone: Zone, { first, end }: FrameRange, softFrames: number): void {
  const from = Math.min(Math.ceil(first / softFrames) * softFrames, end);
  const to = Math.max(Math.floor(end / softFrames) * softFrames, from);
  if (to > from) zone.addFree(from, to);
  const lost = from - first + (end - to);
  if (lost > 0) zone.addReserved(lost, OWNER_BOOT);
}

/** The frame just below a PC's hole for devices; memory that would lie above it is found from 4 GiB up. */
const PC_HOLE_FROM = framesOf(3 * GIB);
const PC_HOLE_NEEDED_FROM = framesOf(3.5 * GIB);
const PC_HOLE_END = framesOf(4 * GIB);
/** What the firmware keeps at the top of memory below the hole (ACPI tables). */
const PC_FIRMWARE_FRAMES = framesOf(132 * KIB);
const PC_VIDEO_FROM = framesOf(640 * KIB);
const PC_VIDEO_END = framesOf(1 * MIB);

/** Where memory is: one range from 0, or as a PC's firmware reports it (e820). */
export function memoryRanges(geometry: Geometry): FrameRange[] {
  const frames = framesOf(geometry.memoryBytes);
  if (geometry.firmware === "flat") return [{ first: 0, end: frames }];
  const split = frames >= PC_HOLE_NEEDED_FROM ? PC_HOLE_FROM : frames;
  const { maxFrames } = pagingFormats[geometry.paging];
  const above = { first: PC_HOLE_END, end: Math.min(PC_HOLE_END + frames - split, maxFrames) };
  const ranges = [{ first: 1, end: PC_VIDEO_FROM }, { first: PC_VIDEO_END, end: split - PC_FIRMWARE_FRAMES }, above];
  return ranges.filter((range) => range.end > range.first);
}

function zonesBelow(frames: number, lowmemEnd: Pfn, geometry: Geometry, kernel: Footprint): BootLayout["zones"] {
  const dmaEnd = framesOf(geometry.dmaBytes);
  const dma32End = kernel.hasDma32 ? Math.max(PC_HOLE_END, dmaEnd) : dmaEnd;
  const ends = [
    { kind: ZONE_DMA, end: Math.min(dmaEnd, lowmemEnd) },
    { kind: ZONE_DMA32, end: Math.min(dma32End, lowmemEnd) },
    { kind: ZONE_NORMAL, end: lowmemEnd },
    { kind: ZONE_HIGHMEM, end: frames },
  ];
  let first = 0;
  const zones: (FrameRange & { kind: number })[] = [];
  for (const { kind, end } of ends) {
    if (end > first) zones.push({ kind, first, end });
    first = Math.max(first, end);
  }
  return zones;
}

/** Takes what the kernel takes; by part of mem_map: its frames. */
function reserveForKernel(
  plan: Reservations,
  geometry: Geometry,
  kernel: Footprint,
  parts: readonly MapPart[],
): FrameRange[][] {
  const takesMemory = geometry.bootMemory === "kernel";
  if (takesMemory && kernel.firstMiB === "reserved") plan.reserveAll(0, PC_VIDEO_END, OWNER_BOOT);
  if (takesMemory) plan.reserveFrom(framesOf(kernel.imageAt), framesOf(kernel.imageBytes), OWNER_KERNEL_IMAGE);
  const lowPages = plan.lowPages;
  if (takesMemory && plan.end > PC_HOLE_END) {
    plan.reserveTop(framesOf(kernel.bounceBytes), OWNER_BOUNCE_BUFFERS, PC_HOLE_END);
  }
  const held = parts.map((part) => plan.reservePart(part));
  if (takesMemory) plan.reserveTop(framesOf(kernel.bootBytes + hashTableBytes(lowPages, kernel.wordBytes)), OWNER_BOOT);
  return held;
}

/** Above so many frames (64 GiB) the tables grow by half for each doubling of memory. */
const ADAPT_FROM = framesOf(64 * GIB);

/**
 * The hash tables of names and inodes: a head for each 8 KiB and for each 16 KiB of lowmem, rounded up to a power of 2.
 *
 * @models linux-6.1 mm/page_alloc.c alloc_large_system_hash
 */
function hashTableBytes(lowPages: number, wordBytes: number): number {
  let scale = 1;
  for (let adapt = ADAPT_FROM; adapt < lowPages; adapt *= 4) scale *= 2;
  const heads = (pagesEach: number): number => 2 ** Math.ceil(Math.log2(lowPages / pagesEach / scale));
  return (heads(2) + heads(4)) * wordBytes;
}
