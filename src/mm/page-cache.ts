/**
 * The cached pages of one file, by index: a radix tree of nodes with 64 slots each. A node is a kernel object that costs
 * lowmem, so each is counted in a slab; the tree is as high as its greatest index needs and loses empty nodes at once.
 *
 *     index 5000 = 1:14:8                     height 1: 64 pages, 2: 4096, 3: 262,144 (1 GiB) ...
 *       root[1] -> node[14] -> leaf[8] = frame
 *
 * Every node carries one dirty bit a slot, set if that page or a page below that slot is dirty, so that writeback finds
 * dirty pages without visiting clean ones.
 *
 * Indices count pages of 4 KiB. Where the kernel's own pages are larger, the tree has one slot for each of those: what is told
 * apart within it is only which frame holds an index.
 *
 * @models linux-6.1 lib/xarray.c xas_store, xas_set_mark; linux-2.6.11 lib/radix-tree.c
 * @differs a file of one page keeps one node; since 2.6.18 Linux keeps such a page in the root itself
 */
import { ENOMEM } from "../base/errno.ts";
import { bug } from "../base/errors.ts";
import type { FileIndex, FrameRun, Pfn } from "../base/units.ts";
import type { Slab } from "./slab.ts";

const SLOTS = 64;
export const NOT_CACHED = -1;

interface Node {
  /** Children that are there: pages of a leaf, nodes elsewhere. */
  count: number;
  /** One bit a slot: slots 0 to 31 and 32 to 63. */
  dirtyLow: number;
  dirtyHigh: number;
  /** A leaf's frames, NOT_CACHED where empty; none for a full leaf whose frames lie side by side, but perhaps for the first. */
  frames: Int32Array;
  /** Of such a leaf: the first frame, and the second. */
  first: Pfn;
  second: Pfn;
  /** The nodes below one that is no leaf. */
  readonly children: (Node | null)[];
}

const noFrames = new Int32Array(0);
const noChildren: (Node | null)[] = [];

/** The frame in a slot of a leaf, or NOT_CACHED. */
function frameIn({ frames, first, second }: Node, slot: number): Pfn {
  if (frames.length > 0) return frames[slot];
  return slot === 0 ? first : second + slot - 1;
}

/** Adds up the dirty pages of many caches. */
export interface DirtyTally {
  pages: number;
}

/** What a visitor of cached pages is told; return false to stop. */
export type PageVisitor = (index: FileIndex, frame: Pfn) => boolean;

export class PageCache {
  private readonly slab: Slab;
  private readonly tally: DirtyTally;
  /** Indices of a soft page, which has one slot. */
  private readonly parts: number;
  private root: Node | null = null;
  private height = 0;
  private pages = 0;
  private dirty = 0;
  private treeNodes = 0;
  // Nodes that nothing is left in, for the next that is needed: the swap cache's come and go with each page.
  private spareLeaf: Node | null = null;
  private spareInner: Node | null = null;
  private spareFrames: Int32Array | null = null;

  constructor(slab: Slab, tally: DirtyTally = { pages: 0 }, parts = 1) {
    this.slab = slab;
    this.parts = parts;
    this.tally = tally;
  }

  /** Pages that came and went: while it stands, the cache is what it was. */
  changes = 0;

  /** Cached soft pages (nrpages). */
  get count(): number {
    return this.pages;
  }

  /** What they hold, in pages of 4 KiB. */
  get frameCount(): number {
    return this.pages * this.parts;
  }

  /** Soft pages that are dirty. */
  get dirtyCount(): number {
    return this.dirty;
  }

  /** Nodes of the tree, each an object of the slab. */
  get nodes(): number {
    return this.treeNodes;
  }

  /** The frame that caches page `index`, or NOT_CACHED. */
  find(index: FileIndex): Pfn {
    const part = index % this.parts;
    const key = (index - part) / this.parts;
    const leaf = this.leaf(key);
    const head = leaf === null ? NOT_CACHED : frameIn(leaf, key % SLOTS);
    return head === NOT_CACHED ? NOT_CACHED : head + part;
  }

  /** How many indices from `index` on have no page, and a node that is there. */
  roomAt(index: FileIndex): number {
    const leaf = this.leaf(index);
    if (leaf === null || leaf.frames.length === 0) return 0;
    const from = index % SLOTS;
    let slot = from;
    while (slot < SLOTS && leaf.frames[slot] === NOT_CACHED) slot++;
    return slot - from;
  }

  /** The pages from `index` on are now in the frames `[first, end)`. Requires: there is room at once. */
  insertRun(index: FileIndex, { first, end }: FrameRun): void {
    const leaf = this.leaf(index)!;
    const from = index % SLOTS;
    for (let frame = first; frame < end; frame++) leaf.frames[from + frame - first] = frame;
    leaf.count += end - first;
    this.pages += end - first;
    this.changes += end - first;
    this.straighten(leaf);
  }

  /** The soft page from `index` on, not cached so far, is now in the frames from `head` on. 0, or -ENOMEM with nothing changed. */
  insert(index: FileIndex, head: Pfn): number {
    return this.insertAt(index / this.parts, head);
  }

  private insertAt(index: FileIndex, frame: Pfn): number {
    if (this.reserve(index) !== 0) return -ENOMEM;
    while (index >= capacity(this.height)) this.grow();
    this.root ??= this.node(this.height);
    let at = this.root;
    for (let level = this.height; level > 1; level--) {
      const slot = slotOf(index, level);
      let child = at.children[slot];
      if (child === null) {
        child = this.node(level - 1);
        at.children[slot] = child;
        at.count++;
      }
      at = child;
    }
    if (at.count === SLOTS || at.frames[index % SLOTS] !== NOT_CACHED) bug(`page ${index} is cached twice`);
    at.frames[index % SLOTS] = frame;
    at.count++;
    this.pages++;
    this.changes++;
    return 0;
  }

  /** Page `index`, which is cached, is in another frame now. */
  replace(index: FileIndex, frame: Pfn): void {
    const leaf = this.leaf(index) ?? bug(`page ${index} is not cached`);
    leaf.frames[index % SLOTS] = frame;
    this.changes++;
  }

  /** The soft page of page `index` is cached no more; returns the frame that the page was in. */
  remove(index: FileIndex): Pfn {
    const frame = this.find(index);
    if (frame === NOT_CACHED) bug(`page ${index} is not cached`);
    this.clearDirty(index);
    this.root = this.without(this.root!, this.height, this.keyOf(index));
    this.pages--;
    this.changes++;
    this.shrink();
    return frame;
  }

  isDirty(index: FileIndex): boolean {
    const key = this.keyOf(index);
    const leaf = this.leaf(key);
    return leaf !== null && isMarked(leaf, key % SLOTS);
  }

  /** Returns whether the page was clean. Requires: it is cached. */
  markDirty(index: FileIndex): boolean {
    const key = this.keyOf(index);
    let at = this.root;
    let wasClean = false;
    for (let level = this.height; at !== null; level--) {
      const slot = slotOf(key, level);
      wasClean = !isMarked(at, slot);
      mark(at, slot);
      at = level === 1 ? null : at.children[slot];
    }
    if (!wasClean) return false;
    this.dirty++;
    this.tally.pages += this.parts;
    return true;
  }

  /** Returns whether the page was dirty. */
  clearDirty(index: FileIndex): boolean {
    if (!this.isDirty(index)) return false;
    this.clearMark(this.root!, this.height, this.keyOf(index));
    this.dirty--;
    this.tally.pages -= this.parts;
    return true;
  }

  /**
   * Visits the cached pages that have a part in `[first, end)`, in order: the index of the first part of each, and its head.
   * The visitor may remove the page that it is shown.
   */
  forEach(first: FileIndex, end: FileIndex, visit: PageVisitor): void {
    const { root, height, parts } = this;
    if (root === null) return;
    if (parts === 1) visitPages(root, height, 0, first, end, visit);
    else visitPages(root, height, 0, this.keyOf(first), Math.ceil(end / parts), this.byIndex(visit));
  }

  /** Visits the dirty pages that have a part in `[first, end)`, in order. The visitor may clean the page that it is shown. */
  forEachDirty(first: FileIndex, end: FileIndex, visit: PageVisitor): void {
    if (this.root === null) return;
    const { root, height, parts } = this;
    visitDirty(root, height, 0, this.keyOf(first), Math.ceil(end / parts), this.byIndex(visit));
  }

  /** The slot of the soft page that `index` is in. */
  private keyOf(index: FileIndex): number {
    return Math.floor(index / this.parts);
  }

  private byIndex(visit: PageVisitor): PageVisitor {
    const { parts } = this;
    return parts === 1 ? visit : (key, head) => visit(key * parts, head);
  }

  private leaf(index: FileIndex): Node | null {
    if (index >= capacity(this.height)) return null;
    let at = this.root;
    for (let level = this.height; level > 1 && at !== null; level--) at = at.children[slotOf(index, level)];
    return at;
  }

  /** Draws from the slab every node that caching page `index` needs. */
  private reserve(index: FileIndex): number {
    const needed = this.missingNodes(index);
    for (let drawn = 0; drawn < needed; drawn++) {
      if (this.slab.allocate() === 0) continue;
      for (; drawn > 0; drawn--) this.slab.free();
      return -ENOMEM;
    }
    return 0;
  }

  private missingNodes(index: FileIndex): number {
    if (this.root === null) return Math.max(heightFor(index), this.height);
    const height = Math.max(heightFor(index), this.height);
    // A taller tree has one new node above each old level, and a whole new path beside the old root.
    if (height > this.height) return height - this.height + (height - 1);
    let present = 0;
    let at: Node | null = this.root;
    for (let level = height; at !== null; level--) {
      present++;
      at = level === 1 ? null : at.children[slotOf(index, level)];
    }
    return height - present;
  }

  /** One level more. The old root keeps index 0. */
  private grow(): void {
    this.height++;
    const old = this.root;
    if (old === null) return;
    this.root = this.node(this.height);
    this.root.children[0] = old;
    this.root.count = 1;
    if (hasMarks(old)) mark(this.root, 0);
  }

  private node(level: number): Node {
    this.treeNodes++;
    const spare = level === 1 ? this.spareLeaf : this.spareInner;
    if (spare !== null) {
      if (level === 1) this.spareLeaf = null;
      else this.spareInner = null;
      return spare;
    }
    const frames = level === 1 ? this.emptyFrames() : noFrames;
    const children = level === 1 ? noChildren : new Array<Node | null>(SLOTS).fill(null);
    return { count: 0, dirtyLow: 0, dirtyHigh: 0, frames, first: NOT_CACHED, second: NOT_CACHED, children };
  }

  private emptyFrames(): Int32Array {
    const frames = this.spareFrames ?? new Int32Array(SLOTS);
    this.spareFrames = null;
    return frames.fill(NOT_CACHED);
  }

  /** A full leaf whose frames lie side by side keeps two of them. */
  private straighten(leaf: Node): void {
    const { frames } = leaf;
    if (leaf.count < SLOTS) return;
    for (let slot = 2; slot < SLOTS; slot++) if (frames[slot] !== frames[slot - 1] + 1) return;
    leaf.first = frames[0];
    leaf.second = frames[1];
    leaf.frames = noFrames;
    this.spareFrames = frames;
  }

  /** It has them all again. */
  private spell(leaf: Node): void {
    if (leaf.frames.length > 0) return;
    const frames = this.emptyFrames();
    for (let slot = 0; slot < SLOTS; slot++) frames[slot] = frameIn(leaf, slot);
    leaf.frames = frames;
  }

  private release(): void {
    this.treeNodes--;
    this.slab.free();
  }

  /** The subtree without page `index`: null, and its node freed, once nothing is left. */
  private without(node: Node, level: number, index: FileIndex): Node | null {
    const slot = slotOf(index, level);
    if (level === 1) {
      this.spell(node);
      node.frames[slot] = NOT_CACHED;
      node.count--;
    } else {
      const child = this.without(node.children[slot] as Node, level - 1, index);
      node.children[slot] = child;
      if (child === null) node.count--;
    }
    if (node.count > 0) return node;
    this.release();
    if (level === 1) this.spareLeaf = node;
    else this.spareInner = node;
    return null;
  }

  private clearMark(node: Node, level: number, index: FileIndex): void {
    const slot = slotOf(index, level);
    if (level > 1) {
      const child = node.children[slot] as Node;
      this.clearMark(child, level - 1, index);
      if (hasMarks(child)) return;
    }
    unmark(node, slot);
  }

  /** Drops levels whose only child holds index 0. */
  private shrink(): void {
    if (this.root === null) {
      this.height = 0;
      return;
    }
    while (this.height > 1 && this.root.count === 1 && this.root.children[0] !== null) {
      this.root = this.root.children[0];
      this.height--;
      this.release();
    }
  }
}

/** By level: the indices that a slot of a node covers. The tallest tree holds every page of the largest file. */
const spans = [0, 1, 2 ** 6, 2 ** 12, 2 ** 18, 2 ** 24, 2 ** 30, 2 ** 36, 2 ** 42];

/** How many indices a tree of this height covers. */
const capacity = (height: number): number => spans[height] * SLOTS;

function heightFor(index: FileIndex): number {
  let height = 1;
  while (index >= capacity(height)) height++;
  return height;
}

const slotOf = (index: FileIndex, level: number): number => Math.floor(index / spans[level]) % SLOTS;

const hasMarks = (node: Node): boolean => (node.dirtyLow | node.dirtyHigh) !== 0;
const isMarked = (node: Node, slot: number): boolean =>
  ((slot < 32 ? node.dirtyLow : node.dirtyHigh) & (1 << (slot % 32))) !== 0;

function mark(node: Node, slot: number): void {
  if (slot < 32) node.dirtyLow |= 1 << slot;
  else node.dirtyHigh |= 1 << (slot - 32);
}

function unmark(node: Node, slot: number): void {
  if (slot < 32) node.dirtyLow &= ~(1 << slot);
  else node.dirtyHigh &= ~(1 << (slot - 32));
}

/** `base` is the index of the subtree's first page. */
function visitPages(
  node: Node,
  level: number,
  base: FileIndex,
  first: FileIndex,
  end: FileIndex,
  visit: PageVisitor,
): boolean {
  const span = spans[level];
  for (let slot = firstSlot(base, span, first); slot < SLOTS; slot++) {
    const index = base + slot * span;
    if (index >= end) return true;
    if (level === 1) {
      const frame = frameIn(node, slot);
      if (frame !== NOT_CACHED && !visit(index, frame)) return false;
    } else {
      const child = node.children[slot];
      if (child !== null && !visitPages(child, level - 1, index, first, end, visit)) return false;
    }
  }
  return true;
}

function visitDirty(
  node: Node,
  level: number,
  base: FileIndex,
  first: FileIndex,
  end: FileIndex,
  visit: PageVisitor,
): boolean {
  const span = spans[level];
  for (let slot = firstSlot(base, span, first); slot < SLOTS; slot++) {
    const index = base + slot * span;
    if (index >= end) return true;
    if (!isMarked(node, slot)) continue;
    if (level === 1) {
      if (!visit(index, frameIn(node, slot))) return false;
    } else if (!visitDirty(node.children[slot] as Node, level - 1, index, first, end, visit)) return false;
  }
  return true;
}

const firstSlot = (base: FileIndex, span: number, first: FileIndex): number =>
  first <= base ? 0 : Math.floor((first - base) / span);
