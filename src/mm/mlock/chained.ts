/**
 * Entries of locked areas are chained as all others are. Locking and unlocking cost nothing and cannot fail, and each
 * process that maps a locked segment pays for its chains although nobody will ever follow them.
 *
 * @models linux-2.6.0 mm/rmap.c page_add_rmap, try_to_unmap_one
 */
import type { Path } from "../../sync/path.ts";
import type { Mlock } from "./mlock.ts";

export class ChainedLocks implements Mlock {
  // biome-ignore lint/correctness/useYield: nothing to wait for
  *unlock(): Path<number> {
    return 0;
  }
}
