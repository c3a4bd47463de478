/**
 * Chains of soft pages that are always mapped whole: the entry of the first part stands for all, and is found again by counting
 * from it. So a mapping of a soft page costs one link, and nobody looks at entries to know which.
 *
 *     page table   [ . . . . | 0 1 2 3 | . . . . | 0 1 2 3 ]     parts of one soft page that entries map
 *                              ^                   ^             on its chain: two of eight
 *
 * What it takes is that no part is ever mapped without the others, at another place than behind the first: BSD's style.
 *
 * Source: William Lee Irwin III, "Re: What to expect with the 2.6 VM", linux-kernel, July 2003 ("BSD-style page clustering
 * preserves virtual contiguity of a software page").
 */
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { Vma } from "../vma.ts";
import { ChainedMap } from "./chained-map.ts";
import type { Visit } from "./search.ts";

export class FirstPartMap extends ChainedMap {
  override add(frame: Pfn, slot: PteSlot, vma: Vma): number {
    if (this.isFirst(frame)) return super.add(frame, slot, vma);
    this.countAdded(frame);
    return 0;
  }

  override addRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    this.addEach(first, end, slot, vma);
  }

  override remove(frame: Pfn, slot: PteSlot, vma: Vma): void {
    if (this.isFirst(frame)) super.remove(frame, slot, vma);
    else this.countRemoved(frame);
  }

  override removeRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    this.removeEach(first, end, slot, vma);
  }

  override move(frame: Pfn, from: PteSlot, to: PteSlot): void {
    if (this.isFirst(frame)) super.move(frame, from, to);
  }

  override forEach(frame: Pfn, visit: Visit): void {
    const { softFrames } = this.world.frames;
    const chained: PteSlot[] = [];
    this.chains.forEach(frame, (slot) => chained.push(slot) > 0);
    for (const slot of chained) for (let part = 0; part < softFrames; part++) if (!visit(slot + part)) return;
  }

  private isFirst(frame: Pfn): boolean {
    return this.world.frames.partOf(frame) === 0;
  }
}
