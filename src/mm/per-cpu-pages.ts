/**
 * Free frames, or soft pages, that each CPU keeps for itself, in front of a zone's buddy system: taken and given back without the
 * zone's lock, the last one freed, still warm, first. A list that runs low takes a batch; one that is full gives one.
 *
 *     0 ... low = 2 batches ... high = 6 batches
 *
 * @models linux-2.6.11 mm/page_alloc.c free_area_init_core, buffered_rmqueue, free_hot_cold_page
 * @differs only the hot list; the cold one serves readahead there
 */
import type { Pfn } from "../base/units.ts";
import type { Buddy } from "./buddy.ts";
import { NO_FRAME } from "./frames.ts";

const MOST_PER_BATCH = 64;

/** Frames that a list takes or gives at once, for a zone of that size. */
export function batchFor(presentPages: number): number {
  return Math.max(1, Math.floor(Math.min(presentPages / 1024, MOST_PER_BATCH) / 4));
}

export class PerCpuPages {
  readonly batch: number;
  readonly low: number;
  readonly high: number;
  /** Frames handed out so far. */
  taken = 0;
  /** Times the zone gave or got a batch. */
  batches = 0;
  private readonly buddy: Buddy;
  /** Of what is kept: that of a soft page. */
  private readonly order: number;
  private readonly where: { readonly here: number };
  /** By CPU: its frames, the coldest first. */
  private readonly lists: readonly Pfn[][];

  constructor(buddy: Buddy, presentFrames: number, cpus: number, where: { readonly here: number }, order = 0) {
    const presentPages = presentFrames >>> order;
    this.buddy = buddy;
    this.order = order;
    this.where = where;
    this.batch = batchFor(presentPages);
    this.low = 2 * this.batch;
    this.high = 6 * this.batch;
    this.lists = Array.from({ length: cpus }, () => []);
  }

  /** Frames on all lists. */
  get count(): number {
    return this.lists.reduce((sum, list) => sum + list.length, 0) << this.order;
  }

  /** A frame of this CPU's list, or NO_FRAME if the zone has none left either. */
  take(): Pfn {
    const list = this.lists[this.where.here]!;
    if (list.length <= this.low) this.refill(list);
    const frame = list.pop();
    if (frame === undefined) return NO_FRAME;
    this.taken++;
    return frame;
  }

  give(frame: Pfn): void {
    const list = this.lists[this.where.here]!;
    if (list.length >= this.high) {
      this.batches++;
      for (const cold of list.splice(0, this.batch)) this.buddy.give(cold, this.order);
    }
    list.push(frame);
  }

  /** Gives all frames back to the buddy system: how many. */
  drain(): number {
    const { count } = this;
    for (const list of this.lists) for (const frame of list.splice(0)) this.buddy.give(frame, this.order);
    return count;
  }

  /** Every block that is on a list: its first frame. */
  *frames(): Generator<Pfn> {
    for (const list of this.lists) yield* list;
  }

  /** What has just been taken from the zone is the coldest. */
  private refill(list: Pfn[]): void {
    const batch: Pfn[] = [];
    this.batches++;
    while (batch.length < this.batch) {
      const frame = this.buddy.take(this.order);
      if (frame === NO_FRAME) break;
      batch.push(frame);
    }
    list.unshift(...batch.reverse());
  }
}
