/**
 * Compaction: having a free block of the size of a huge page by moving the pages that lie in its way. One scan goes up from
 * the zone's start and empties one block after the other; another comes down from its end and finds single free frames to
 * move them to. A block of which one frame cannot be moved is left as it is, and where the scans meet there is no more.
 *
 *     zone  [ xx.x | K... | x..x | .xx. | ...x | .... ]      x page, K the kernel's own, . free
 *             empties ->                <- fills               a block that is free whole is never filled
 *
 * It helps where enough is free in pieces; where it is not, memory is reclaimed first, if whoever asks may do so.
 *
 * @models linux-6.1 mm/compaction.c compact_zone, isolate_migratepages_block, isolate_freepages, compaction_suitable, __compact_finished
 * It needs memory that is grouped by mobility: otherwise a frame of the kernel's lies in every block, and all are lost.
 *
 * @differs each run looks at the whole zone, none is put off
 */
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { WANT_USER } from "../allocator.ts";
import { type BlockWithin, UNMOVABLE } from "../buddy.ts";
import { NO_FRAME } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { freeSome } from "../reclaim/make-room.ts";
import type { Owner, Zone } from "../zone.ts";
import { isMovable, migrate } from "./migrate.ts";

/** How often memory is reclaimed for a block and moved again. */
const ROUNDS = 4;

/** Moves and frees memory until a zone has a block of 2^order frames; whether one has. Requires: no spinlock is held. */
export function* makeBlock(kernel: Kernel, order: number): Path<boolean> {
  const { counters, allocator } = kernel;
  const { task } = kernel.current;
  if (task.freesMemory) return false;
  counters.compactStall++;
  for (let round = 0; ; round++) {
    let isShort = false;
    for (const zone of [...allocator.zones].reverse()) {
      const outcome = yield* compact(kernel, zone, order);
      if (outcome === "made") {
        counters.compactSuccess++;
        return true;
      }
      if (outcome === "short") isShort = true;
    }
    if (round === ROUNDS || !isShort || (yield* freeSome(kernel, { order, want: WANT_USER })) === 0) break;
  }
  counters.compactFail++;
  return false;
}

/** made: the zone has a block. short: it has not enough free frames for that. lost: those that it has do not help. */
type Outcome = "made" | "short" | "lost";

function* compact(kernel: Kernel, zone: Zone, order: number): Path<Outcome> {
  const size = 1 << order;
  if (zone.managed === 0 || zone.buddy.orders <= order) return "lost";
  zone.perCpu?.drain();
  // Pages that are on their way take room twice.
  if (zone.free - 2 * size < zone.low) return "short";
  if (zone.buddy.holds(order)) return "made";
  const places = new FreePlaces(kernel, zone, order);
  for (let block = Math.ceil(zone.first / size) * size; block + size <= places.below; block += size) {
    const movable = pagesOf(kernel, zone, block, order);
    if (movable === null) continue;
    if (!(yield* empty(kernel, places, movable))) continue;
    places.giveBack();
    if (zone.buddy.holds(order)) return "made";
  }
  places.giveBack();
  return zone.buddy.holds(order) ? "made" : "lost";
}

/** The pages that must go for the block to be free; null if one of them cannot, or it is free or one page already. */
function pagesOf({ frames, counters }: Kernel, zone: Zone, block: Pfn, order: number): Pfn[] | null {
  const parts = zone.buddy.within(block, order);
  if (parts === null) return null;
  counters.compactMigrateScanned += parts.length;
  const taken = parts.filter(({ isFree }) => !isFree);
  const canGo = taken.every((part) => part.order === 0 && isMovable(frames, part.first));
  return canGo ? taken.map(({ first }) => first) : null;
}

/** Moves the pages to other places: whether all are gone. */
function* empty(kernel: Kernel, places: FreePlaces, pages: readonly Pfn[]): Path<boolean> {
  const { counters, frames } = kernel;
  for (const page of pages) {
    const to = places.next(page);
    if (to === NO_FRAME) return false;
    counters.compactIsolated++;
    const owner = frames.owner.read(page);
    frames.owner.write(to, owner);
    frames.refs.write(to, 1);
    if (yield* migrate(kernel, page, to)) places.used(owner);
    else {
      frames.refs.write(to, 0);
      return false;
    }
  }
  return true;
}

/** Free frames from the zone's end downwards, taken out of the buddy system a block's worth at a time. */
class FreePlaces {
  /** The block that the scan has come down to: nothing below it has been taken. */
  below: Pfn;
  private readonly kernel: Kernel;
  private readonly zone: Zone;
  private readonly order: number;
  /** Frames at hand, the next one last. */
  private readonly held: Pfn[] = [];

  constructor(kernel: Kernel, zone: Zone, order: number) {
    this.kernel = kernel;
    this.zone = zone;
    this.order = order;
    this.below = Math.floor(zone.end / 2 ** order) * 2 ** order;
  }

  /** A frame for the page at `page`, above it; or NO_FRAME. */
  next(page: Pfn): Pfn {
    const size = 1 << this.order;
    while (this.held.length === 0) {
      const block = this.below - size;
      if (block <= page) return NO_FRAME;
      this.below = block;
      if (this.zone.buddy.groupOf(block) === UNMOVABLE) continue;
      this.isolate(this.zone.buddy.within(block, this.order) ?? []);
    }
    return this.held[this.held.length - 1]!;
  }

  /** The frame that `next` gave is somebody's from now on. */
  used(owner: Owner): void {
    this.held.pop();
    this.zone.account(owner, 1);
  }

  private isolate(parts: readonly BlockWithin[]): void {
    const { counters } = this.kernel;
    counters.compactFreeScanned += parts.length;
    for (const { first, order, isFree } of parts) {
      if (!isFree) continue;
      this.zone.buddy.takeSingles(first, order);
      for (let frame = first; frame < first + (1 << order); frame++) this.held.push(frame);
    }
  }

  /** What is at hand is free again. */
  giveBack(): void {
    for (const frame of this.held) this.zone.buddy.give(frame, 0);
    this.held.length = 0;
  }
}
