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
import { BATCH, shrinkZone } from "./shrink-zone.ts";
import { isAllStuck } from "./without-swap.ts";
import { EASY, ZonePages } from "./zone-pages.ts";

/** Sweeps in a row, from the easiest look to the hardest, that free nothing: then nobody tries on (MAX_RECLAIM_RETRIES). */
const FAILURES = 16;

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

  adopt(frame: Pfn, state = this.frames.flags.read(frame)): void {
    const { flags } = this.frames;
    const pages = this.pagesOf(frame);
    if ((state & PG_ANON) !== 0) {
      flags.write(frame, state | PG_LRU | PG_ACTIVE);
      pages.active.addHead(frame, state);
    } else {
      flags.write(frame, state | PG_LRU);
      pages.inactive.addHead(frame, state);
    }
  }

  adoptRun(first: Pfn, end: Pfn, state: number): void {
    const isAnonymous = (state & PG_ANON) !== 0;
    const { active, inactive } = this.pagesOf(first);
    this.frames.flags.put(first, end, state | PG_LRU | (isAnonymous ? PG_ACTIVE : 0));
    (isAnonymous ? active : inactive).addHeadRun(first, end);
  }

  forget(frame: Pfn): void {
    const { flags } = this.frames;
    const state = flags.read(frame);
    const pages = this.pagesOf(frame);
    ((state & PG_ACTIVE) !== 0 ? pages.active : pages.inactive).remove(frame);
    flags.write(frame, state & ~(PG_LRU | PG_ACTIVE));
  }

  forgetRun(first: Pfn, end: Pfn): void {
    const { active, inactive } = this.pagesOf(first);
    (this.frames.has(first, PG_ACTIVE) ? active : inactive).removeRun(first, end);
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

  /**
   * @models linux-2.6.11 mm/vmscan.c try_to_free_pages, shrink_caches
   * @differs nobody waits for a disk that is busy: there is no clock; any page freed counts as progress, as in 2.6.12; one
   *          sweep without progress is not the end, as it is in 2.6.11, but all pages looked at four times in vain
   */
  *freePages(kernel: Kernel, { want }: ReclaimRequest): Path<number> {
    this.costs.directTurns++;
    if (isAllStuck(kernel)) return 0;
    const zones = this.zones.filter(({ zone }) => zone.kind <= want).reverse();
    for (let failures = 0; failures < FAILURES; failures++) {
      const freed = yield* this.sweep(kernel, zones);
      if (freed > 0 || zones.every(isLookedThrough)) return freed;
    }
    return 0;
  }

  /** Looks at zones, the highest first, from an easy look to the hardest, until a batch is freed; how many pages were. */
  private *sweep(kernel: Kernel, zones: readonly ZonePages[]): Path<number> {
    let freed = 0;
    for (const pages of zones) pages.priority = EASY;
    for (let priority = EASY; priority >= 0; priority--) {
      const round = { priority, freed: 0 };
      for (const pages of zones) {
        notePriority(pages, priority);
        if (isWorthIt(pages, priority)) yield* shrinkZone(kernel, pages, round);
      }
      freed += round.freed;
      if (round.freed >= BATCH) break;
    }
    for (const pages of zones) pages.lastPriority = pages.priority;
    return freed;
  }

  /**
   * @models linux-2.6.11 mm/vmscan.c kswapd, balance_pgdat
   * @models linux-6.1 mm/vmscan.c kswapd_shrink_node, balance_pgdat (kswapd_failures)
   * @differs it balances for single frames, whatever the order that it was woken for; there is one node
   */
  *balance(kernel: Kernel): Path<void> {
    this.wake = false;
    this.costs.kswapdTurns++;
    if (isAllStuck(kernel)) {
      for (const { zone } of this.zones) if (zone.free <= zone.high) zone.isHopeless = true;
      return;
    }
    let failures = 0;
    while (failures < FAILURES) {
      const before = this.costs.pagesFreed;
      if ((yield* this.balanceOnce(kernel)) === "balanced") return;
      failures = this.costs.pagesFreed > before ? 0 : failures + 1;
    }
  }

  /** From an easy look to the hardest, until enough is freed; whether zones are still short then. */
  private *balanceOnce(kernel: Kernel): Path<"balanced" | "short"> {
    const { zones } = this;
    let freed = 0;
    let state: "balanced" | "short" = "balanced";
    for (const pages of zones) pages.priority = EASY;
    for (let priority = EASY; priority >= 0; priority--) {
      const last = this.highestShort(priority);
      state = "balanced";
      if (last < 0) break;
      // From the lowest zone up, against the order of allocation: allocators do not fill up what has just been freed.
      for (const pages of zones.slice(0, last + 1)) {
        const { zone } = pages;
        if (!isWorthIt(pages, priority)) continue;
        notePriority(pages, priority);
        if (zone.free <= zone.high + zone.reserve[zones[last]!.zone.kind]!) state = "short";
        const round = { priority, freed: 0 };
        yield* shrinkZone(kernel, pages, round);
        freed += round.freed;
        if (isLookedThrough(pages)) zone.isHopeless = true;
      }
      if (state === "balanced" || freed >= BATCH) break;
    }
    for (const pages of zones) pages.lastPriority = pages.priority;
    return state;
  }

  /** The highest zone below its high mark that there is hope for, or -1. */
  private highestShort(priority: number): number {
    return this.zones.findLastIndex((pages) => isWorthIt(pages, priority) && pages.zone.free <= pages.zone.high);
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

/**
 * A zone where there is nothing to be had is only looked at now and then, easily; until pages come that were not there then.
 *
 * @differs 2.6.11 waits for a page to be freed there, and here kswapd may have freed all that there were
 */
const isWorthIt = (pages: ZonePages, priority: number): boolean =>
  pages.zone.managed > 0 && (!pages.zone.isHopeless || priority === EASY || !isLookedThrough(pages));

/** Whether all its pages were looked at four times, and nothing was freed. */
const isLookedThrough = ({ zone, active, inactive }: ZonePages): boolean =>
  zone.scannedInVain >= (active.count + inactive.count) * 4;

/** How hard memory is to find there. */
function notePriority(pages: ZonePages, priority: number): void {
  pages.priority = priority;
  pages.lastPriority = Math.min(pages.lastPriority, priority);
}
