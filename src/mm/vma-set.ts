/**
 * The areas of one address space, sorted. They lie in chunks of at most 128, and each chunk knows the widest gap below
 * any of its areas, so that finding an area takes two short binary searches and finding a gap skips whole chunks: what
 * the kernel's maple tree gives, in two levels.
 *
 * A vma's bounds change only through `resize`, which keeps the gaps right.
 */
import { bug } from "../base/errors.ts";
import type { Vpn } from "../base/units.ts";
import type { Vma } from "./vma.ts";

const CHUNK = 128;
/** A chunk's widest gap must be computed anew. */
const UNKNOWN = -1;

/** No gap is wide enough. */
export const NO_GAP = -1;

/** Where the area below `vma` ends; 0 if there is none. */
const endBelow = (vma: Vma): Vpn => (vma.below === null ? 0 : vma.below.end);

export class VmaSet {
  first: Vma | null = null;
  last: Vma | null = null;
  /** Linux's map_count. */
  count = 0;
  /** How often an area has come, gone or changed its bounds. */
  changes = 0;
  /** The areas, sorted; no chunk is empty. */
  private readonly chunks: Vma[][] = [];
  /** By chunk: the widest gap that ends at the start of one of its areas, or UNKNOWN. */
  private readonly widestGaps: number[] = [];
  private lastHit: Vma | null = null;

  /** The first area that ends above `page`: it contains the page, or is the next one above. */
  find(page: Vpn): Vma | null {
    const hit = this.lastHit;
    if (hit !== null && page >= hit.start && page < hit.end) return hit;
    const found = this.search(page);
    if (found !== null) this.lastHit = found;
    return found;
  }

  containing(page: Vpn): Vma | null {
    const vma = this.find(page);
    return vma !== null && vma.start <= page ? vma : null;
  }

  /** The first area with a page in `[first, end)`. */
  intersecting(first: Vpn, end: Vpn): Vma | null {
    const vma = this.find(first);
    return vma !== null && vma.start < end ? vma : null;
  }

  /** The last area that starts below `page` and does not contain it. */
  before(page: Vpn): Vma | null {
    const vma = this.find(page);
    return vma === null ? this.last : vma.below;
  }

  previous(vma: Vma): Vma | null {
    return vma.below;
  }

  next(vma: Vma): Vma | null {
    return vma.above;
  }

  *[Symbol.iterator](): Generator<Vma, void, void> {
    for (let vma = this.first; vma !== null; vma = vma.above) yield vma;
  }

  /** Puts `vma` into the gap where it lies. */
  insert(vma: Vma): void {
    const above = this.search(vma.start);
    const below = above === null ? this.last : above.below;
    if (vma.start >= vma.end || (above !== null && vma.end > above.start))
      bug(`a vma at ${vma.start} overlaps another`);
    this.link(vma, below, above);
    this.count++;
    this.changes++;
    if (this.chunks.length === 0) {
      this.addChunk(0, [vma]);
      return;
    }
    const at = this.chunkAt(vma.start);
    const chunk = this.chunks[at]!;
    chunk.splice(positionIn(chunk, vma.start), 0, vma);
    this.widestGaps[at] = UNKNOWN;
    this.forgetGapBelow(above);
    if (chunk.length > CHUNK) this.addChunk(at + 1, chunk.splice(CHUNK / 2));
  }

  remove(vma: Vma): void {
    const at = this.chunkAt(vma.start);
    const chunk = this.chunks[at];
    const position = chunk === undefined ? -1 : positionIn(chunk, vma.start) - 1;
    if (chunk === undefined || chunk[position] !== vma) bug(`the vma at ${vma.start} is not in the set`);
    chunk.splice(position, 1);
    this.widestGaps[at] = UNKNOWN;
    if (chunk.length === 0) {
      this.chunks.splice(at, 1);
      this.widestGaps.splice(at, 1);
    }
    const { below, above } = vma;
    if (below === null) this.first = above;
    else below.above = above;
    if (above === null) this.last = below;
    else above.below = below;
    vma.below = null;
    vma.above = null;
    this.count--;
    this.changes++;
    if (this.lastHit === vma) this.lastHit = null;
    this.forgetGapBelow(above);
  }

  /** Moves the bounds of `vma`; its place among the others stays. */
  resize(vma: Vma, start: Vpn, end: Vpn): void {
    const { below, above } = vma;
    if (start >= end || (below !== null && below.end > start) || (above !== null && above.start < end)) {
      bug(`the vma at ${vma.start} cannot become ${start}..${end}`);
    }
    this.forgetGapBelow(vma);
    this.forgetGapBelow(above);
    vma.start = start;
    vma.end = end;
    this.changes++;
  }

  /** Moves the boundary between two neighbours that touch. */
  moveBoundary(lower: Vma, upper: Vma, boundary: Vpn): void {
    if (lower.above !== upper || lower.end !== upper.start || boundary <= lower.start || boundary >= upper.end) {
      bug(`the boundary at ${upper.start} cannot move to ${boundary}`);
    }
    this.forgetGapBelow(lower);
    this.forgetGapBelow(upper);
    lower.end = boundary;
    upper.start = boundary;
    this.changes++;
  }

  /** The end of the highest gap of at least `pages` within `[low, high)`, or NO_GAP. */
  highestGapEnd(low: Vpn, high: Vpn, pages: number): Vpn {
    if (high - low < pages) return NO_GAP;
    const above = this.search(high);
    if (above === null || above.start >= high) {
      const below = above === null ? this.last : above.below;
      if (high - Math.max(low, below === null ? 0 : below.end) >= pages) return high;
    }
    const lowest = Math.max(0, this.chunkAt(low));
    for (let at = this.chunkAt(high); at >= lowest; at--) {
      if (this.widestGap(at) < pages) continue;
      const chunk = this.chunks[at]!;
      for (let i = chunk.length - 1; i >= 0; i--) {
        const vma = chunk[i]!;
        const end = Math.min(high, vma.start);
        if (end - Math.max(low, endBelow(vma)) >= pages) return end;
      }
    }
    return NO_GAP;
  }

  /** The start of the lowest gap of at least `pages` within `[low, high)`, or NO_GAP. */
  lowestGapStart(low: Vpn, high: Vpn, pages: number): Vpn {
    if (high - low < pages) return NO_GAP;
    const highest = this.chunkAt(high);
    for (let at = Math.max(0, this.chunkAt(low)); at <= highest; at++) {
      if (this.widestGap(at) < pages) continue;
      for (const vma of this.chunks[at]!) {
        const end = Math.min(high, vma.start);
        const start = Math.max(low, endBelow(vma));
        if (end - start >= pages) return start;
      }
    }
    // What is left is the gap that goes on above `high`, or above all.
    const above = this.search(high);
    const below = above === null ? this.last : above.start >= high ? above.below : above;
    const start = Math.max(low, below === null ? 0 : below.end);
    return high - start >= pages ? start : NO_GAP;
  }

  private widestGap(at: number): number {
    const known = this.widestGaps[at]!;
    if (known !== UNKNOWN) return known;
    let widest = 0;
    for (const vma of this.chunks[at]!) widest = Math.max(widest, vma.start - endBelow(vma));
    this.widestGaps[at] = widest;
    return widest;
  }

  /** The gap below `vma` is about to change, or has just changed. */
  private forgetGapBelow(vma: Vma | null): void {
    if (vma !== null) this.widestGaps[this.chunkAt(vma.start)] = UNKNOWN;
  }

  private addChunk(at: number, vmas: Vma[]): void {
    this.chunks.splice(at, 0, vmas);
    this.widestGaps.splice(at, 0, UNKNOWN);
  }

  private link(vma: Vma, below: Vma | null, above: Vma | null): void {
    vma.below = below;
    vma.above = above;
    if (below === null) this.first = vma;
    else below.above = vma;
    if (above === null) this.last = vma;
    else above.below = vma;
  }

  /** `find` without the cache. */
  private search(page: Vpn): Vma | null {
    const at = this.chunkAt(page);
    if (at < 0) return this.first;
    const vmas = this.chunks[at]!;
    const position = positionIn(vmas, page);
    if (position === 0) return this.first;
    const below = vmas[position - 1]!;
    return page < below.end ? below : below.above;
  }

  /** The chunk with the last area that starts at or below `page`; the first chunk if none does; -1 if there is none. */
  private chunkAt(page: Vpn): number {
    const { chunks } = this;
    let low = 0;
    let high = chunks.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (chunks[middle]![0]!.start <= page) low = middle + 1;
      else high = middle;
    }
    return Math.max(low - 1, chunks.length === 0 ? -1 : 0);
  }
}

/** How many of `vmas` start at or below `page`. */
function positionIn(vmas: readonly Vma[], page: Vpn): number {
  let low = 0;
  let high = vmas.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    if (vmas[middle]!.start <= page) low = middle + 1;
    else high = middle;
  }
  return low;
}
