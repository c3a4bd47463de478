/**
 * Reclaim as the rmap patches for 2.4 had it, up to RHEL3: every page has an age. The entries of a page are asked whether
 * it was used, which makes it older; pages that were not used for long go out in three steps: emptied of entries and
 * written, waiting for the disk, and clean, where they wait for an allocation to take them. Clean pages count as nearly
 * free: kswapd is content with them, and an allocation that is short takes one without waiting.
 *
 *     refill: age 0, not used    launder: emptied          laundry: written        an allocation is short
 *     [active] ----------------> [dirty] ----------------> [laundry] ------------> [clean] ----> free
 *         ^                        | used, or cannot go                              | used again
 *         `------------------------+------------------------------------------------'
 *
 * @models rmap15 mm/vmscan.c refill_inactive_zone, rebalance_dirty_zone, rebalance_laundry_zone, launder_page, reclaim_page
 * @models rmap15 mm/page_alloc.c __alloc_pages
 * @differs no limits of resident memory; the share of the cache has one border (vm.pagecache's borrow), not three; as much
 *          of a list is looked at as a priority says, from a 64th to all of it, where rmap15 counts what it has freed
 */
import { bug } from "../../base/errors.ts";
import { SparseInt8 } from "../../base/sparse-array.ts";
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { type Frames, PG_ACTIVE, PG_ANON, PG_DIRTY, PG_LRU, PG_REFERENCED, PG_WRITEBACK } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import { addToSwap } from "../swap/swap-cache.ts";
import type { Zone } from "../zone.ts";
import { AgedZone, ANON, CACHE, type Kind } from "./aged-zone.ts";
import type { PageList } from "./page-list.ts";
import { freeUnused, writeOut } from "./page-out.ts";
import { needsSlot } from "./page-place.ts";
import { noReclaimCosts, type Reclaim, type ReclaimRequest } from "./reclaim.ts";
import type { ReclaimParts } from "./reclaims.ts";
import { referenced } from "./referenced.ts";
import { tryToUnmap } from "./try-to-unmap.ts";

/** Pages that one step moves or frees. */
const BATCH = 32;
/** How much of its lists a turn looks at: from a part in 2^6 to all. */
const EASY = 6;
/** Below this priority memory is hard to find: active pages are aged and taken whatever there is of others. */
const HARD = 2;
/** Times that all priorities are gone through before there is nothing to be had: first uses are forgotten, then pages go. */
const ROUNDS = 3;
/** Active pages are aged while less than a part in so many of all pages is on its way out. */
const INACTIVE_SHARE = 5;
/** Per cent of a zone's pages above which only those of files are taken, as long as there are some (vm.pagecache). */
const CACHE_BORROWS = 15;

export class AgeingLists implements Reclaim {
  readonly costs = noReclaimCosts();
  wake = false;
  private readonly frames: Frames;
  /** Lowest addresses first. */
  private readonly zones: readonly AgedZone[];

  constructor({ frames, allocator }: ReclaimParts) {
    this.frames = frames;
    const places = new SparseInt8(frames.count);
    this.zones = allocator.zones.map((zone) => new AgedZone(zone, frames, places));
  }

  adopt(frame: Pfn, state = this.frames.flags.read(frame)): void {
    this.frames.flags.write(frame, state | PG_LRU);
    this.putActive(frame);
  }

  adoptRun(first: Pfn, end: Pfn, state: number): void {
    for (let frame = first; frame < end; frame++) this.adopt(frame, state);
  }

  forget(frame: Pfn): void {
    this.zoneOf(frame).remove(frame);
    this.frames.clearFlag(frame, PG_LRU | PG_ACTIVE);
  }

  forgetRun(first: Pfn, end: Pfn): void {
    for (let frame = first; frame < end; frame++) this.forget(frame);
  }

  /** A page on its way out that is used twice comes back, a clean one at once. */
  touched(frame: Pfn): void {
    const { frames } = this;
    const state = frames.flags.read(frame);
    const isLeaving = (state & (PG_LRU | PG_ACTIVE)) === PG_LRU;
    if (isLeaving && ((state & PG_REFERENCED) !== 0 || this.zoneOf(frame).isClean(frame))) this.activate(frame);
    frames.setFlag(frame, PG_REFERENCED);
  }

  deactivate(frame: Pfn): void {
    if (this.frames.has(frame, PG_LRU)) {
      this.zoneOf(frame).putNext(frame);
      this.costs.pagesMoved++;
    }
    this.frames.clearFlag(frame, PG_ACTIVE | PG_REFERENCED);
  }

  listsOf(zone: Zone): readonly PageList[] {
    const aged = this.zones.find((each) => each.zone === zone) ?? bug(`${zone.name} has no lists`);
    return aged.lists;
  }

  /** Clean pages are there for the taking; only when there are none, more must be made. */
  *freePages(kernel: Kernel, request: ReclaimRequest): Path<number> {
    const zones = this.zones.filter(({ zone }) => zone.kind <= request.want);
    let freed = this.freeClean(kernel, zones);
    if (freed > 0) return freed;
    this.costs.directTurns++;
    for (let round = 0; round < ROUNDS; round++) {
      for (let priority = EASY; priority >= 0; priority--) {
        for (const zone of zones) yield* this.rebalance(kernel, zone, priority);
        freed = this.freeClean(kernel, zones);
        if (freed > 0) return freed;
      }
    }
    return 0;
  }

  /** Until each zone has enough pages that are free or clean; what is short of free ones then gets clean ones. */
  *balance(kernel: Kernel): Path<void> {
    this.wake = false;
    this.costs.kswapdTurns++;
    for (const aged of this.zones) {
      const { zone } = aged;
      for (let priority = EASY; priority >= 0 && isShort(aged); ) {
        const before = aged.clean.count;
        yield* this.rebalance(kernel, aged, priority);
        if (aged.clean.count <= before) priority--;
      }
      while (zone.free < zone.low && this.freeClean(kernel, [aged]) > 0);
    }
  }

  /** One step of everything, for one zone. */
  private *rebalance(kernel: Kernel, aged: AgedZone, priority: number): Path<void> {
    const all = aged.activePages + aged.inactivePages;
    const isShortOfInactive = aged.inactivePages * INACTIVE_SHARE < all;
    if (isShortOfInactive || priority < HARD) yield* this.refill(kernel, aged, priority);
    yield* this.launder(kernel, aged, priority);
    this.collect(aged);
  }

  /** Ages active pages, and starts those on their way out that were not used for long. */
  private *refill(kernel: Kernel, aged: AgedZone, priority: number): Path<void> {
    const most = partOf(aged.activePages, priority);
    let moved = 0;
    for (let scan = 0; scan < most && moved < BATCH && aged.activePages > 0; scan++) {
      const frame = aged.nextActive(kindToAge(aged, scan, priority));
      this.costs.pagesScanned++;
      this.costs.pagesMoved++;
      if (!tryLockPage(kernel, frame)) {
        aged.ageUp(frame);
        continue;
      }
      if (referenced(kernel, frame) > 0) aged.ageUp(frame);
      else {
        aged.putDirty(frame);
        this.frames.clearFlag(frame, PG_ACTIVE);
        moved++;
      }
      unlockPage(kernel, frame);
    }
    if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
  }

  /** Empties the oldest pages on their way out, and has them written. */
  private *launder(kernel: Kernel, aged: AgedZone, priority: number): Path<void> {
    const { frames } = this;
    const most = partOf(aged.dirty.count, priority);
    let emptied = 0;
    for (let scan = 0; scan < most && emptied < BATCH && aged.dirty.count > 0; scan++) {
      const frame = aged.dirty.tail;
      this.costs.pagesScanned++;
      this.costs.pagesMoved++;
      aged.rotate(frame);
      if (frames.has(frame, PG_WRITEBACK) || !tryLockPage(kernel, frame)) continue;
      frames.addReference(frame);
      if (yield* this.launderPage(kernel, aged, frame)) emptied++;
      kernel.allocator.release(frame);
    }
  }

  /**
   * Takes the page from everybody who maps it, and has it written if it is dirty: it is laundry, or clean. Or it was used,
   * or has no place to go: it is active again. Whether nobody maps it. Requires: it is locked, and is not afterwards; it
   * is on the list of dirty pages; the caller has a reference.
   */
  private *launderPage(kernel: Kernel, aged: AgedZone, frame: Pfn): Path<boolean> {
    const { frames } = this;
    const outcome = yield* emptied(kernel, frame);
    // It may have left all lists meanwhile.
    const isListed = frames.has(frame, PG_LRU);
    if (outcome === "activate" && isListed) this.activate(frame);
    if (outcome !== "all") {
      unlockPage(kernel, frame);
      return false;
    }
    if (frames.has(frame, PG_DIRTY)) {
      if (isListed) aged.putLaundry(frame);
      yield* writeOut(kernel, frame);
      return true;
    }
    if (isListed) aged.putClean(frame);
    unlockPage(kernel, frame);
    return true;
  }

  /** Laundry that has come back from the disk is clean, unless somebody has made it dirty again, or uses it. */
  private collect(aged: AgedZone): void {
    const { frames } = this;
    for (let left = aged.laundry.count; left > 0; left--) {
      const frame = aged.laundry.tail;
      this.costs.pagesMoved++;
      if (frames.has(frame, PG_WRITEBACK)) aged.rotate(frame);
      else if (frames.has(frame, PG_DIRTY) || frames.mapCount.read(frame) > 0) aged.putDirty(frame);
      else aged.putClean(frame);
    }
  }

  /** Frees up to a batch of clean pages; one that is wanted again after all is active. How many were freed. */
  private freeClean(kernel: Kernel, zones: readonly AgedZone[]): number {
    const { frames, costs } = this;
    let freed = 0;
    for (const { clean } of [...zones].reverse()) {
      while (clean.count > 0 && freed < BATCH) {
        const frame = clean.tail;
        costs.pagesScanned++;
        frames.addReference(frame);
        const isLocked = tryLockPage(kernel, frame);
        if (isLocked && freeUnused(kernel, frame)) {
          freed++;
          costs.pagesFreed++;
        } else this.activate(frame);
        if (isLocked) unlockPage(kernel, frame);
        kernel.allocator.release(frame);
      }
    }
    return freed;
  }

  /** A page that was on its way out is active again. */
  private activate(frame: Pfn): void {
    this.costs.pagesMoved++;
    this.putActive(frame);
  }

  private putActive(frame: Pfn): void {
    this.zoneOf(frame).activate(frame, this.frames.has(frame, PG_ANON) ? ANON : CACHE);
    this.frames.setFlag(frame, PG_ACTIVE);
  }

  private zoneOf(frame: Pfn): AgedZone {
    const { zones } = this;
    for (let at = zones.length - 1; at > 0; at--) if (frame >= zones[at].zone.first) return zones[at];
    return zones[0];
  }
}

/**
 * Takes the page from everybody who maps it: "all". It was used, may not go, or has no place in swap: "activate".
 * Somebody's tables are busy: "again". Requires: it is locked.
 */
function* emptied(kernel: Kernel, frame: Pfn): Path<"all" | "again" | "activate"> {
  const { frames, tlbFlush } = kernel;
  const isUsed = referenced(kernel, frame) > 0;
  if (tlbFlush.owes) yield* tlbFlush.settle();
  if (isUsed && frames.mapCount.read(frame) > 0) return "activate";
  if (needsSlot(frames, frame) && addToSwap(kernel, frame) < 0) return "activate";
  if (frames.mapCount.read(frame) === 0) return "all";
  const outcome = yield* tryToUnmap(kernel, frame, { locked: "respect" });
  return outcome === "refused" ? "activate" : outcome;
}

const isShort = ({ zone, clean }: AgedZone): boolean => zone.managed > 0 && zone.free + clean.count < zone.high;

/** How many of so many pages a turn of this priority looks at: a batch at least. */
const partOf = (pages: number, priority: number): number => Math.max(BATCH, pages >> priority);

/** The pages of files, while they have more than their share and memory is not hard to find; else all by turns. */
function kindToAge(aged: AgedZone, turn: number, priority: number): Kind {
  if (aged.pagesOf(ANON) === 0) return CACHE;
  if (aged.pagesOf(CACHE) === 0) return ANON;
  const share = (aged.pagesOf(CACHE) * 100) / aged.activePages;
  if (share > CACHE_BORROWS && priority >= HARD) return CACHE;
  return turn % 2 === 0 ? CACHE : ANON;
}
