/**
 * The page allocator: which zone serves a request, what it must leave there, and who then owns the frames.
 *
 * `tryAllocate` never waits; what it finds below a low mark wakes kswapd. `allocate` is a path, because that is where
 * reclaim belongs: when the zones are down to their marks it frees memory itself, and tries again.
 *
 * Orders are of hardware frames, whatever the size of a soft page; but nothing smaller than one is given.
 *
 * @models linux-2.6.11 mm/page_alloc.c __alloc_pages
 * @models linux-2.6.11 mm/page_alloc.c buffered_rmqueue, free_hot_cold_page
 * @differs no atomic requests, which may go below the marks
 */
import { ENOMEM } from "../base/errno.ts";
import { bug } from "../base/errors.ts";
import type { FrameRun, Pfn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { MOVABLE, type Mobility, UNMOVABLE } from "./buddy.ts";
import { Parcels } from "./cluster/parcels.ts";
import type { Frames } from "./frames.ts";
import { NO_FRAME, PG_LRU, PG_PART } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { PerCpuPages } from "./per-cpu-pages.ts";
import { makeRoom } from "./reclaim/make-room.ts";
import type { ReclaimRequest } from "./reclaim/reclaim.ts";
import type { Mark, WatermarkPolicy } from "./watermarks.ts";
import type { Owner, Zone } from "./zone.ts";
import { OWNER_PAGE_CACHE, OWNER_USER, ZONE_DMA, ZONE_HIGHMEM, ZONE_KINDS, ZONE_NORMAL } from "./zone.ts";

/** The highest kind of zone that a request can use: ZONE_*. Lower ones serve it when that one is short. */
export type Want = number;
export const WANT_USER = ZONE_HIGHMEM; // anything will do
export const WANT_KERNEL = ZONE_NORMAL; // the kernel must always reach it
export const WANT_DMA = ZONE_DMA;

/** What the allocator tells the frames' contents: these are nobody's from now on. */
export interface FrameContents {
  forget(frame: Pfn): void;
  /** All of `[first, end)`. */
  forgetRun(first: Pfn, end: Pfn): void;
}

/** The zones that a request tries, in order, and what it must leave in each. */
interface Route {
  readonly zones: readonly Zone[];
  readonly lowFloors: Int32Array;
  readonly minFloors: Int32Array;
}

const noFloors = new Int32Array(ZONE_KINDS);

/** Pages of programs and of files can be moved; what the kernel has for itself cannot. */
const mobilityOf = (owner: Owner): Mobility =>
  owner === OWNER_USER || owner === OWNER_PAGE_CACHE ? MOVABLE : UNMOVABLE;

export class Allocator {
  readonly frames: Frames;
  /** Lowest addresses first. */
  readonly zones: readonly Zone[];
  /** Attempts so far: what `failAt` counts. */
  attempts = 0;
  /** Attempts that found no memory or were made to fail. */
  failures = 0;
  /** Requests that nothing could be freed for, or that were made to fail: they failed for good. */
  refusals = 0;
  private readonly policy: WatermarkPolicy;
  private readonly contents: FrameContents;
  /** The order of a soft page: nothing smaller is given. */
  private readonly leastOrder: number;
  /** By order: soft pages that are cut into blocks of that order. */
  private readonly parcelsByOrder: Parcels[] = [];
  private routes: readonly Route[] = [];
  /** Who has page lists, and whose reclaim frees memory; none while the machine is put together. */
  private kernel: Kernel | undefined;
  private readonly idleSources: (() => number)[] = [];
  private nextFailure = Number.POSITIVE_INFINITY;
  private failurePeriod = Number.POSITIVE_INFINITY;
  /** 0: none will fail. */
  private objectsUntilFailure = 0;
  /** The latest attempt that found no memory. */
  private failed: ReclaimRequest = { order: 0, want: WANT_KERNEL };
  /** The latest attempt was made to fail: a slow path that takes over must fail too. */
  private failing = false;

  constructor(frames: Frames, zones: readonly Zone[], policy: WatermarkPolicy, contents: FrameContents) {
    this.frames = frames;
    this.zones = zones;
    this.policy = policy;
    this.contents = contents;
    this.leastOrder = frames.softOrder;
    this.setMinFree(undefined);
  }

  /** Sets the watermarks: from min_free_kbytes, or (undefined) from the formula. */
  setMinFree(minFreeKiB: number | undefined): void {
    this.policy.setMarks(this.zones, minFreeKiB);
    this.routes = Array.from({ length: ZONE_KINDS }, (_, want) => this.routeFor(want));
  }

  /** 2^order frames for `owner`, with one reference, contents unknown; or NO_FRAME. */
  tryAllocate(order: number, want: Want, owner: Owner): Pfn {
    if (++this.attempts >= this.nextFailure) return this.injectFailure();
    this.failing = false;
    const { zones, lowFloors, minFloors } = this.routes[want];
    let frame = this.take(zones, lowFloors, "low", order, owner);
    if (frame !== NO_FRAME) return frame;
    if (this.kernel !== undefined) this.kernel.reclaim.wake = true;
    frame = this.take(zones, minFloors, "min", order, owner);
    if (frame === NO_FRAME && this.drain() > 0) frame = this.take(zones, minFloors, "min", order, owner);
    // Who frees memory may have the last of it.
    if (frame === NO_FRAME && order <= this.leastOrder && this.kernel?.current.task.freesMemory === true) {
      frame = this.take(zones, noFloors, "min", order, owner);
    }
    if (frame === NO_FRAME) {
      this.failures++;
      this.failed = { order, want };
    }
    return frame;
  }

  /**
   * 2^order frames of a zone that has them to spare, contents unknown; or NO_FRAME, which is no failure: who asks has a
   * plainer way, so nobody is woken, and nothing is freed for it.
   *
   * @models linux-6.1 mm/page_alloc.c __alloc_pages (GFP_TRANSHUGE_LIGHT)
   */
  tryAllocateSpare(order: number, want: Want, owner: Owner): Pfn {
    if (++this.attempts >= this.nextFailure) return this.injectFailure();
    this.failing = false;
    const { zones, lowFloors } = this.routes[want];
    return order < this.largestOrders ? this.take(zones, lowFloors, "low", order, owner) : NO_FRAME;
  }

  /**
   * The frames that the next calls of `tryAllocate` for one each would give, as far as they lie side by side, no zone is near
   * its marks, and no lists of CPUs come first; at most `most`. Null: somebody must ask for the next one by itself.
   */
  tryAllocateRun(most: number, want: Want, owner: Owner): FrameRun | null {
    if (this.attempts + most >= this.nextFailure) return null;
    const { zones, lowFloors } = this.routes[want];
    const at = zones.findIndex((zone, number) => zone.buddy.freePages - 1 >= lowFloors[number]);
    const zone = zones[at];
    if (zone === undefined || zone.perCpu !== null) return null;
    const run = zone.buddy.takeRun(Math.min(most, zone.buddy.freePages - lowFloors[at]));
    if (run === null) return null;
    const { first, end } = run;
    this.attempts += end - first;
    this.failing = false;
    zone.account(owner, end - first);
    this.frames.owner.put(first, end, owner);
    this.frames.refs.put(first, end, 1);
    return run;
  }

  /**
   * As `tryAllocate`, and reclaims when memory is short: the frame, or -ENOMEM. Hot paths try first, and come here when
   * that failed.
   */
  *allocate(order: number, want: Want, owner: Owner): Path<Pfn> {
    for (let failures = 1; ; failures++) {
      const frame = this.failing ? NO_FRAME : this.tryAllocate(order, want, owner);
      if (frame !== NO_FRAME) return frame;
      if (!(yield* this.waitForMemory(failures))) break;
    }
    this.failing = false;
    return -ENOMEM;
  }

  /** Whether there is memory for such a request now, and with it for so many frames in all. */
  hasRoom({ order, want }: ReclaimRequest, frames: number): boolean {
    const { zones, minFloors } = this.routes[want];
    const spare = zones.map((zone, at) => Math.max(0, zone.free + zone.listed - minFloors[at]));
    const pages = spare.reduce((sum, each) => sum + each, 0);
    const fits = (zone: Zone, at: number) =>
      spare[at]! >= 1 << this.given(order) &&
      (order <= this.leastOrder || this.policy.leavesBlocks(zone, order, "min"));
    return pages >= frames && zones.some(fits);
  }

  /** Whether so many single frames can be had for such requests, of any zone, and none is made to fail. */
  canSpare(pages: number, want: Want): boolean {
    if (this.nextFailure < Number.POSITIVE_INFINITY || this.objectsUntilFailure > 0) return false;
    const { zones, lowFloors } = this.routes[want];
    return zones.some((zone, at) => zone.free - pages >= lowFloors[at]);
  }

  /**
   * Frees memory for the attempt that failed last, whatever it was for: the caller's own, or that of a slab that it asked.
   * False: there is none to be had, or it was made to fail.
   *
   * `failures`: how often in a row the caller has failed, this time included. Who begins again gives back what he had, and
   * may need more at once than the frame that failed: after each failure in vain twice as much must be free, so that he
   * gets on in the end, or somebody is killed because all that can be freed was not enough.
   */
  *waitForMemory(failures: number): Path<boolean> {
    const { kernel } = this;
    const isWorthATry =
      kernel !== undefined && !this.failing && (yield* makeRoom(kernel, this.failed, 2 ** (failures - 1)));
    if (!isWorthATry) this.refusals++;
    return isWorthATry;
  }

  /** From now on memory that is short is reclaimed, and the page lists of `kernel` lose what is freed. */
  reclaimFor(kernel: Kernel): void {
    this.kernel = kernel;
  }

  /** Takes back 2^order frames that one `tryAllocate` gave; at most one reference may be left. */
  free(frame: Pfn, asked: number): void {
    const { frames } = this;
    const order = this.given(asked);
    if (frames.refs.read(frame) > 1 || frames.mapCount.read(frame) !== 0) this.refuse(frame);
    const state = frames.flags.read(frame);
    if ((state & PG_PART) !== 0) {
      this.kernel!.transparent.pages.lost(this.kernel!, frame, frame + 1);
      return;
    }
    if ((state & PG_LRU) !== 0) this.kernel!.reclaim.forget(frame);
    const zone = this.zoneOf(frame);
    if (order === this.leastOrder && zone.perCpu !== null) zone.perCpu.give(frame);
    else zone.buddy.give(frame, order);
    zone.hopes();
    zone.account(frames.owner.read(frame), -(1 << order));
    frames.refs.write(frame, 0);
    frames.flags.write(frame, 0);
    frames.mapping.write(frame, 0);
    for (let each = frame; each < frame + (1 << order); each++) this.contents.forget(each);
  }

  /**
   * 2^order frames for `owner` for as long as it likes, beyond what one block of the buddy system holds if need be, with one
   * reference on the first; or NO_FRAME.
   */
  tryAllocateLarge(order: number, want: Want, owner: Owner): Pfn {
    if (order < this.largestOrders) return this.tryAllocate(order, want, owner);
    if (++this.attempts >= this.nextFailure) return this.injectFailure();
    for (const zone of this.routes[want].zones) {
      if (zone.buddy.freePages - 2 ** order < zone.low) continue;
      const first = zone.buddy.takeContiguous(order);
      if (first === NO_FRAME) continue;
      zone.account(owner, 2 ** order);
      this.frames.owner.write(first, owner);
      this.frames.refs.write(first, 1);
      return first;
    }
    this.failures++;
    return NO_FRAME;
  }

  /** Takes back what one `tryAllocateLarge` gave. */
  freeLarge(first: Pfn, order: number): void {
    if (order < this.largestOrders) {
      this.free(first, order);
      return;
    }
    const { frames } = this;
    if (frames.refs.read(first) > 1 || frames.mapCount.read(first) !== 0) this.refuse(first);
    const zone = this.zoneOf(first);
    zone.account(frames.owner.read(first), -(2 ** order));
    frames.refs.write(first, 0);
    frames.flags.write(first, 0);
    frames.mapping.write(first, 0);
    const step = 1 << (zone.buddy.orders - 1);
    for (let block = first; block < first + 2 ** order; block += step) zone.buddy.give(block, zone.buddy.orders - 1);
    zone.hopes();
    this.contents.forgetRun(first, first + 2 ** order);
  }

  /** Frames `[first, end)` that boot had reserved for `owner` are free from now on. */
  releaseReserved(first: Pfn, end: Pfn, owner: Owner): void {
    for (let at = first; at < end; ) {
      const zone = this.zoneOf(at);
      const stop = Math.min(end, zone.end);
      zone.addReleased(at, stop, owner);
      zone.hopes();
      at = stop;
    }
  }

  /** Orders that one block of the buddy system can have. */
  get largestOrders(): number {
    return this.zones[0]!.buddy.orders;
  }

  /** Drops a reference to a single frame, and frees it if that was the last (Linux's put_page). */
  release(frame: Pfn): void {
    if (this.frames.dropReference(frame)) this.free(frame, 0);
  }

  /** Drops a reference to each of these single frames, in this order; neighbours that are free then go together. */
  releaseAll(list: readonly Pfn[]): void {
    for (let at = 0; at < list.length; ) {
      const first = list[at]!;
      let next = at + 1;
      while (next < list.length && list[next] === first + (next - at)) next++;
      this.releaseRun(first, first + (next - at));
      at = next;
    }
  }

  /** The same for the single frames `[first, end)`. */
  releaseRun(first: Pfn, end: Pfn): void {
    const { refs } = this.frames;
    for (let frame = first; frame < end; ) {
      const count = refs.read(frame);
      if (count > 1) {
        if (!refs.isLined(frame)) refs.add(frame++, -1);
        else {
          const others = refs.endOf(count, frame, end);
          refs.addEach(frame, others, -1);
          frame = others;
        }
        continue;
      }
      const zone = this.zoneOf(frame);
      const stop = zone.perCpu === null ? this.endOfLast(frame, Math.min(end, zone.end)) : frame;
      if (stop - frame < 2) this.release(frame++);
      else {
        this.freeRun(zone, frame, stop);
        frame = stop;
      }
    }
  }

  /**
   * A block of 2^order frames, out of a soft page that is cut up where that is larger: for what the kernel needs no larger, as
   * page tables. With one reference, contents unknown; or NO_FRAME.
   */
  tryAllocateBlock(order: number, want: Want, owner: Owner): Pfn {
    return order < this.leastOrder ? this.parcels(order).take(want, owner) : this.tryAllocate(order, want, owner);
  }

  /** Takes back what one `tryAllocateBlock` gave. */
  freeBlock(block: Pfn, order: number): void {
    if (order < this.leastOrder) this.parcels(order).give(block);
    else this.free(block, order);
  }

  /** Frames charged to `owner` that lie idle in soft pages that are cut up. */
  idleBlocksOf(owner: Owner): number {
    return this.parcelsByOrder.reduce((sum, parcels) => sum + parcels.idleOf(owner), 0);
  }

  private parcels(order: number): Parcels {
    this.parcelsByOrder[order] ??= new Parcels(this, this.contents, order);
    return this.parcelsByOrder[order];
  }

  /** The soft page, or so many frames of it, is `owner`'s from now on. */
  reassign(frame: Pfn, owner: Owner, pages: number = this.frames.softFrames): void {
    const zone = this.zoneOf(frame);
    zone.account(this.frames.owner.read(frame), -pages);
    zone.account(owner, pages);
    this.frames.owner.write(frame, owner);
  }

  /** Single frames go through lists of each CPU from now on. */
  keepPerCpuLists(cpus: number, where: { readonly here: number }): void {
    for (const zone of this.zones)
      zone.perCpu = new PerCpuPages(zone.buddy, zone.present, cpus, where, this.leastOrder);
  }

  /** `source` gives back what it keeps idle when memory is short, and says how many frames that was. */
  drainWhenShort(source: () => number): void {
    this.idleSources.push(source);
  }

  /** The zone that holds `frame`. */
  zoneOf(frame: Pfn): Zone {
    const { zones } = this;
    for (let at = zones.length - 1; at > 0; at--) {
      if (frame >= zones[at].first) return zones[at];
    }
    return zones[0];
  }

  /** From now on attempt number `attempt` (from 1) fails, and then each `every`-th after it. For tests. */
  failAt(attempt: number, every: number = Number.POSITIVE_INFINITY): void {
    this.attempts = 0;
    this.nextFailure = attempt;
    this.failurePeriod = every;
  }

  /** From now on the `attempt`-th small object (from 1) that anybody asks a slab for is refused, and no later one. */
  failObjectAt(attempt: number): void {
    this.objectsUntilFailure = attempt;
  }

  /** A slab is asked for an object: whether it must refuse. */
  refusesObject(): boolean {
    if (this.objectsUntilFailure === 0 || --this.objectsUntilFailure > 0) return false;
    this.failures++;
    this.failing = true;
    return true;
  }

  /** No allocation is made to fail any more. */
  neverFail(): void {
    this.nextFailure = Number.POSITIVE_INFINITY;
    this.objectsUntilFailure = 0;
  }

  /** Frames that nobody has: free ones, and those on the lists of CPUs. */
  get unusedPages(): number {
    return this.zones.reduce((sum, zone) => sum + zone.free + zone.listed, 0);
  }

  /** Free frames in all zones. */
  get freePages(): number {
    return this.zones.reduce((sum, zone) => sum + zone.free, 0);
  }

  /** Frames of all zones that the allocator was given at boot (totalram_pages, MemTotal). */
  get managedPages(): number {
    return this.zones.reduce((sum, zone) => sum + zone.managed, 0);
  }

  /** Frames that `owner` holds, over all zones. */
  ownedBy(owner: Owner): number {
    return this.zones.reduce((sum, zone) => sum + zone.ownedBy(owner), 0);
  }

  /** Every zone's law: free and owned frames add up to those present. */
  check(): void {
    for (const zone of this.zones) zone.check();
  }

  /** The end of the frames from `first` on that have one reference, no PTE, and the same owner; at most `end`. */
  private endOfLast(first: Pfn, end: Pfn): Pfn {
    const { refs, mapCount, owner } = this.frames;
    const unmapped = mapCount.endOf(0, first, refs.endOf(1, first, end));
    const stop = owner.endOf(owner.read(first), first, unmapped);
    return this.endOfKind(first, stop);
  }

  /** The end of the frames that are parts of huge pages, or none, as `first` is. */
  private endOfKind(first: Pfn, end: Pfn): Pfn {
    const { flags } = this.frames;
    const kind = flags.read(first) & PG_PART;
    let at = first;
    while (at < end && (flags.read(at) & PG_PART) === kind) at = flags.endOf(flags.read(at), at, end);
    return at;
  }

  /** What is known of the frames `[first, end)` is to stay for long. */
  compact(first: Pfn, end: Pfn): void {
    this.frames.compact(first, end);
    for (const { buddy } of this.zones) buddy.compact(first, end);
  }

  /** Frees single frames of one owner, whose one reference is dropped. */
  private freeRun(zone: Zone, first: Pfn, end: Pfn): void {
    const { frames } = this;
    if (frames.has(first, PG_PART)) {
      this.kernel!.transparent.pages.lost(this.kernel!, first, end);
      return;
    }
    this.forgetListed(first, end);
    zone.buddy.giveRun(first, end);
    zone.hopes();
    zone.account(frames.owner.read(first), first - end);
    frames.refs.fill(first, end, 0);
    frames.flags.fill(first, end, 0);
    frames.mapping.fill(first, end, 0);
    this.contents.forgetRun(first, end);
  }

  /** Takes those of `[first, end)`, frames of one zone, that are on page lists off them. */
  private forgetListed(first: Pfn, end: Pfn): void {
    const { flags } = this.frames;
    for (let at = first; at < end; ) {
      const state = flags.read(at);
      const stop = flags.endOf(state, at, end);
      if ((state & PG_LRU) !== 0) this.kernel!.reclaim.forgetRun(at, stop);
      at = stop;
    }
  }

  /** 2^order frames of the first zone that can spare them. */
  private take(zones: readonly Zone[], floors: Int32Array, mark: Mark, asked: number, owner: Owner): Pfn {
    const { leastOrder } = this;
    const order = Math.max(asked, leastOrder);
    for (let at = 0; at < zones.length; at++) {
      const zone = zones[at];
      if (zone.buddy.freePages - (1 << order) < floors[at]) continue;
      if (order > leastOrder && !this.policy.leavesBlocks(zone, order, mark)) continue;
      const isSingle = order === leastOrder && zone.perCpu !== null;
      const block = isSingle ? zone.perCpu!.take() : zone.buddy.take(order, mobilityOf(owner));
      if (block === NO_FRAME) continue;
      zone.account(owner, 1 << order);
      this.frames.owner.write(block, owner);
      this.frames.refs.write(block, 1);
      return block;
    }
    return NO_FRAME;
  }

  /** The order of the block that a request of `order` is given. */
  private given(order: number): number {
    return Math.max(order, this.leastOrder);
  }

  /** Free frames that lie on lists go back to the buddy system: how many. */
  private drain(): number {
    let drained = 0;
    for (const source of this.idleSources) drained += source();
    for (const { perCpu } of this.zones) if (perCpu !== null) drained += perCpu.drain();
    return drained;
  }

  private refuse(frame: Pfn): never {
    const { refs, mapCount } = this.frames;
    bug(`frame ${frame} is freed with ${refs.read(frame)} references, and ${mapCount.read(frame)} PTEs map it`);
  }

  private routeFor(want: Want): Route {
    const zones = this.zones.filter((zone) => zone.kind <= want && zone.managed > 0).reverse();
    const floors = (mark: Mark) => Int32Array.from(zones, (_, at) => this.policy.floor(zones, at, mark));
    return { zones, lowFloors: floors("low"), minFloors: floors("min") };
  }

  private injectFailure(): Pfn {
    this.nextFailure += this.failurePeriod;
    this.failing = true;
    this.failures++;
    return NO_FRAME;
  }
}
