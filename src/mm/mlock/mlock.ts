/**
 * What an area's being locked means for the reverse map. A page of a VM_LOCKED area never leaves memory, so nobody asks
 * for its entries: keeping them all the same costs memory, leaving them out costs time when the area is unlocked.
 *
 *     chained   entries of locked areas are chained as all others: reclaim finds them, and lets the page be
 *     counted   entries of locked areas are only counted, in the page's own list links, which it does not need meanwhile
 */
import type { Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { Kernel } from "../kernel.ts";
import type { Vma } from "../vma.ts";

export interface Mlock {
  /**
   * The pages `[first, end)` of `vma` are about to be locked no longer. 0, or -ENOMEM: then the area must stay locked,
   * and nothing is lost. Requires: mmap_sem is held for writing.
   */
  unlock(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<number>;
}
