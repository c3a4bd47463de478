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
import { type Geometry, lowmemLimit, segmentsOf } from "./geometry.ts";
import { pagingFormats } from "./hw/paging-format.ts";
import { Allocator, type FrameContents } from "./mm/allocator.ts";
import { Buddy } from "./mm/buddy.ts";
import type { Frames } from "./mm/frames.ts";
import { watermarkPolicies } from "./mm/watermarks.ts";
import {
  OWNER_BOOT,
  OWNER_BOUNCE_BUFFERS,
  OWNER_KERNEL_IMAGE,
  OWNER_MEM_MAP,
  type Owner,
  ZONE_DMA,
  ZONE_DMA32,
  ZONE_HIGHMEM,
  ZONE_NORMAL,
  Zone,
} from "./mm/zone.ts";
import type { Tunables } from "./tunables.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Frames `[first, end)`. */
export interface FrameRange {
  readonly first: Pfn;
  readonly end: Pfn;
}

/** Frames that `owner` has from boot on. */
export interface Reservation extends FrameRange {
  readonly owner: Owner;
}

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
  /** The zones that span something, lowest first. */
  readonly zones: readonly (FrameRange & { readonly kind: number })[];
  /** What exists is free, in ascending order, or reserved. */
  readonly free: readonly FrameRange[];
  readonly reserved: readonly Reservation[];
}

const framesOf = (bytes: number): number => Math.ceil(bytes / PAGE_SIZE);

/** Whether segments have struct pages. */
export type DescribedSegments = "described" | "not described";

/** Lays out a machine's memory under a kernel. Throws UsageError when the kernel does not fit its lowmem. */
export function layOutMemory(
  geometry: Geometry,
  kernel: Footprint,
  described: DescribedSegments = "not described",
): BootLayout {
  const ram = memoryRanges(geometry);
  const frames = ram[ram.length - 1].end;
  const segments = layOutSegments(geometry, frames);
  const allFrames = segments.at(-1)?.end ?? frames;
  const mappable = framesOf(lowmemLimit(geometry, kernel.lowmemBytes));
  const lowmemEnd = Math.min(mappable, frames);
  const zones = zonesBelow(frames, lowmemEnd, geometry, kernel);
  const plan = new Reservations(ram, lowmemEnd);
  if (geometry.bootMemory === "kernel") {
    reserveForKernel(plan, geometry, kernel, described === "described" ? [...ram, ...segments] : ram);
  }
  return {
    frames,
    allFrames,
    segments,
    lowmemEnd,
    mappedEnd: Math.min(mappable, allFrames),
    zones,
    free: plan.free,
    reserved: plan.reserved,
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

/** The allocator of a machine that has just started. */
export function startAllocator(
  layout: BootLayout,
  frames: Frames,
  tunables: Tunables,
  contents: FrameContents,
): Allocator {
  const zones = layout.zones.map(({ kind, first, end }) => {
    const zone = new Zone(kind, first, end, new Buddy(frames, first, end, tunables.buddyOrders));
    for (const range of layout.free) {
      const part = overlap(range, zone);
      if (part !== undefined) zone.addFree(part.first, part.end);
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

/** `described`: what struct pages are for. */
function reserveForKernel(
  plan: Reservations,
  geometry: Geometry,
  kernel: Footprint,
  described: readonly FrameRange[],
): void {
  if (kernel.firstMiB === "reserved") plan.reserveAll(0, PC_VIDEO_END, OWNER_BOOT);
  plan.reserveFrom(framesOf(kernel.imageAt), framesOf(kernel.imageBytes), OWNER_KERNEL_IMAGE);
  const lowPages = plan.lowPages;
  if (plan.end > PC_HOLE_END) {
    plan.reserveTop(framesOf(kernel.bounceBytes), OWNER_BOUNCE_BUFFERS, PC_HOLE_END);
  }
  const pageStructBytes = geometry.pageStructBytes ?? kernel.pageStructBytes;
  plan.reserveTop(framesOf(describedFrames(described, kernel) * pageStructBytes), OWNER_MEM_MAP);
  plan.reserveTop(framesOf(kernel.bootBytes + hashTableBytes(lowPages, kernel.wordBytes)), OWNER_BOOT);
}

/** Frames that have a struct page: all up to the last one, or all of the sections that hold memory. */
function describedFrames(ram: readonly FrameRange[], kernel: Footprint): number {
  if (kernel.sectionBytes === 0) return ram[ram.length - 1].end;
  return sectionsOf(ram, kernel).length * framesOf(kernel.sectionBytes);
}

/** The sections that hold memory, by number, where there are sections. */
export const describedSections = (geometry: Geometry, kernel: Footprint): number[] =>
  sectionsOf(memoryRanges(geometry), kernel);

function sectionsOf(ram: readonly FrameRange[], kernel: Footprint): number[] {
  const section = framesOf(kernel.sectionBytes);
  const sections = new Set<number>();
  for (const { first, end } of ram) {
    for (let at = Math.floor(first / section); at * section < end; at++) sections.add(at);
  }
  return [...sections];
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

function overlap(range: FrameRange, zone: FrameRange): FrameRange | undefined {
  const first = Math.max(range.first, zone.first);
  const end = Math.min(range.end, zone.end);
  return end > first ? { first, end } : undefined;
}

/** Which memory is still free while boot takes its parts. */
class Reservations {
  free: FrameRange[];
  readonly reserved: Reservation[] = [];
  private readonly lowmemEnd: Pfn;
  /** One past the highest frame of memory. */
  readonly end: Pfn;
  /** Struct pages of highmem take lowmem, so a machine with less of it may start where this one does not. */
  private readonly hasHighmem: boolean;

  constructor(ram: readonly FrameRange[], lowmemEnd: Pfn) {
    this.free = [...ram];
    this.lowmemEnd = lowmemEnd;
    this.end = ram[ram.length - 1]!.end;
    this.hasHighmem = ram[ram.length - 1]!.end > lowmemEnd;
  }

  /** Free frames of lowmem. */
  get lowPages(): number {
    return this.free.reduce((sum, { first, end }) => sum + Math.max(0, Math.min(end, this.lowmemEnd) - first), 0);
  }

  /** Reserves what is memory in `[first, end)`. */
  reserveAll(first: Pfn, end: Pfn, owner: Owner): void {
    const before = this.free;
    this.free = [];
    for (const range of before) {
      const part = overlap(range, { first, end });
      if (part === undefined) {
        this.free.push(range);
        continue;
      }
      this.reserved.push({ ...part, owner });
      if (range.first < part.first) this.free.push({ first: range.first, end: part.first });
      if (part.end < range.end) this.free.push({ first: part.end, end: range.end });
    }
  }

  /** Reserves `frames` of lowmem from `from` up. */
  reserveFrom(from: Pfn, frames: number, owner: Owner): void {
    let left = frames;
    for (const range of [...this.free]) {
      const first = Math.max(range.first, from);
      const end = Math.min(range.end, this.lowmemEnd, first + left);
      if (end <= first) continue;
      this.reserveAll(first, end, owner);
      left -= end - first;
    }
    this.requireNone(left);
  }

  /** Reserves `frames` of lowmem from its top, or from `below`, down. */
  reserveTop(frames: number, owner: Owner, below: Pfn = this.lowmemEnd): void {
    let left = frames;
    for (const range of [...this.free].reverse()) {
      const end = Math.min(range.end, this.lowmemEnd, below);
      const first = Math.max(range.first, end - left);
      if (end <= first) continue;
      this.reserveAll(first, end, owner);
      left -= end - first;
    }
    this.requireNone(left);
  }

  private requireNone(left: number): void {
    if (left <= 0) return;
    const lowmem = formatSize(this.lowmemEnd * PAGE_SIZE);
    throw new UsageError(
      `the kernel does not fit the ${lowmem} of memory that it can map: its image, tables and struct pages need ` +
        `${formatSize(left * PAGE_SIZE)} more; use ${this.hasHighmem ? "less" : "more"} memory, a smaller geometry.pageStructBytes, another ` +
        "geometry.split, or geometry.bootMemory=none",
    );
  }
}
