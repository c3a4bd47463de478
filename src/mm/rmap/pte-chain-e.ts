/**
 * Chains of cache lines whose first word says which slot is the first used one, so that nothing is looked for: lines
 * are aligned and the number of slots is below a line's alignment, which leaves the pointer's low bits free for it.
 *
 *     frame 9   -> [ next | 2 . . e e e e e ] -> [ end | 0 e e e e e e e ]
 *
 * @models linux-2.6.0 mm/rmap.c page_add_rmap, page_remove_rmap, struct pte_chain
 * @differs the two halves of next_and_idx are two arrays
 */
import type { ChainMemory } from "./chain-memory.ts";
import { Chains } from "./chains.ts";
import type { ReverseMapCosts } from "./reverse-map.ts";

export class IndexedChains extends Chains {
  /** By block: its first used slot. */
  private firsts: Uint8Array;

  constructor(frames: number, width: number, memory: ChainMemory, costs: ReverseMapCosts) {
    super(frames, width, memory, costs);
    this.firsts = new Uint8Array(this.slots.length / width);
  }

  protected override firstUsed(block: number): number {
    return this.firsts[block]!;
  }

  protected override lastFree(block: number): number {
    return this.firsts[block]! - 1;
  }

  protected override noteFirst(block: number, first: number): void {
    this.firsts[block] = first;
  }

  protected override enlarge(): void {
    super.enlarge();
    const firsts = new Uint8Array(this.firsts.length * 2);
    firsts.set(this.firsts);
    this.firsts = firsts;
  }
}
