/**
 * What boot must find memory for, so that every frame has a struct page: the parts that mem_map comes in, how large each
 * is, and where it must lie. Each way to lay mem_map out makes a plan of its own; boot reserves the frames.
 */
import { PAGE_SIZE, type Pfn, type Vaddr } from "../../base/units.ts";

/** Frames `[first, end)`. */
export interface FrameRange {
  readonly first: Pfn;
  readonly end: Pfn;
}

/** What a machine's memory looks like to its mem_map. */
export interface MemoryShape {
  /** Where there is memory, in ascending order. */
  readonly ram: readonly FrameRange[];
  /** What each NUMA node spans, holes included; in ascending order, without gaps. */
  readonly nodes: readonly FrameRange[];
  /** sizeof(struct page). */
  readonly structBytes: number;
  /** A struct page describes 2^softPageShift frames. */
  readonly softPageShift: number;
  /** Frames of a section (SECTION_SIZE_BITS). */
  readonly sectionFrames: number;
  /** Frames that one large entry of a page table maps. */
  readonly largePageFrames: number;
  /** One past the last frame that the kernel could always have mapped (highstart_pfn); the last one's if it has them all. */
  readonly lowmemEnd: Pfn;
  /** Where the kernel has frame 0 mapped (PAGE_OFFSET). */
  readonly directMap: Vaddr;
  /** Where a kernel with room for it maps struct pages one after the other, holes left out (vmemmap); null: it has none. */
  readonly vmemmap: Vaddr | null;
}

/** Where a part must lie: in memory that is always mapped, in highmem, or at the end of these frames. */
export type Home = "lowmem" | "highmem" | FrameRange;

/** Struct pages of `[first, end)`. */
export interface MapPart extends FrameRange {
  /** Frames that hold them. */
  readonly frames: number;
  readonly home: Home;
  /** Whether its frames may lie apart: it is mapped by entries of its own. */
  readonly pieces: "one" | "any";
}

export interface MapPlan {
  readonly parts: readonly MapPart[];
  /** Frames of lowmem whose addresses show parts that lie elsewhere: lowmem ends so much earlier. */
  readonly remapped: number;
}

/** A part, and the frames that boot has found for it, in ascending order of what they hold. */
export interface PlacedPart extends FrameRange {
  readonly ranges: readonly FrameRange[];
}

/** Bytes of the struct pages of `[first, end)`. */
export const mapBytes = ({ structBytes, softPageShift }: MemoryShape, { first, end }: FrameRange): number =>
  Math.ceil((end - first) / 2 ** softPageShift) * structBytes;

export const mapFrames = (shape: MemoryShape, range: FrameRange): number =>
  Math.ceil(mapBytes(shape, range) / PAGE_SIZE);

/** One past the last frame. */
export const endOfMemory = ({ ram }: MemoryShape): Pfn => ram[ram.length - 1].end;
