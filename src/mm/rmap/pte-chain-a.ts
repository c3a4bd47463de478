/**
 * Chains of links, one entry each: the first that Linux had. A link is a pointer to the next one and one to the entry,
 * so each mapping of a shared page costs two words; a page that is mapped once keeps its entry itself (PG_direct).
 *
 *     frame 9   -> [ next | e ] -> [ next | e ] -> [ end | e ]
 *
 * Links are pointers to entries, which must therefore be mapped: tables in highmem and these chains exclude each other.
 *
 * @models linux-2.5.27 mm/rmap.c page_add_rmap, page_remove_rmap, struct pte_chain
 * @differs links come from a slab; for some weeks they had a free list of their own
 */
import { type ChainShape, Chains } from "./chains.ts";

export const linkBytes = (shape: ChainShape): number => shape.pointerBytes + shape.slotBytes;

/** A link is a block of one slot, which is used as long as the link is on a chain. */
export class LinkChains extends Chains {
  protected override firstUsed(_block: number): number {
    return 0;
  }

  protected override lastFree(_block: number): number {
    return -1;
  }

  protected override noteFirst(): void {}
}
