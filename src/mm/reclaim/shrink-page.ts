/**
 * One old page, taken off its list: what can be done so that its frame is free. Whoever maps it loses it, what is newer
 * than its place on disk is written there, and if only its cache and reclaim itself still hold it, it goes.
 *
 *     locked? --> used since? --> gets a swap slot --> unmapped --> written --> nobody holds it? --> freed
 *       kept          used        none left: used     refused: used  again dirty: kept   somebody: kept
 *
 * @models linux-2.6.11 mm/vmscan.c shrink_list, page_mapping_inuse, is_page_cache_freeable
 * @models linux-6.1 mm/vmscan.c shrink_folio_list (pages that MADV_FREE gave up)
 * @differs a page that was written is tried again at once, since the model disk answers at once; Linux meets it again at
 *          the list's tail when its I/O has ended
 */
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { PG_DIRTY, PG_HEAD, PG_SWAPCACHE, PG_WRITEBACK } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import { addToSwap } from "../swap/swap-cache.ts";
import { splitPage } from "../thp/huge-reclaim.ts";
import { freeUnused, writeOut } from "./page-out.ts";
import { fileOf, needsSlot } from "./page-place.ts";
import { referenced } from "./referenced.ts";
import { tryToUnmap } from "./try-to-unmap.ts";

/**
 * freed: only the caller's reference is left, and nothing has the page any more. used: it belongs among the active pages.
 * kept: it may be tried again.
 */
export type Fate = "freed" | "used" | "kept";

/** Which pages go. */
export interface Rules {
  /** Whether a page that was used since the last look stays. */
  readonly used: "stay" | "go";
  /** Whether dirty pages of files are written, so that they can go. */
  readonly dirty: "written" | "stay";
}

/** When memory is short. */
export const whenShort: Rules = { used: "stay", dirty: "written" };
/** Because a program says so. */
export const atOnce: Rules = { used: "go", dirty: "stay" };

/** Requires: the caller has a reference, and the page is on no list. */
export function* shrinkPage(kernel: Kernel, frame: Pfn, rules: Rules): Path<Fate> {
  if (!tryLockPage(kernel, frame)) return "kept";
  const fate = yield* shrinkLocked(kernel, frame, rules);
  if (fate === "unlocked") return "kept";
  unlockPage(kernel, frame);
  return fate;
}

/** Requires: the page is locked. It is so afterwards, unless it is said to be unlocked. */
function* shrinkLocked(kernel: Kernel, frame: Pfn, rules: Rules): Path<Fate | "unlocked"> {
  const { frames, tlbFlush } = kernel;
  if (frames.has(frame, PG_WRITEBACK)) return "kept";
  if (frames.has(frame, PG_HEAD)) {
    const fate = shrinkHuge(kernel, frame, rules);
    if (tlbFlush.owes) yield* tlbFlush.settle();
    if (fate !== "small") return fate;
  }
  // Its process has ended meanwhile.
  if (frames.refs.read(frame) === 1) return "freed";
  const uses = rules.used === "stay" ? referenced(kernel, frame) : 0;
  if (tlbFlush.owes) yield* tlbFlush.settle();
  if (uses > 0 && isInUse(kernel, frame)) return "used";
  if (needsSlot(frames, frame) && addToSwap(kernel, frame) < 0) return "used";
  if (frames.mapCount.read(frame) > 0) {
    const unmapped = yield* tryToUnmap(kernel, frame, { locked: "respect" });
    if (unmapped !== "all") return unmapped === "refused" ? "used" : "kept";
  }
  if (frames.has(frame, PG_DIRTY)) {
    if (rules.dirty === "stay" && fileOf(kernel, frame)?.kind === "regular") return "kept";
    // The cache's reference and the caller's must be all there are.
    if (uses > 0 || frames.refs.read(frame) !== 2) return "kept";
    if (!hasPlace(kernel, frame)) return "used";
    if (!(yield* writeOut(kernel, frame)) || !tryLockPage(kernel, frame)) return "unlocked";
  }
  return freeUnused(kernel, frame) ? "freed" : "kept";
}

/** A huge page that must go is small pages first, of which this is one: "small", or what becomes of it as it is. */
function shrinkHuge(kernel: Kernel, head: Pfn, rules: Rules): Fate | "small" {
  if (kernel.swap.freePages === 0) return "used";
  if (rules.used === "stay" && referenced(kernel, head) > 0) return "used";
  return splitPage(kernel, head) ? "small" : "kept";
}

/** Whether somebody maps the page, or could: its uses count then. */
function isInUse(kernel: Kernel, frame: Pfn): boolean {
  const { frames } = kernel;
  if (frames.mapCount.read(frame) > 0 || frames.has(frame, PG_SWAPCACHE)) return true;
  const file = fileOf(kernel, frame);
  return file !== null && file.mappings.count > 0;
}

/** A page of a shmem file needs a slot, if it has none yet. */
const hasPlace = (kernel: Kernel, frame: Pfn): boolean =>
  kernel.swap.freePages > 0 || kernel.frames.has(frame, PG_SWAPCACHE) || fileOf(kernel, frame)?.kind !== "shmem";
