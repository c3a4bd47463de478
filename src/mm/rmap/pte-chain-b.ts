/**
 * Chains of cache lines: a pointer to the next line, and as many entries as the rest of it holds. A walk touches few
 * lines, and a mapping costs little more than its own word. Which slots of the head are free has to be looked for: each
 * walk starts by passing over them, and each new entry by passing over those that are used.
 *
 *     frame 9   -> [ next | . . e e e e e ] -> [ end | e e e e e e e ]
 *
 * @models linux-2.5.34 mm/rmap.c page_add_rmap, page_remove_rmap; linux-2.5.35 for pte_addr_t
 */
import { Chains, EMPTY } from "./chains.ts";

export class SearchedChains extends Chains {
  protected override firstUsed(block: number): number {
    const { slots, width, costs } = this;
    let first = 0;
    while (slots[block * width + first] === EMPTY) first++;
    costs.linksFollowed += first;
    return first;
  }

  /** From the end on; but first a look at whether any is free. */
  protected override lastFree(block: number): number {
    const { slots, width, costs } = this;
    costs.linksFollowed++;
    if (slots[block * width] !== EMPTY) return -1;
    let last = width - 2;
    costs.linksFollowed++;
    while (slots[block * width + last] !== EMPTY) {
      last--;
      costs.linksFollowed++;
    }
    return last;
  }

  protected override noteFirst(): void {}
}
