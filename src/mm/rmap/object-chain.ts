/**
 * What the hybrids share, which search for what the file's areas can tell and chain the rest: anonymous pages always,
 * pages of files where an entry is not at the place that its area's order gives the page. They differ in what they do
 * when a page of a file has such an entry.
 */
import { ENOMEM } from "../../base/errno.ts";
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Vma } from "../vma.ts";
import type { Chains } from "./chains.ts";
import { CountedMap } from "./counted-map.ts";
import type { ChainingMap, ChainsFor, MappedWorld } from "./reverse-map.ts";
import { Search, type Visit } from "./search.ts";

export abstract class ObjectChain extends CountedMap implements ChainingMap {
  readonly chains: Chains;
  protected readonly search: Search;

  constructor(world: MappedWorld, chainsFor: ChainsFor) {
    super(world);
    this.chains = chainsFor(this.costs);
    this.search = new Search(world, this.costs);
  }

  override get bytes(): number {
    return this.chains.memory.bytes;
  }

  override reserve(): number {
    return this.chains.memory.reserve(this.chains.blocksPerAdd);
  }

  override collapse(frame: Pfn): void {
    this.chains.collapse(frame);
  }

  abstract wouldChain(frame: Pfn, slot: PteSlot, vma: Vma): boolean;

  isChained(frame: Pfn, slot: PteSlot): boolean {
    return this.chains.has(this.world.frames.head(frame), slot);
  }

  /** Whether the entry is where its area's order puts the page. */
  protected isLinear(frame: Pfn, slot: PteSlot, vma: Vma): boolean {
    const { tables, frames } = this.world;
    return vma.indexAt(tables.pageIn(slot, vma)) === frames.indexOf(frame);
  }

  protected chain(frame: Pfn, slot: PteSlot): number {
    return this.chains.add(this.world.frames.head(frame), slot) ? 0 : -ENOMEM;
  }

  /** Visits the linear entries of a page that is in its file; whether `visit` never had enough. */
  protected forEachLinear(frame: Pfn, visit: Visit): boolean {
    const { search } = this;
    if (!search.fileAreas(frame, visit)) return false;
    for (const vma of search.nonlinearAreas(frame)) if (!search.linear(vma, frame, visit)) return false;
    return true;
  }
}
