/** Which memory is still free while boot takes its parts, and who has the rest. */
import { UsageError } from "./base/errors.ts";
import { formatSize } from "./base/size-text.ts";
import { PAGE_SIZE, type Pfn } from "./base/units.ts";
import type { FrameRange, MapPart } from "./mm/memmap/map-plan.ts";
import { OWNER_MEM_MAP, type Owner } from "./mm/zone.ts";

/** Frames that `owner` has from boot on. */
export interface Reservation extends FrameRange {
  readonly owner: Owner;
}

export class Reservations {
  free: FrameRange[];
  readonly reserved: Reservation[] = [];
  /** One past the last frame. */
  readonly end: Pfn;
  private readonly lowmemEnd: Pfn;
  /** Struct pages of highmem take lowmem, so a machine with less of it may start where this one does not. */
  private readonly hasHighmem: boolean;

  constructor(ram: readonly FrameRange[], lowmemEnd: Pfn) {
    this.free = [...ram];
    this.end = ram[ram.length - 1].end;
    this.lowmemEnd = lowmemEnd;
    this.hasHighmem = this.end > lowmemEnd;
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

  /** Reserves `frames` of lowmem from its top, or from `below`, down: what it found, in ascending order. */
  reserveTop(frames: number, owner: Owner, below: Pfn = this.lowmemEnd): FrameRange[] {
    let left = frames;
    const found: FrameRange[] = [];
    for (const range of [...this.free].reverse()) {
      const end = Math.min(range.end, this.lowmemEnd, below);
      const first = Math.max(range.first, end - left);
      if (end <= first) continue;
      this.reserveAll(first, end, owner);
      found.unshift({ first, end });
      left -= end - first;
    }
    this.requireNone(left);
    return found;
  }

  /** Reserves the frames of a part of mem_map, where it must lie. */
  reservePart({ frames, home, pieces }: MapPart): FrameRange[] {
    if (home === "lowmem" && pieces === "any") return this.reserveTop(frames, OWNER_MEM_MAP);
    const low = { first: 0, end: this.lowmemEnd };
    const high = { first: this.lowmemEnd, end: this.end };
    const within = home === "lowmem" ? low : home === "highmem" ? high : home;
    for (const range of [...this.free].reverse()) {
      const part = overlap(range, within);
      if (part === undefined || part.end - part.first < frames) continue;
      const found = { first: part.end - frames, end: part.end };
      this.reserveAll(found.first, found.end, OWNER_MEM_MAP);
      return [found];
    }
    const most = this.free
      .map((range) => overlap(range, within))
      .map((part) => (part === undefined ? 0 : part.end - part.first));
    return this.refuse(frames - Math.max(0, ...most));
  }

  private requireNone(left: number): void {
    if (left > 0) this.refuse(left);
  }

  private refuse(missing: number): never {
    const lowmem = formatSize(this.lowmemEnd * PAGE_SIZE);
    throw new UsageError(
      `the kernel does not fit the ${lowmem} of memory that it can map: its image, tables and struct pages need ` +
        `${formatSize(missing * PAGE_SIZE)} more; use ${this.hasHighmem ? "less" : "more"} memory, a smaller geometry.pageStructBytes, another ` +
        "geometry.split, or geometry.bootMemory=none",
    );
  }
}

/** The frames that are in both; undefined if there are none. */
export function overlap(range: FrameRange, zone: FrameRange): FrameRange | undefined {
  const first = Math.max(range.first, zone.first);
  const end = Math.min(range.end, zone.end);
  return end > first ? { first, end } : undefined;
}
