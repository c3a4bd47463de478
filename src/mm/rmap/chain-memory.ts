/**
 * The memory of chains: blocks of one size out of a slab of their own, in lowmem or in highmem. A block must be had
 * while page_table_lock is held, where nobody may wait, so each CPU has one in hand that was drawn before (`reserve`).
 *
 * A block in highmem is looked at through a window of kmap_atomic, one for each block that a walk touches.
 *
 * @models linux-2.6.0 mm/rmap.c pte_chain_alloc, __pte_chain_free, local_pte_chain
 * @differs blocks in highmem were only ever proposed; a freed block goes to the slab, not to the CPU's hand
 */
import { ENOMEM } from "../../base/errno.ts";
import type { AtomicMaps } from "../kmap/atomic.ts";
import { KM_USER1 } from "../kmap/atomic-types.ts";
import type { Slab } from "../slab.ts";
import type { ReverseMapCosts } from "./reverse-map.ts";

/** What blocks are looked at through. */
export type BlockWindows = Pick<AtomicMaps, "highmemFrom" | "map" | "unmap" | "again" | "remembers">;

export interface ChainMemoryParts {
  readonly slab: Slab;
  readonly cpus: number;
  /** Which CPU runs. */
  readonly where: { readonly here: number };
  readonly windows: BlockWindows;
}

export class ChainMemory {
  private readonly slab: Slab;
  private readonly windows: BlockWindows;
  private readonly where: { readonly here: number };
  /** By CPU: blocks drawn and not yet used. */
  private readonly inHand: Int32Array;
  private readonly isHigh: boolean;

  constructor({ slab, cpus, where, windows }: ChainMemoryParts) {
    this.slab = slab;
    this.where = where;
    this.windows = windows;
    this.inHand = new Int32Array(cpus);
    this.isHigh = slab.mayBeHigh;
  }

  /** What all blocks take, those in hand too. */
  get bytes(): number {
    return this.slab.objects * this.slab.objectBytes;
  }

  /** Blocks that chains hold. */
  get blocksInUse(): number {
    return this.slab.objects - this.inHand.reduce((sum, blocks) => sum + blocks, 0);
  }

  /** This CPU has `blocks` in hand, whatever happens until it uses them: 0 or -ENOMEM. */
  reserve(blocks: number): number {
    const { here } = this.where;
    while (this.inHand[here]! < blocks) {
      if (this.slab.allocate() < 0) return -ENOMEM;
      this.inHand[here]!++;
    }
    return 0;
  }

  /** This CPU has `blocks` in hand at most, from now on. */
  keep(blocks: number): void {
    const { here } = this.where;
    for (; this.inHand[here]! > blocks; this.inHand[here]!--) this.slab.free();
  }

  /** A block that `draw` drew comes into this CPU's hand, if that is empty; whether it does. */
  handOver(): boolean {
    const { here } = this.where;
    if (this.inHand[here]! > 0) return false;
    this.inHand[here]!++;
    return true;
  }

  /** Draws a block that no CPU has in hand: 0 or -ENOMEM. */
  draw(): number {
    return this.slab.allocate();
  }

  /** Gives blocks back. */
  giveBack(blocks = 1): void {
    for (let given = 0; given < blocks; given++) this.slab.free();
  }

  /** Blocks for so many chains, from the hand if there are some: 0, or -ENOMEM with nothing changed. */
  take(blocks: number): number {
    const { here } = this.where;
    const fromHand = Math.min(this.inHand[here]!, blocks);
    if (this.slab.allocateAll(blocks - fromHand) < 0) return -ENOMEM;
    this.inHand[here]! -= fromHand;
    return 0;
  }

  /** Whether it matters which frame each block lies in: one cannot stand for others. */
  get mustShowEach(): boolean {
    return this.isHigh && this.windows.remembers;
  }

  /** The words of the block with that number are looked at, and those of all `blocks` that it stands for. */
  touch(block: number, costs: ReverseMapCosts, blocks: number): void {
    if (!this.isHigh) return;
    const frame = this.slab.frameOf(block);
    if (frame < this.windows.highmemFrom) return;
    this.windows.map(frame, KM_USER1);
    this.windows.unmap(frame, KM_USER1);
    if (blocks > 1) this.windows.again(blocks - 1);
    costs.blockWindows += blocks;
  }
}
