/**
 * Every entry is on its frame's chain: adding may need memory, removing walks the chain, and asking is a walk that
 * finds nothing else. How chains are made is one of the generations of `Chains`.
 *
 * @models linux-2.6.0 mm/rmap.c page_add_rmap, page_remove_rmap, page_referenced
 */
import { ENOMEM } from "../../base/errno.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Vma } from "../vma.ts";
import type { Chains } from "./chains.ts";
import { CountedMap } from "./counted-map.ts";
import type { ChainingMap, ChainsFor, MappedWorld } from "./reverse-map.ts";
import type { Visit } from "./search.ts";

export class ChainedMap extends CountedMap implements ChainingMap {
  readonly chains: Chains;

  constructor(world: MappedWorld, chainsFor: ChainsFor) {
    super(world);
    this.chains = chainsFor(this.costs);
  }

  override get bytes(): number {
    return this.chains.memory.bytes;
  }

  override reserve(): number {
    return this.chains.memory.reserve(this.chains.blocksPerAdd);
  }

  override add(frame: Pfn, slot: PteSlot, _vma: Vma): number {
    if (!this.chains.add(this.world.frames.head(frame), slot)) return -ENOMEM;
    this.countAdded(frame);
    return 0;
  }

  override addRun(first: Pfn, end: Pfn, slot: PteSlot, _vma: Vma): void {
    this.chains.addRun(first, end, slot);
    this.countAllAdded(first, end);
  }

  override removeRun(first: Pfn, end: Pfn, slot: PteSlot, _vma: Vma): void {
    this.chains.removeRun(first, end, slot);
    this.countAllRemoved(first, end);
  }

  override remove(frame: Pfn, slot: PteSlot, _vma: Vma): void {
    const head = this.world.frames.head(frame);
    if (!this.chains.remove(head, slot)) this.chains.refuse(head, slot);
    this.countRemoved(frame);
  }

  override move(frame: Pfn, from: PteSlot, to: PteSlot): void {
    const head = this.world.frames.head(frame);
    if (!this.chains.replace(head, from, to)) this.chains.refuse(head, from);
    this.costs.moves++;
  }

  override forEach(frame: Pfn, visit: Visit): void {
    this.chains.forEach(frame, visit);
  }

  override collapse(frame: Pfn): void {
    this.chains.collapse(frame);
  }

  wouldChain(_frame: Pfn, _slot: PteSlot, _vma: Vma): boolean {
    return true;
  }

  isChained(frame: Pfn, slot: PteSlot): boolean {
    return this.chains.has(this.world.frames.head(frame), slot);
  }
}
