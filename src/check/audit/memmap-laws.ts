/** Laws of struct pages: each frame has one, in memory that is nobody else's, and whoever reads it can see it. */
import { PAGE_SIZE, type Pfn } from "../../base/units.ts";
import { NO_FRAME, PG_TABLE } from "../../mm/frames.ts";
import type { FrameRange, PlacedPart } from "../../mm/memmap/map-plan.ts";
import type { MemMap } from "../../mm/memmap/mem-map.ts";
import { WindowedMap } from "../../mm/memmap/windowed.ts";
import { OWNER_KMAP, OWNER_MEM_MAP, ZONE_HIGHMEM } from "../../mm/zone.ts";
import type { Census } from "./census.ts";
import type { Law } from "./law.ts";

const lengthOf = (ranges: readonly FrameRange[]): number =>
  ranges.reduce((sum, { first, end }) => sum + end - first, 0);

/** Frames that certainly are memory: the ends of free blocks, and whatever is in use. */
function* someFrames({ freeRanges, taken }: Census): Generator<Pfn> {
  for (const { first, end } of freeRanges) {
    yield first;
    yield end - 1;
  }
  yield* taken;
}

const partOf = ({ parts }: MemMap, frame: Pfn): PlacedPart | undefined =>
  parts.find(({ first, end }) => frame >= first && frame < end);

const everyFrameIsDescribed: Law = {
  name: "every-frame-is-described",
  statement:
    "Each frame of memory has one struct page: the parts of mem_map are in order, apart, and large enough for the frames that they describe, and no frame is in none.",
  check: (census, report) => {
    const { map } = census.kernel.structPages;
    if (map === null) return;
    map.parts.forEach(({ first, end, ranges }, at) => {
      const next = map.parts[at + 1];
      if (next !== undefined && next.first < end) report(`frame ${next.first} has struct pages in two parts`);
      const needed = Math.ceil((end - first) / 2 ** map.softPageShift) * map.structBytes;
      const has = lengthOf(ranges) * PAGE_SIZE;
      if (has < needed) report(`the part from frame ${first} needs ${needed} bytes and has ${has}`);
    });
    for (const frame of someFrames(census))
      if (partOf(map, frame) === undefined) report(`frame ${frame} has no struct page`);
  },
};

const handlesNameTheirFrames: Law = {
  name: "handles-name-their-frames",
  statement:
    "A frame's handle leads back to it; where it is an address, the struct pages of a part follow one another there as they do in memory.",
  check: (census, report) => {
    const { map, handles } = census.kernel.structPages;
    if (map === null || handles === null) return;
    for (const frame of someFrames(census)) {
      const handle = handles.of(frame);
      const soft = frame - (frame % 2 ** map.softPageShift);
      if (handle === null) report(`frame ${frame} has no handle`);
      else if (handles.frameOf(handle) !== soft && handles.frameOf(handle) !== frame)
        report(`the handle of frame ${frame} is that of frame ${handles.frameOf(handle)}`);
      const part = partOf(map, frame);
      const page = map.pageOf(frame);
      if (part === undefined || page === null) continue;
      const before = Math.floor((frame - part.first) / 2 ** map.softPageShift) * map.structBytes;
      if (page !== map.pageOf(part.first)! + before) report(`the struct page of frame ${frame} is out of its row`);
    }
  },
};

const mapFramesAreNobodys: Law = {
  name: "map-frames-are-nobodys",
  statement:
    "A frame that holds struct pages is charged to mem_map and to nobody else: it is not free, not mapped, no page table, and in no other part; but for those that were given back.",
  check: (census, report) => {
    const { kernel, freeRanges } = census;
    const { structPages, vmemmap, allocator, frames } = kernel;
    const ranges = (structPages.map?.parts ?? []).flatMap((part) => part.ranges).sort((a, b) => a.first - b.first);
    const charged = allocator.ownedBy(OWNER_MEM_MAP);
    const held = lengthOf(ranges) - vmemmap.freedPages;
    if (charged !== held) report(`${charged} frames are charged to mem_map, which has ${held}`);
    ranges.forEach(({ first }, at) => {
      const next = ranges[at + 1];
      if (next !== undefined && next.first < ranges[at]!.end) report(`frame ${next.first} is in two parts`);
      const isHigh = allocator.zoneOf(first).kind === ZONE_HIGHMEM;
      if (structPages.map instanceof WindowedMap && !isHigh)
        report(`frame ${first} holds struct pages, and is no highmem`);
    });
    const left = new Set(vmemmap.leftFrames());
    const holds = (frame: Pfn) => !left.has(frame) && ranges.some(({ first, end }) => frame >= first && frame < end);
    for (const frame of framesIn(ranges, freeRanges))
      if (holds(frame)) report(`frame ${frame} holds struct pages, and is free`);
    for (const frame of census.byFrame.keys())
      if (holds(frame)) report(`frame ${frame} holds struct pages, and is mapped`);
    for (const frame of census.taken) {
      if (!holds(frame)) continue;
      report(`frame ${frame} holds struct pages, and is ${frames.has(frame, PG_TABLE) ? "a page table" : "in use"}`);
    }
  },
};

/** The frames that are in ranges of both kinds. */
function* framesIn(some: readonly FrameRange[], others: readonly FrameRange[]): Generator<Pfn> {
  for (const { first, end } of some) {
    for (const other of others) {
      for (let frame = Math.max(first, other.first); frame < Math.min(end, other.end); frame++) yield frame;
    }
  }
}

const windowsShowTheMap: Law = {
  name: "map-windows-show-the-map",
  statement:
    "Each slot of a window onto mem_map names a frame of it or none, no two the same; its index finds it; and a window is of an address space that lives, in lowmem that is charged for windows.",
  check: ({ kernel }, report) => {
    const { windows, map } = kernel.structPages;
    if (windows === null || map === null) return;
    const { first, end } = map.parts[0]!.ranges[0]!;
    for (const { mm, window, frames } of windows.windows()) {
      const whose = mm === null ? "the shared window" : `the window of address space ${mm.id}`;
      if (mm !== null && !kernel.spaces.has(mm)) report(`${whose}, which is dead`);
      for (const wrong of window.disagreements()) report(`${whose}: ${wrong}`);
      const shown = [...window.shown].filter((frame) => frame !== NO_FRAME);
      if (new Set(shown).size !== shown.length) report(`${whose} shows a frame twice`);
      for (const frame of shown) if (frame < first || frame >= end) report(`${whose} shows frame ${frame}`);
      for (const frame of frames) {
        if (kernel.frames.owner.read(frame) !== OWNER_KMAP)
          report(`${whose} has frame ${frame}, which is not charged to it`);
        if (kernel.allocator.zoneOf(frame).kind === ZONE_HIGHMEM) report(`${whose} has frame ${frame} of highmem`);
      }
    }
  },
};

const structPagesAreSeen: Law = {
  name: "struct-pages-are-seen",
  statement: "Nobody has dereferenced the handle of a struct page that no window showed him.",
  check: ({ kernel }, report) => {
    const { windows } = kernel.structPages;
    for (const { frame, space } of windows?.strays ?? []) {
      report(
        `address space ${space} follows a link to the struct page of frame ${frame}, which its window does not show`,
      );
    }
  },
};

export const memMapLaws: readonly Law[] = [
  everyFrameIsDescribed,
  handlesNameTheirFrames,
  mapFramesAreNobodys,
  windowsShowTheMap,
  structPagesAreSeen,
];
