/**
 * One look at a zone's lists, harder the lower the priority: a part in 2^priority of each list is due, and what is due
 * is looked at in batches of 32, once it makes one. Active pages that were not used become inactive; inactive ones that
 * were not used are freed.
 *
 * Mapped pages stay active, whether they are used or not, as long as
 *
 *     mapped part of memory (%) / 2  +  distress: 100 >> priority that the last turns came down to  +  swappiness  < 100
 *
 * @models linux-2.6.11 mm/vmscan.c shrink_zone, refill_inactive_zone, shrink_cache
 * @differs there is no swap token
 */
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { PG_ACTIVE, PG_ANON, PG_LRU, PG_MLOCKED } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import type { PageList } from "./page-list.ts";
import { referenced } from "./referenced.ts";
import { shrinkPage, whenShort } from "./shrink-page.ts";
import type { ZonePages } from "./zone-pages.ts";

/** Pages that are looked at together, and that one look at a zone is to free (SWAP_CLUSTER_MAX). */
export const BATCH = 32;

/** What one round over zones is about, and how many pages it has freed. */
export interface Round {
  /** 12 to 0: a part in 2^priority of each list. */
  readonly priority: number;
  freed: number;
}

/** How ready reclaim is to take pages that are mapped: from 100 on it does. */
export const swapTendency = (mappedRatio: number, distress: number, swappiness: number): number =>
  Math.floor(mappedRatio / 2) + distress + swappiness;

export function* shrinkZone(kernel: Kernel, pages: ZonePages, round: Round): Path<void> {
  pages.activeDue += (pages.active.count >>> round.priority) + 1;
  pages.inactiveDue += (pages.inactive.count >>> round.priority) + 1;
  let active = pages.activeDue >= BATCH ? pages.activeDue : 0;
  let inactive = pages.inactiveDue >= BATCH ? pages.inactiveDue : 0;
  if (active > 0) pages.activeDue = 0;
  if (inactive > 0) pages.inactiveDue = 0;
  const enough = round.freed + BATCH;
  while (active > 0 || inactive > 0) {
    if (active > 0) {
      yield* refillInactive(kernel, pages, Math.min(active, BATCH));
      active -= Math.min(active, BATCH);
    }
    if (inactive > 0) {
      yield* shrinkInactive(kernel, pages, Math.min(inactive, BATCH), round);
      inactive -= Math.min(inactive, BATCH);
      if (round.freed >= enough) return;
    }
  }
}

/** Looks at the oldest `most` active pages: those that are not in use become inactive. */
function* refillInactive(kernel: Kernel, pages: ZonePages, most: number): Path<void> {
  const { frames, reclaim, tlbFlush } = kernel;
  const held = isolate(kernel, pages.active, most);
  pages.zone.scannedInVain += held.length;
  const reclaimsMapped = takesMapped(kernel, pages);
  const staying: Pfn[] = [];
  const leaving: Pfn[] = [];
  for (const frame of held) {
    const stays = frames.mapCount.read(frame) > 0 && (!reclaimsMapped || isKept(kernel, frame));
    (stays ? staying : leaving).push(frame);
    if (tlbFlush.owes) yield* tlbFlush.settle();
  }
  reclaim.costs.pagesMoved += held.length;
  for (const frame of leaving) putBack(kernel, pages.inactive, frame, 0);
  for (const frame of staying) putBack(kernel, pages.active, frame, PG_ACTIVE);
}

/** A mapped page that must stay although mapped pages are taken: it is used, or has nowhere to go. */
function isKept(kernel: Kernel, frame: Pfn): boolean {
  if (kernel.swap.totalPages === 0 && kernel.frames.has(frame, PG_ANON)) return true;
  return referenced(kernel, frame) > 0;
}

function takesMapped({ frames, allocator, tunables }: Kernel, { lastPriority }: ZonePages): boolean {
  const total = allocator.zones.reduce((sum, { present, high }) => sum + Math.max(0, present - high), 0);
  const mappedRatio = Math.floor((frames.mapped * 100) / total);
  return swapTendency(mappedRatio, 100 >> lastPriority, tunables.swappiness) >= 100;
}

/** Looks at the oldest `most` inactive pages: frees those that it can. */
function* shrinkInactive(kernel: Kernel, pages: ZonePages, most: number, round: Round): Path<void> {
  const { reclaim, allocator } = kernel;
  const { costs } = reclaim;
  const held = isolate(kernel, pages.inactive, most);
  pages.zone.scannedInVain += held.length;
  const kept: Pfn[] = [];
  const used = new Set<Pfn>();
  for (const frame of held) {
    const fate = yield* shrinkPage(kernel, frame, whenShort);
    if (fate === "freed") {
      allocator.release(frame);
      round.freed++;
      costs.pagesFreed++;
      continue;
    }
    kept.push(frame);
    if (fate === "used") used.add(frame);
  }
  costs.pagesMoved += kept.length;
  for (const frame of kept) {
    if (used.has(frame)) putBack(kernel, pages.active, frame, PG_ACTIVE);
    else putBack(kernel, pages.inactive, frame, 0);
  }
}

/** Takes the oldest `most` pages off a list, each with a reference, so that they cannot be freed meanwhile. */
function isolate({ frames, reclaim }: Kernel, list: PageList, most: number): Pfn[] {
  const held: Pfn[] = [];
  while (held.length < most && list.count > 0) {
    const frame = list.tail;
    list.remove(frame);
    frames.clearFlag(frame, PG_LRU);
    frames.addReference(frame);
    held.push(frame);
  }
  reclaim.costs.pagesScanned += held.length;
  return held;
}

/** Puts a page at the head of a list, and drops the reference that `isolate` took: the page may be free then. */
function putBack({ frames, allocator }: Kernel, list: PageList, frame: Pfn, active: number): void {
  const state = frames.flags.read(frame);
  // Who locked it meanwhile has its list links now; who unlocked it again has put it on a list.
  if ((state & (PG_MLOCKED | PG_LRU)) === 0) {
    frames.flags.write(frame, (state & ~PG_ACTIVE) | PG_LRU | active);
    list.addHead(frame, state);
  }
  allocator.release(frame);
}
