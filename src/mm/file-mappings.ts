/**
 * Who maps which pages of a file (i_mmap): a search tree of index ranges, each with every area that maps exactly that
 * range. Thousands of processes that map one segment alike share one node, so that linking the next costs the same as
 * linking the first; each node knows the greatest end below it, so that finding the m areas that overlap a range among
 * n distinct ranges takes O(log n + m).
 *
 *             [16,32) end 64
 *            /              \            the areas over page 40: the root ends too early itself,
 *      [0,16) end 16    [20,64) end 64   its left subtree ends by 16, its right child holds 40
 *
 * The tree is a treap: ordered by range, heaped by a hash of the range, so its shape depends on its contents alone.
 *
 * An area is linked under the range that it has at that time: it must be unlinked before its range changes. A nonlinear
 * area may have any page anywhere: it is on a list of its own (i_mmap_nonlinear), for those who search areas whole.
 *
 * @models linux-6.1 mm/interval_tree.c vma_interval_tree_insert, vma_interval_tree_remove
 * @models linux-2.6.11 mm/prio_tree.c, mm/fremap.c vma_nonlinear_insert
 * @differs a treap with one node a range; Linux has a red-black tree with one node an area
 */
import { bug } from "../base/errors.ts";
import type { FileIndex } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { VM_NONLINEAR, type Vma } from "./vma.ts";

interface Range {
  readonly first: FileIndex;
  readonly end: FileIndex;
  /** The heap's order: the root of each subtree has its greatest. */
  readonly priority: number;
  readonly areas: Set<Vma>;
  /** The greatest end in the subtree. */
  greatestEnd: FileIndex;
  left: Range | null;
  right: Range | null;
}

export class FileMappings {
  private root: Range | null = null;
  private areas = 0;
  private readonly unordered = new Set<Vma>();
  private spreads = 0;

  /** How many areas are linked. */
  get count(): number {
    return this.areas + this.unordered.size;
  }

  /** The areas that map pages out of the file's order, oldest first. */
  get nonlinear(): ReadonlySet<Vma> {
    return this.unordered;
  }

  /**
   * Moves whenever entries of the file's pages may have come to an area that had none: by an area that is new or has a new
   * range, by fork's copy, by mremap. Whoever goes through all areas, and waits in between, does so `untilStill`.
   */
  get generation(): number {
    return this.spreads;
  }

  /** Entries have been copied or moved from one area to another. */
  spread(): void {
    this.spreads++;
  }

  insert(vma: Vma): void {
    this.spreads++;
    if ((vma.flags & VM_NONLINEAR) !== 0) {
      if (this.unordered.has(vma)) bug(`area ${vma.start}..${vma.end} is linked twice`);
      this.unordered.add(vma);
    } else this.insertRange(vma);
  }

  private insertRange(vma: Vma): void {
    const first = vma.fileIndex;
    const end = first + vma.pages;
    const known = find(this.root, first, end);
    if (known !== null) {
      if (known.areas.has(vma)) bug(`area ${vma.start}..${vma.end} is linked twice`);
      known.areas.add(vma);
    } else {
      const range = {
        first,
        end,
        priority: mix(first, end),
        areas: new Set([vma]),
        greatestEnd: end,
        left: null,
        right: null,
      };
      this.root = inserted(this.root, range);
    }
    this.areas++;
  }

  /** Requires: the area's range, and whether it is nonlinear, are what they were when it was linked. */
  remove(vma: Vma): void {
    if ((vma.flags & VM_NONLINEAR) === 0) this.removeRange(vma);
    else if (!this.unordered.delete(vma)) bug(`area ${vma.start}..${vma.end} is not linked as nonlinear`);
  }

  private removeRange(vma: Vma): void {
    const first = vma.fileIndex;
    const end = first + vma.pages;
    const range = find(this.root, first, end);
    if (range === null || !range.areas.delete(vma))
      bug(`area ${vma.start}..${vma.end} is not linked as ${first}..${end}`);
    if (range.areas.size === 0) this.root = removed(this.root, range);
    this.areas--;
  }

  has(vma: Vma): boolean {
    if ((vma.flags & VM_NONLINEAR) !== 0) return this.unordered.has(vma);
    return find(this.root, vma.fileIndex, vma.fileIndex + vma.pages)?.areas.has(vma) ?? false;
  }

  /** Visits each linear area that maps a page of `[first, end)`, by range, until `visit` returns false. */
  forEach(first: FileIndex, end: FileIndex, visit: (vma: Vma) => boolean): void {
    visitOverlapping(this.root, first, end, visit);
  }

  /** The linear areas that map a page of `[first, end)`. */
  overlapping(first: FileIndex, end: FileIndex): Vma[] {
    const found: Vma[] = [];
    this.forEach(first, end, (vma) => {
      found.push(vma);
      return true;
    });
    return found;
  }
}

const precedes = (first: FileIndex, end: FileIndex, range: Range): boolean =>
  first < range.first || (first === range.first && end < range.end);

function find(root: Range | null, first: FileIndex, end: FileIndex): Range | null {
  let at = root;
  while (at !== null && (at.first !== first || at.end !== end)) at = precedes(first, end, at) ? at.left : at.right;
  return at;
}

function inserted(root: Range | null, range: Range): Range {
  if (root === null) return range;
  if (range.priority > root.priority) {
    split(root, range);
    return measured(range);
  }
  if (precedes(range.first, range.end, root)) root.left = inserted(root.left, range);
  else root.right = inserted(root.right, range);
  return measured(root);
}

function removed(root: Range | null, range: Range): Range | null {
  if (root === null) return null;
  if (root === range) return joined(range.left, range.right);
  if (precedes(range.first, range.end, root)) root.left = removed(root.left, range);
  else root.right = removed(root.right, range);
  return measured(root);
}

/** Hangs what precedes `range` under its left, and what follows it under its right. */
function split(root: Range | null, range: Range): void {
  if (root === null) {
    range.left = null;
    range.right = null;
  } else if (precedes(range.first, range.end, root)) {
    split(root.left, range);
    root.left = range.right;
    range.right = measured(root);
  } else {
    split(root.right, range);
    root.right = range.left;
    range.left = measured(root);
  }
}

/** One subtree of two, where all of `left` precedes all of `right`. */
function joined(left: Range | null, right: Range | null): Range | null {
  if (left === null) return right;
  if (right === null) return left;
  if (left.priority > right.priority) {
    left.right = joined(left.right, right);
    return measured(left);
  }
  right.left = joined(left, right.left);
  return measured(right);
}

function measured(range: Range): Range {
  const left = range.left === null ? 0 : range.left.greatestEnd;
  const right = range.right === null ? 0 : range.right.greatestEnd;
  range.greatestEnd = Math.max(range.end, left, right);
  return range;
}

function visitOverlapping(at: Range | null, first: FileIndex, end: FileIndex, visit: (vma: Vma) => boolean): boolean {
  if (at === null || at.greatestEnd <= first) return true;
  if (!visitOverlapping(at.left, first, end, visit)) return false;
  if (at.first >= end) return true;
  if (at.end > first) {
    for (const vma of at.areas) if (!visit(vma)) return false;
  }
  return visitOverlapping(at.right, first, end, visit);
}

/** Goes through areas again and again, until no entries can have come to one that was passed while `once` waited. */
export function* untilStill(mappings: FileMappings, once: () => Path<void>): Path<void> {
  for (let seen = -1; seen !== mappings.generation; ) {
    seen = mappings.generation;
    yield* once();
  }
}

/** A hash of a range: spreads neighbours over all 32 bits. */
function mix(first: FileIndex, end: FileIndex): number {
  let hash =
    Math.imul(first % 0x1_0000_0000, 0x9e37_79b1) ^ Math.imul(Math.floor(first / 0x1_0000_0000) + 1, 0x85eb_ca6b);
  hash ^= Math.imul(end % 0x1_0000_0000, 0xc2b2_ae35) ^ Math.floor(end / 0x1_0000_0000);
  hash = Math.imul(hash ^ (hash >>> 16), 0x7feb_352d);
  hash = Math.imul(hash ^ (hash >>> 15), 0x846c_a68b);
  return (hash ^ (hash >>> 16)) >>> 0;
}
