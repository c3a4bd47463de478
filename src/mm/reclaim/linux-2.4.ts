/**
 * Reclaim as 2.4 had it: one active and one inactive list for the whole machine, and no reverse map. Pages go from the
 * tail of the inactive list, if nobody maps them. When too many of those met there are mapped, address spaces are walked
 * in virtual order and entries taken away (swap-out.ts), until enough pages are left to their caches alone. Faults are
 * cheap, since nothing is kept; but a page goes only when every entry that maps it was met, and all others with them.
 *
 *     new page --> head [inactive] tail --> looked at: in use by entries, counted --> too many: swap_out
 *                    ^       |                         dirty: written, comes round again
 *        not used    |       | used twice              else freed
 *                   tail [active] head
 *
 * @models linux-2.4.22 mm/vmscan.c try_to_free_pages_zone, shrink_caches, shrink_cache, refill_inactive, kswapd_balance
 * @models linux-2.4.22 mm/swap.c lru_cache_add, mark_page_accessed; mm/oom_kill.c out_of_memory
 * @differs slabs, names and inodes are not shrunk: the slabs here keep nothing that is unused; a
 *          page found under way to the disk is passed over, where 2.4 waits if it had it written itself (PG_launder)
 * @differs a round that finds nothing is tried ten times, and is then the end, even with swap left: 2.4 would try for ever
 */
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { Allocator, Want } from "../allocator.ts";
import { type Frames, NO_FRAME, PG_ACTIVE, PG_ANON, PG_DIRTY, PG_LRU, PG_REFERENCED, PG_WRITEBACK } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import type { Zone } from "../zone.ts";
import { PageList } from "./page-list.ts";
import { freeUnused, writeOut } from "./page-out.ts";
import { isCached } from "./page-place.ts";
import { noReclaimCosts, type Reclaim, type ReclaimRequest } from "./reclaim.ts";
import type { ReclaimParts } from "./reclaims.ts";
import { SwapOut } from "./swap-out.ts";

/** Pages that one round is to free (SWAP_CLUSTER_MAX). */
const BATCH = 32;
/** How urgent a round is: from a sixth of the inactive list (DEF_PRIORITY) to all of it. */
const EASY = 6;
/** Rounds in a row without a page freed that are no reason to give up yet. */
const FAILURES = 10;

export class GlobalLists implements Reclaim {
  readonly costs = noReclaimCosts();
  wake = false;
  private readonly frames: Frames;
  private readonly allocator: Allocator;
  private readonly active: PageList;
  private readonly inactive: PageList;
  private readonly swapOut = new SwapOut();

  constructor({ frames, allocator }: ReclaimParts) {
    this.frames = frames;
    this.allocator = allocator;
    this.active = new PageList("active", frames);
    this.inactive = new PageList("inactive", frames);
  }

  adopt(frame: Pfn, state = this.frames.flags.read(frame)): void {
    this.frames.flags.write(frame, born(state));
    this.inactive.addHead(frame, state);
  }

  adoptRun(first: Pfn, end: Pfn, state: number): void {
    this.frames.flags.put(first, end, born(state));
    this.inactive.addHeadRun(first, end);
  }

  forget(frame: Pfn): void {
    this.listOf(frame).remove(frame);
    this.frames.clearFlag(frame, PG_LRU | PG_ACTIVE);
  }

  forgetRun(first: Pfn, end: Pfn): void {
    for (let frame = first; frame < end; frame++) this.forget(frame);
  }

  touched(frame: Pfn): void {
    const { frames } = this;
    const state = frames.flags.read(frame);
    if ((state & (PG_ACTIVE | PG_REFERENCED | PG_LRU)) === (PG_REFERENCED | PG_LRU)) {
      this.inactive.remove(frame);
      this.active.addHead(frame);
      frames.flags.write(frame, (state & ~PG_REFERENCED) | PG_ACTIVE);
      this.costs.pagesMoved++;
    } else frames.setFlag(frame, PG_REFERENCED);
  }

  deactivate(frame: Pfn): void {
    const { frames } = this;
    if (frames.has(frame, PG_LRU)) {
      this.listOf(frame).remove(frame);
      this.inactive.addTail(frame);
      this.costs.pagesMoved++;
    }
    frames.clearFlag(frame, PG_ACTIVE | PG_REFERENCED);
  }

  listsOf(zone: Zone): readonly PageList[] {
    return zone === this.allocator.zones[0] ? [this.active, this.inactive] : [];
  }

  /** @models linux-2.4.22 mm/page_alloc.c balance_classzone */
  *freePages(kernel: Kernel, request: ReclaimRequest): Path<number> {
    this.costs.directTurns++;
    for (let failures = 0; failures < FAILURES; failures++) {
      const freed = yield* this.round(kernel, request.want);
      if (freed > 0) return freed;
    }
    return 0;
  }

  /**
   * Zones from the highest down, as long as neither they nor those below have enough.
   *
   * @differs 2.4 notes which zones' allocations failed; here a zone is due when it is below its low mark
   */
  *balance(kernel: Kernel): Path<void> {
    this.wake = false;
    this.costs.kswapdTurns++;
    const { zones } = this.allocator;
    for (let at = zones.length - 1; at >= 0; at--) {
      const zone = zones[at];
      let due = zone.managed > 0 && zone.free <= zone.low;
      while (due) {
        if ((yield* this.round(kernel, zone.kind)) < BATCH) break;
        due = zones.slice(0, at + 1).every(({ free, high }) => free <= high);
      }
    }
  }

  /** One round through all priorities, for pages of zones up to `want`; how many were freed. */
  private *round(kernel: Kernel, want: Want): Path<number> {
    let left = BATCH;
    for (let priority = EASY; priority > 0 && left > 0; priority--) {
      const ratio = Math.floor((left * this.active.count) / ((this.inactive.count + 1) * 2));
      this.refillInactive(ratio);
      left = yield* this.shrinkCache(kernel, want, priority, left);
    }
    return BATCH - left;
  }

  /** Moves the oldest `pages` that were not used from the active list to the inactive one: one use more brings them back. */
  private refillInactive(pages: number): void {
    const { frames, active, inactive, costs } = this;
    let left = pages;
    for (let frame = active.tail; left > 0 && frame !== NO_FRAME; ) {
      const before = frames.previous.read(frame);
      costs.pagesMoved++;
      active.remove(frame);
      if (frames.has(frame, PG_REFERENCED)) {
        frames.clearFlag(frame, PG_REFERENCED);
        active.addHead(frame);
      } else {
        frames.flags.write(frame, (frames.flags.read(frame) & ~PG_ACTIVE) | PG_REFERENCED);
        inactive.addHead(frame);
        left--;
      }
      frame = before;
    }
  }

  /**
   * Looks at the oldest inactive pages of zones up to `want`, and frees `wanted` of them; how many are missing. Too many
   * that are mapped end the scan with a walk of address spaces.
   */
  private *shrinkCache(kernel: Kernel, want: Want, priority: number, wanted: number): Path<number> {
    const { inactive, costs } = this;
    let left = wanted;
    const most = Math.floor(inactive.count / priority);
    let mapped = Math.min(left << (10 - priority), Math.floor(most / 10));
    for (let scan = 0; scan < most && inactive.count > 0; scan++) {
      const frame = inactive.tail;
      costs.pagesScanned++;
      this.rotate(frame);
      if (this.allocator.zoneOf(frame).kind > want) continue;
      const outcome = yield* this.shrinkPage(kernel, frame);
      if (outcome === "freed") {
        costs.pagesFreed++;
        if (--left === 0) break;
      } else if (outcome === "used" && --mapped < 0) {
        yield* this.swapOut.walk(kernel, want);
        break;
      }
    }
    return left;
  }

  /**
   * Frees the page, if only its cache has it and its contents are safe. Somebody else has it: "used". A dirty one is
   * written, and comes round again.
   */
  private *shrinkPage(kernel: Kernel, frame: Pfn): Path<"freed" | "kept" | "used"> {
    const { frames } = this;
    if (frames.refs.read(frame) !== 1 || !isCached(frames, frame)) return "used";
    if (frames.has(frame, PG_WRITEBACK) || !tryLockPage(kernel, frame)) return "kept";
    frames.addReference(frame);
    const isFree = freeUnused(kernel, frame);
    if (!isFree && frames.has(frame, PG_DIRTY)) yield* writeOut(kernel, frame);
    else unlockPage(kernel, frame);
    kernel.allocator.release(frame);
    return isFree ? "freed" : "kept";
  }

  private rotate(frame: Pfn): void {
    this.inactive.remove(frame);
    this.inactive.addHead(frame);
    this.costs.pagesMoved++;
  }

  private listOf(frame: Pfn): PageList {
    return this.frames.has(frame, PG_ACTIVE) ? this.active : this.inactive;
  }
}

/** The flags of a page that is new on the lists: an anonymous one counts as used once. */
const born = (state: number): number => state | ((state & PG_ANON) !== 0 ? PG_LRU | PG_REFERENCED : PG_LRU);
