/**
 * Each entry of a page of a file is looked at by itself: one that is where its area's order puts the page is counted and
 * searched for, one that is not goes on a chain. Nothing is ever converted, and only what cannot be found otherwise
 * costs memory. Anonymous pages are always chained.
 *
 * Count and chain share one word of the frame. When a page has both kinds of entries, a slot of the chain holds the count:
 *
 *     linear entries only      count
 *     others only              entry, or chain of them
 *     both                     chain -> [ next | . . . e e e COUNT ]
 *
 * Removing makes the same test as adding, so the order of an area must not change while it maps anything: it does not
 * when areas are split, merged or moved. What was proposed in 2003 as the third of three steps, and never written.
 *
 * @models wli-2003-07 "incrementally build pte_chains for remap_file_pages()"
 * @differs the slot with the count is not kept in the first block; the entries on the chain are slots, not addresses
 */
import { ENOMEM } from "../../base/errno.ts";
import { SparseInt32 } from "../../base/sparse-array.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import { PG_ANON } from "../frames.ts";
import type { Vma } from "../vma.ts";
import { COUNT_SLOT } from "./chains.ts";
import { ObjectChain } from "./object-chain.ts";
import type { ChainsFor, MappedWorld } from "./reverse-map.ts";
import { atMost, type Visit } from "./search.ts";

export class ObjectChainIncremental extends ObjectChain {
  /** By frame: its entries that are only counted. */
  private readonly linear: SparseInt32;

  constructor(world: MappedWorld, chainsFor: ChainsFor) {
    super(world, chainsFor);
    this.linear = new SparseInt32(world.frames.count);
  }

  override wouldChain(frame: Pfn, slot: PteSlot, vma: Vma): boolean {
    const { frames } = this.world;
    return frames.has(frames.head(frame), PG_ANON) || !this.isLinear(frame, slot, vma);
  }

  override add(frame: Pfn, slot: PteSlot, vma: Vma): number {
    const head = this.world.frames.head(frame);
    const added = this.wouldChain(frame, slot, vma) ? this.addChained(head, slot) : this.addLinear(head);
    if (added === 0) this.countAdded(frame);
    return added;
  }

  override remove(frame: Pfn, slot: PteSlot, vma: Vma): void {
    const { chains, linear } = this;
    const head = this.world.frames.head(frame);
    if (this.wouldChain(frame, slot, vma)) {
      if (!chains.remove(head, slot)) chains.refuse(head, slot);
      if (chains.holdsOnly(head, COUNT_SLOT)) chains.remove(head, COUNT_SLOT);
    } else if (linear.add(head, -1) === 0 && !chains.isEmpty(head)) chains.remove(head, COUNT_SLOT);
    this.countRemoved(head);
  }

  override move(frame: Pfn, from: PteSlot, to: PteSlot): void {
    const head = this.world.frames.head(frame);
    if (!this.chains.replace(head, from, to) && this.linear.read(head) === 0) this.chains.refuse(head, from);
    this.costs.moves++;
  }

  override forEach(frame: Pfn, visit: Visit): void {
    if (!this.forEachChained(frame, visit)) return;
    const count = this.linear.read(frame);
    if (count === 0) return;
    const counted = atMost(this.world, count, visit);
    if (this.world.frames.mapping.read(frame) !== 0) this.forEachLinear(frame, counted);
    else this.search.everywhere(frame, (slot) => this.isChained(frame, slot) || counted(slot));
  }

  override forEachKnown(frame: Pfn, visit: Visit): void {
    if (!this.forEachChained(frame, visit)) return;
    const count = this.linear.read(frame);
    if (count > 0 && this.world.frames.mapping.read(frame) !== 0)
      this.forEachLinear(frame, atMost(this.world, count, visit));
  }

  private addChained(frame: Pfn, slot: PteSlot): number {
    const { chains } = this;
    const bringsCount = this.linear.read(frame) > 0 && chains.isEmpty(frame);
    if (bringsCount) chains.add(frame, COUNT_SLOT);
    if (this.chain(frame, slot) === 0) return 0;
    if (bringsCount) chains.remove(frame, COUNT_SLOT);
    return -ENOMEM;
  }

  private addLinear(frame: Pfn): number {
    const { chains, linear } = this;
    if (linear.read(frame) === 0 && !chains.isEmpty(frame) && !chains.add(frame, COUNT_SLOT)) return -ENOMEM;
    linear.add(frame, 1);
    return 0;
  }

  private forEachChained(frame: Pfn, visit: Visit): boolean {
    return this.chains.forEach(frame, (slot) => slot === COUNT_SLOT || visit(slot));
  }
}
