/**
 * Reclaim as 2.6 had it: two lists a zone. Pages that are used are on the active list, the others on the inactive one,
 * whose oldest are freed; the reverse map tells whether a mapped page was used, and takes it away from who maps it.
 * Mapped pages are left alone until memory is hard to find, or most of it is mapped. A page costs what its mappings cost
 * to look at, whoever has it; nobody's address space is walked.
 *
 * @models linux-2.6.11 mm/swap.c lru_cache_add, lru_cache_add_active, mark_page_accessed, activate_page
 * @models linux-6.1 mm/swap.c lru_deactivate_fn
 * @differs pages go on the lists at once; Linux gathers 14 of them for each CPU first
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { type Frames, PG_ACTIVE, PG_ANON, PG_LRU, PG_REFERENCED } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import type { Zone } from "../zone.ts";
import type { PageList } from "./page-list.ts";
import { noReclaimCosts, type Reclaim, type ReclaimRequest } from "./reclaim.ts";
import type { ReclaimParts } from "./reclaims.ts";
import { ZonePages } from "./zone-pages.ts";

export class TwoLists implements Reclaim {
  readonly costs = noReclaimCosts();
  wake = false;
  private readonly frames: Frames;
  /** By zone, lowest addresses first. */
  private readonly zones: readonly ZonePages[];

  constructor({ frames, allocator }: ReclaimParts) {
    this.frames = frames;
    this.zones = allocator.zones.map((zone) => new ZonePages(zone, frames));
  }

  adopt(frame: Pfn): void {
    const { flags } = this.frames;
    const state = flags.read(frame);
    const pages = this.pagesOf(frame);
    if ((state & PG_ANON) !== 0) {
      flags.write(frame, state | PG_LRU | PG_ACTIVE);
      pages.active.addHead(frame);
    } else {
      flags.write(frame, state | PG_LRU);
      pages.inactive.addHead(frame);
    }
  }

  forget(frame: Pfn): void {
    const { flags } = this.frames;
    const state = flags.read(frame);
    const pages = this.pagesOf(frame);
    ((state & PG_ACTIVE) !== 0 ? pages.active : pages.inactive).remove(frame);
    flags.write(frame, state & ~(PG_LRU | PG_ACTIVE));
  }

  touched(frame: Pfn): void {
    const { frames } = this;
    const state = frames.flags.read(frame);
    if ((state & PG_REFERENCED) === 0) frames.flags.write(frame, state | PG_REFERENCED);
    else if ((state & (PG_LRU | PG_ACTIVE)) === PG_LRU) this.activate(frame, state);
  }

  deactivate(frame: Pfn): void {
    const { frames } = this;
    const state = frames.flags.read(frame);
    if ((state & (PG_LRU | PG_ACTIVE)) === (PG_LRU | PG_ACTIVE)) {
      const { active, inactive } = this.pagesOf(frame);
      active.remove(frame);
      inactive.addHead(frame);
      this.costs.pagesMoved++;
    }
    frames.flags.write(frame, state & ~(PG_ACTIVE | PG_REFERENCED));
  }

  listsOf(zone: Zone): readonly PageList[] {
    const { active, inactive } = this.zones.find((pages) => pages.zone === zone) ?? bug(`${zone.name} has no lists`);
    return [active, inactive];
  }

  // biome-ignore lint/correctness/useYield: nothing to wait for yet
  *freePages(_kernel: Kernel, _request: ReclaimRequest): Path<number> {
    return 0;
  }

  // biome-ignore lint/correctness/useYield: nothing to wait for yet
  *balance(_kernel: Kernel): Path<void> {
    this.wake = false;
  }

  /** An inactive page that is used a second time. */
  private activate(frame: Pfn, state: number): void {
    const { active, inactive } = this.pagesOf(frame);
    inactive.remove(frame);
    active.addHead(frame);
    this.frames.flags.write(frame, (state & ~PG_REFERENCED) | PG_ACTIVE);
    this.costs.pagesMoved++;
  }

  private pagesOf(frame: Pfn): ZonePages {
    const { zones } = this;
    for (let at = zones.length - 1; at > 0; at--) if (frame >= zones[at]!.zone.first) return zones[at]!;
    return zones[0]!;
  }
}
