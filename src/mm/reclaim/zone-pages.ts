/**
 * The two page lists of a zone, and what reclaim remembers of it from one turn to the next.
 *
 *     new anonymous page                    new page of a file
 *            |                                     |
 *            v              used twice             v
 *     head [active] tail  <--------------  head [inactive] tail  -> looked at, written, freed
 *                    \                      ^
 *                     `--------------------'
 *                      not used, and nobody maps it or pressure is high
 *
 * @models linux-2.6.11 include/linux/mmzone.h struct zone
 */
import type { Frames } from "../frames.ts";
import type { Zone } from "../zone.ts";
import { PageList } from "./page-list.ts";

/** The priority of a turn that is not urgent (DEF_PRIORITY): it looks at a part in 2^12 of each list. */
export const EASY = 12;

export class ZonePages {
  readonly zone: Zone;
  readonly active: PageList;
  readonly inactive: PageList;
  /** Pages due to be looked at, that do not make a batch yet. */
  activeDue = 0;
  inactiveDue = 0;
  /** The priority that this turn, and the one before, had to come down to: how hard memory is to find. */
  priority = EASY;
  lastPriority = EASY;

  constructor(zone: Zone, frames: Frames) {
    this.zone = zone;
    this.active = new PageList("active", frames);
    this.inactive = new PageList("inactive", frames);
  }
}
