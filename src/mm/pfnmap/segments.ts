/**
 * Memory that no zone spans: segments that a hypervisor shares between its guests (s390's DCSS), memory on a device. It is
 * memory like any other to the CPU, but the allocator neither has nor gets its frames, and unless the design says so
 * there is no struct page for them. Files and devices hold it frame by frame.
 *
 *     0            end of memory        first segment            second
 *     | zones ...  |    (nothing)       | frames of files        | ...
 *
 * @models linux-6.1 drivers/s390/block/dcssblk.c dcssblk_direct_access (frames by block, no page cache)
 */
import { bug } from "../../base/errors.ts";
import type { FileIndex, FrameRun, Pfn } from "../../base/units.ts";
import type { Zone } from "../zone.ts";

/** How the frames of a file follow one another. */
export type SegmentLayout = "in one piece" | "scattered";

/** Which frames of segments nobody has. */
export class RawMemory {
  /** The segments, in the order of their addresses. */
  readonly ranges: readonly FrameRun[];
  private free: FrameRun[];

  constructor(ranges: readonly FrameRun[], zones: readonly Zone[]) {
    this.ranges = ranges;
    this.free = [...ranges];
    for (const { first, end } of ranges) {
      if (zones.some((zone) => first < zone.end && end > zone.first)) bug(`segment ${first}..${end} lies in a zone`);
    }
  }

  has(frame: Pfn): boolean {
    return this.ranges.some(({ first, end }) => frame >= first && frame < end);
  }

  get freeFrames(): number {
    return this.free.reduce((sum, { first, end }) => sum + end - first, 0);
  }

  /** Frames for a file; null, and nothing taken, if there are not as many left that lie so. */
  take(frames: number, layout: SegmentLayout): FrameRun[] | null {
    if (frames === 0) return [];
    return layout === "scattered" ? this.takeScattered(frames) : this.takePiece(frames);
  }

  private takePiece(frames: number): FrameRun[] | null {
    const at = this.free.findIndex(({ first, end }) => end - first >= frames);
    if (at < 0) return null;
    const { first, end } = this.free[at]!;
    this.free.splice(at, 1, ...(first + frames < end ? [{ first: first + frames, end }] : []));
    return [{ first, end: first + frames }];
  }

  /** From the top down, so that no two of them follow one another. */
  private takeScattered(frames: number): FrameRun[] | null {
    if (this.freeFrames < frames) return null;
    const taken: FrameRun[] = [];
    while (taken.length < frames) {
      const { first, end } = this.free.pop()!;
      taken.push({ first: end - 1, end });
      if (first < end - 1) this.free.push({ first, end: end - 1 });
    }
    return taken;
  }

  /** Frames come back. */
  give(runs: readonly FrameRun[]): void {
    const sorted = [...this.free, ...runs].sort((one, other) => one.first - other.first);
    this.free = [];
    for (const { first, end } of sorted) {
      const last = this.free.at(-1);
      if (last === undefined || last.end < first) this.free.push({ first, end });
      else if (last.end > first) bug(`frame ${first} of a segment is given back twice`);
      else this.free[this.free.length - 1] = { first: last.first, end };
    }
  }
}

/** A nopfn that finds no frame: the access is a bus error, or there is no memory. */
export const NOPFN_SIGBUS = -1;
export const NOPFN_OOM = -2;

/**
 * How a file's frames come into an area: at faults, as pages of a file system that executes in place (xip); all at once by
 * the driver's mmap, which calls remap_pfn_range (remap); or at faults, each asked of the driver (nopfn).
 */
export type SegmentWay = "xip" | "remap" | "nopfn";

/** The frames of one file: its contents, which no cache copies. */
export class SegmentFile {
  readonly way: SegmentWay;
  readonly runs: readonly FrameRun[];
  readonly pages: number;
  /** By run: the index of its first frame. */
  private readonly indices: readonly FileIndex[];

  constructor(way: SegmentWay, runs: readonly FrameRun[]) {
    this.way = way;
    this.runs = runs;
    let pages = 0;
    this.indices = runs.map(({ first, end }) => {
      pages += end - first;
      return pages - (end - first);
    });
    this.pages = pages;
  }

  /** The frame of page `index`, or NOPFN_SIGBUS beyond the end. */
  frameOf(index: FileIndex): Pfn {
    let low = 0;
    let high = this.runs.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >>> 1;
      if (this.indices[middle]! <= index) low = middle;
      else high = middle - 1;
    }
    const run = this.runs[low];
    const frame = run === undefined || index < 0 ? NOPFN_SIGBUS : run.first + index - this.indices[low]!;
    return run !== undefined && frame < run.end ? frame : NOPFN_SIGBUS;
  }

  /** What the driver answers a fault: a frame, NOPFN_SIGBUS or NOPFN_OOM. */
  nopfn(index: FileIndex): Pfn {
    return this.frameOf(index);
  }

  /** Whether the frame is the file's, and lies in one piece with `start`, which is the file's too. */
  isPieceOf(start: Pfn, frame: Pfn): boolean {
    return this.runs.some(({ first, end }) => start >= first && start < end && frame >= first && frame < end);
  }

  /** Whether `[first, end)`, as far as the file goes, are consecutive frames. */
  isConsecutive(first: FileIndex, end: FileIndex): boolean {
    const last = Math.min(end, this.pages) - 1;
    return last < first || this.isPieceOf(this.frameOf(first), this.frameOf(last));
  }
}
