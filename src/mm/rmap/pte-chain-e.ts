/**
 * Each frame knows its entries: one directly, several as a chain of blocks. A block is one cache line, so that adding
 * and walking touch few lines, and it comes out of lowmem: every mapping of a shared page pays for its slot.
 *
 *     frame 7   PG_direct -> entry
 *     frame 9   -> [ next 1 | . . e e e e e ] -> [ next - | e e e e e e e ]     a line of 32 bytes, 7 slots of 4 bytes
 *                  free ^     ^ idx: first used slot              all full
 *
 * The first word of a block is the next block's address or-ed with idx: lines are aligned and the number of slots is
 * 2^n - 1, so the low bits are free. Adding fills slot idx - 1, or a new block when slot 0 is used. Removing overwrites
 * the victim with the head's first used entry, so only the head ever has free slots. A chain that shrinks to one entry
 * stays a chain: a parent that forks again and again would allocate and free a block each time.
 *
 * @models linux-2.6.0 mm/rmap.c page_add_rmap, page_remove_rmap, pte_chain_alloc
 * @differs entries are named by slot; the reserve is one block for the machine, Linux keeps one a CPU
 */
import { ENOMEM } from "../../base/errno.ts";
import { bug, UsageError } from "../../base/errors.ts";
import { formatSize } from "../../base/size-text.ts";
import { SparseFloat64 } from "../../base/sparse-array.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Frames } from "../frames.ts";
import type { Slab } from "../slab.ts";
import { type ChainingMap, noCosts } from "./reverse-map.ts";

/** How blocks are cut: by the CPU's cache line, and by what names an entry. */
export interface ChainShape {
  /** 32 on P6, 64 on K7 and K8, 128 on P4. */
  readonly lineBytes: number;
  /** What the pointer to the next block takes. */
  readonly pointerBytes: 4 | 8;
  /** pte_addr_t: 8 on 64-bit kernels and on PAE with page tables in highmem, otherwise 4. */
  readonly slotBytes: 4 | 8;
}

/** NRPTE: entries of one block. */
export const slotsPerBlock = (shape: ChainShape): number =>
  Math.floor((shape.lineBytes - shape.pointerBytes) / shape.slotBytes);

/** Blocks of a chain that has grown to this many entries and never shrunk. */
export const blocksFor = (mappings: number, shape: ChainShape): number =>
  mappings <= 1 ? 0 : Math.ceil(mappings / slotsPerBlock(shape));

/** A chain's head says: no entry. One entry is its slot + 1, a chain is -(its first block). */
const UNMAPPED = 0;
/** Blocks are numbered from 1. */
const NO_BLOCK = 0;
const FIRST_CAPACITY = 256;
/** What the entries of all chains may take of the host. */
const MOST_HOST_BYTES = 4 * 2 ** 30;

/** Not on the chain. */
const NOWHERE = -1;

export class PteChainE implements ChainingMap {
  readonly costs = noCosts();
  private readonly frames: Frames;
  private readonly slab: Slab;
  private readonly width: number;
  /** By frame: UNMAPPED, slot + 1, or -block. */
  private readonly heads: SparseFloat64;
  /** By block, by slot of it: the entry. */
  private slots: Float64Array;
  /** Bits of idx: the first used slot, or `width` while a block is empty. */
  private readonly indexBits: number;
  private readonly indexMask: number;
  /** By block: `next block << indexBits | idx`; on a free block, the next free one. */
  private nextAndIndex: Int32Array;
  private used = 0;
  private free = NO_BLOCK;
  private inUse = 0;
  private inHand = 0;

  /** `slab` has objects of one cache line. */
  constructor(frames: Frames, slab: Slab, shape: ChainShape) {
    this.frames = frames;
    this.slab = slab;
    this.width = slotsPerBlock(shape);
    this.heads = new SparseFloat64(frames.count, UNMAPPED);
    this.slots = new Float64Array(FIRST_CAPACITY * this.width);
    this.indexBits = Math.ceil(Math.log2(this.width + 1));
    this.indexMask = 2 ** this.indexBits - 1;
    this.nextAndIndex = new Int32Array(FIRST_CAPACITY);
  }

  get bytes(): number {
    return (this.inUse + this.inHand) * this.slab.objectBytes;
  }

  /** Blocks on chains. */
  get blocks(): number {
    return this.inUse;
  }

  reserve(): number {
    if (this.inHand > 0) return 0;
    if (this.slab.allocate() < 0) return -ENOMEM;
    this.inHand++;
    return 0;
  }

  add(frame: Pfn, slot: PteSlot): number {
    const head = this.heads.read(frame);
    if (head === UNMAPPED) this.heads.write(frame, slot + 1);
    else if (head < 0 && this.firstUsed(-head) > 0) this.prepend(-head, slot);
    else if (!this.push(frame, head, slot)) return -ENOMEM;
    this.costs.adds++;
    this.frames.mapCount.add(frame, 1);
    return 0;
  }

  remove(frame: Pfn, slot: PteSlot): void {
    const head = this.heads.read(frame);
    if (head === slot + 1) this.heads.write(frame, UNMAPPED);
    else {
      this.slots[this.mustFind(frame, slot)] = this.slots[-head * this.width + this.firstUsed(-head)];
      this.dropFirst(frame, -head);
    }
    this.costs.removes++;
    this.frames.mapCount.add(frame, -1);
  }

  move(frame: Pfn, from: PteSlot, to: PteSlot): void {
    if (this.heads.read(frame) === from + 1) this.heads.write(frame, to + 1);
    else this.slots[this.mustFind(frame, from)] = to;
    this.costs.moves++;
  }

  forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void {
    const { width } = this;
    const head = this.heads.read(frame);
    if (head > 0) visit(head - 1);
    // The visitor may remove the entry that it is shown: what then moves into its place has been visited already.
    for (let block = -head; block > NO_BLOCK; ) {
      const next = this.nextOf(block);
      for (let at = this.firstUsed(block); at < width; at++) {
        this.costs.linksFollowed++;
        if (!visit(this.slots[block * width + at])) return;
      }
      block = next;
    }
  }

  wouldChain(): boolean {
    return true;
  }

  isChained(frame: Pfn, slot: PteSlot): boolean {
    const head = this.heads.read(frame);
    return head === slot + 1 || (head < 0 && this.find(frame, slot) !== NOWHERE);
  }

  private mustFind(frame: Pfn, slot: PteSlot): number {
    const at = this.find(frame, slot);
    return at === NOWHERE ? bug(`entry ${slot} is not on the chain of frame ${frame}`) : at;
  }

  /** Where in `slots` the chain of `frame` holds `slot`, or NOWHERE. */
  private find(frame: Pfn, slot: PteSlot): number {
    const { slots, width } = this;
    for (let block = -this.heads.read(frame); block > NO_BLOCK; block = this.nextOf(block)) {
      const end = (block + 1) * width;
      for (let at = block * width + this.firstUsed(block); at < end; at++) {
        this.costs.linksFollowed++;
        if (slots[at] === slot) return at;
      }
    }
    return NOWHERE;
  }

  /** `block` has a free slot before its first used one. */
  private prepend(block: number, slot: PteSlot): void {
    const first = --this.nextAndIndex[block] & this.indexMask;
    this.slots[block * this.width + first] = slot;
  }

  /** A new block becomes the head: of a full chain, or of the one entry that was known directly. */
  private push(frame: Pfn, head: number, slot: PteSlot): boolean {
    const block = this.takeBlock();
    if (block === NO_BLOCK) return false;
    const next = head < 0 ? -head : NO_BLOCK;
    this.nextAndIndex[block] = (next << this.indexBits) | this.width;
    if (head > 0) this.prepend(block, head - 1);
    this.prepend(block, slot);
    this.heads.write(frame, -block);
    return true;
  }

  /** The head's first entry is gone, and the head with its last one. */
  private dropFirst(frame: Pfn, block: number): void {
    const first = this.firstUsed(block) + 1;
    if (first < this.width) {
      this.nextAndIndex[block]++;
      return;
    }
    const next = this.nextOf(block);
    this.heads.write(frame, next === NO_BLOCK ? UNMAPPED : -next);
    this.freeBlock(block);
  }

  private nextOf(block: number): number {
    return this.nextAndIndex[block] >>> this.indexBits;
  }

  private firstUsed(block: number): number {
    return this.nextAndIndex[block] & this.indexMask;
  }

  private takeBlock(): number {
    if (this.inHand > 0) this.inHand--;
    else if (this.slab.allocate() < 0) return NO_BLOCK;
    this.inUse++;
    const block = this.free;
    if (block !== NO_BLOCK) {
      this.free = this.nextOf(block);
      return block;
    }
    this.used++;
    if (this.used === this.nextAndIndex.length) this.enlarge();
    return this.used;
  }

  private freeBlock(block: number): void {
    this.slab.free();
    this.inUse--;
    this.nextAndIndex[block] = this.free << this.indexBits;
    this.free = block;
  }

  private enlarge(): void {
    const needed = this.slots.byteLength * 2;
    if (needed > MOST_HOST_BYTES) {
      throw new UsageError(
        `the PTE chains of this run need ${formatSize(needed)} of this host, the limit is ${formatSize(MOST_HOST_BYTES)} ` +
          `(${this.inUse} blocks of ${this.width} entries): use fewer processes, a smaller segment or another reverse map`,
      );
    }
    const slots = new Float64Array(this.slots.length * 2);
    slots.set(this.slots);
    this.slots = slots;
    const nextAndIndex = new Int32Array(this.nextAndIndex.length * 2);
    nextAndIndex.set(this.nextAndIndex);
    this.nextAndIndex = nextAndIndex;
  }
}
