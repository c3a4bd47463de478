/**
 * Which areas become one. A range that is new, or whose flags are about to change, may join the area below it, the
 * area above it, or both; A is the range, P the area below, N the area above:
 *
 *     gap:   PPPP....NNNN  1 PPPPPPPPPPPP  2 PPPPPPPPNNNN  3 PPPPNNNNNNNN
 *     part:  PPAAAANNNNNN  4 PPNNNNNNNNNN  (the range is P's tail)    PPPPPPAAAAMM  5 PPPPPPPPPPMM  (it is M's head)
 *     whole: PPPPAAAANNNN  6 PPPPPPPPPPPP  7 PPPPPPPPNNNN  8 PPPPNNNNNNNN
 *
 * An area of a segment of shared memory that is mapped never goes for this: today it may still grow over a part of another.
 * In case 8 the area that lay there goes and the one above grows: an area's rights never change under its pages.
 *
 * @models linux-6.1 mm/mmap.c vma_merge, can_vma_merge_before, can_vma_merge_after, __vma_adjust, vma_expand
 */
import type { FileIndex, Vpn } from "../base/units.ts";
import type { AddressSpace } from "./address-space.ts";
import type { AnonVma } from "./anon-vma.ts";
import type { FileObject, OpenFile } from "./file.ts";
import type { Kernel } from "./kernel.ts";
import { isAttached } from "./shm/segments.ts";
import type { Vma } from "./vma.ts";
import { detachVma, freeVma, resizeVma, shiftBoundary } from "./vma-memory.ts";

/** What a range is, or is about to become. */
export interface MergeRange {
  readonly start: Vpn;
  readonly end: Vpn;
  readonly flags: number;
  readonly anonVma: AnonVma | null;
  /** The area that its pages are in now, here or at the place that they are moved from; null if it is empty. */
  readonly source: Vma | null;
  readonly file: FileObject | null;
  readonly opened: OpenFile | null;
  /** The index of its first page. */
  readonly fileIndex: FileIndex;
}

/** `[start, end)` of `vma` as it will be once it has `flags`. */
export function rangeOf(vma: Vma, start: Vpn, end: Vpn, flags: number): MergeRange {
  const { anonVma, file, opened } = vma;
  return { start, end, flags, anonVma, source: vma, file, opened, fileIndex: vma.indexAt(start) };
}

function alike(kernel: Kernel, vma: Vma, range: MergeRange): boolean {
  return (
    vma.flags === range.flags &&
    vma.file === range.file &&
    vma.opened === range.opened &&
    kernel.anonVmas.mergeable(range.anonVma, range.source, vma)
  );
}

/** Whether two areas may become one, as far as their anon_vmas go. */
const compatible = (one: AnonVma | null, other: AnonVma | null): boolean =>
  one === null || other === null || one === other;

/** Whether `range` may continue `below`, which ends where it starts. */
export const continues = (kernel: Kernel, below: Vma, range: MergeRange): boolean =>
  below.end === range.start && below.indexAt(below.end) === range.fileIndex && alike(kernel, below, range);

/** Whether `range` may come before `above`, which starts where it ends. */
export const precedes = (kernel: Kernel, range: MergeRange, above: Vma): boolean =>
  above.start === range.end &&
  above.fileIndex === range.fileIndex + (range.end - range.start) &&
  alike(kernel, above, range);

/**
 * Joins `range` to its neighbours and returns the area that it is part of now; null, and nothing changed, if they do
 * not match or memory is short.
 *
 * Requires: `previous` is the area below `range.start`, or the one that contains it if the range is that one's tail;
 * the range lies in a gap, or within one area. Totals are the caller's business, and so are an area's flags.
 */
export function mergeVma(kernel: Kernel, mm: AddressSpace, previous: Vma | null, range: MergeRange): Vma | null {
  if ((range.flags & kernel.personality.unmergeable) !== 0) return null;
  const { start, end } = range;
  // What lies at the range (if anything does) and what lies above it.
  const middle = previous === null ? mm.vmas.first : previous.above;
  const next = middle !== null && middle.end === end ? middle.above : middle;

  const below = previous !== null && continues(kernel, previous, range) ? previous : null;
  let above = next !== null && precedes(kernel, range, next) ? next : null;
  if (isAttached(range)) {
    const wouldGo = middle !== null && middle.start === start && middle.end === end;
    if (kernel.personality.joinsAttached === "never" || wouldGo) return null;
    if (below !== null) above = null;
  }
  if (below !== null && above !== null && compatible(below.anonVma, above.anonVma)) {
    return joinBoth(kernel, below, middle!, above, range.source);
  }
  if (below !== null) return growUp(kernel, below, middle, end, range.source);
  if (above === null) return null;
  if (previous !== null && start < previous.end) return growDownInto(kernel, previous, above, start);
  return growDown(kernel, middle!, above, start, range.source);
}

/** Cases 1 and 6: `below`, what lies at the range, and `above` become one. */
function joinBoth(kernel: Kernel, below: Vma, middle: Vma, above: Vma, source: Vma | null): Vma | null {
  const exporter = middle !== above && middle.anonVma === null ? above : middle;
  if (!importAnonVma(kernel, below, exporter) || !importAnonVma(kernel, below, source)) return null;
  const { start, fileIndex } = below;
  const { end } = above;
  if (middle !== above) absorb(kernel, middle);
  absorb(kernel, above);
  resizeVma(below, start, end, fileIndex);
  return below;
}

/** Cases 2, 5 and 7: `below` takes the range, from whoever has it. */
function growUp(kernel: Kernel, below: Vma, middle: Vma | null, end: Vpn, source: Vma | null): Vma | null {
  if (middle === null || middle.start >= end) {
    if (!importAnonVma(kernel, below, source)) return null;
    resizeVma(below, below.start, end, below.fileIndex);
    return below;
  }
  if (!importAnonVma(kernel, below, middle)) return null;
  if (middle.end > end) {
    shiftBoundary(below, middle, end);
    return below;
  }
  absorb(kernel, middle);
  resizeVma(below, below.start, end, below.fileIndex);
  return below;
}

/** Case 4: `above` takes the tail of `previous`. */
function growDownInto(kernel: Kernel, previous: Vma, above: Vma, start: Vpn): Vma | null {
  if (!importAnonVma(kernel, above, previous)) return null;
  shiftBoundary(previous, above, start);
  return above;
}

/** Cases 3 and 8: `above` takes the range, in a gap or from the area that is exactly there. */
function growDown(kernel: Kernel, middle: Vma, above: Vma, start: Vpn, source: Vma | null): Vma | null {
  if (!importAnonVma(kernel, above, source)) return null;
  if (middle !== above) absorb(kernel, middle);
  resizeVma(above, start, above.end, above.fileIndex - (above.start - start));
  return above;
}

/**
 * Grows a neighbour over the new, empty range of an mmap, over both if both match. Unlike `mergeVma` it takes the
 * area above alone when the two neighbours' anon_vmas differ.
 *
 * @models linux-6.1 mm/mmap.c __mmap_region ("Attempt to expand an old mapping")
 */
export function expandInto(kernel: Kernel, below: Vma | null, above: Vma | null, range: MergeRange): Vma | null {
  if ((range.flags & kernel.personality.unmergeable) !== 0 || isAttached(range)) return null;
  const upper = above !== null && precedes(kernel, range, above) ? above : null;
  const asPartOfUpper = upper === null ? range : { ...range, anonVma: upper.anonVma };
  const lower = below !== null && continues(kernel, below, asPartOfUpper) ? below : null;
  if (lower !== null && upper !== null) return joinBoth(kernel, lower, upper, upper, null);
  if (lower !== null) return growUp(kernel, lower, null, range.end, null);
  return upper === null ? null : growDown(kernel, upper, upper, range.start, null);
}

/** Before `importer` grows over pages of `exporter`, it must be found wherever that one is. False if memory is short. */
function importAnonVma(kernel: Kernel, importer: Vma, exporter: Vma | null): boolean {
  if (exporter === null || exporter.anonVma === null || importer.anonVma !== null) return true;
  importer.anonVma = exporter.anonVma;
  return kernel.anonVmas.clone(importer, exporter) >= 0;
}

/** `vma` goes; a neighbour grows over its pages. */
function absorb(kernel: Kernel, vma: Vma): void {
  detachVma(vma);
  freeVma(kernel, vma);
}
