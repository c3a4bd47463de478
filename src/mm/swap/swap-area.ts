/**
 * One swap area: a count of users for each of its slots (swap_map), and where the next page goes. Pages that leave
 * together lie together: slots are given out upwards, 256 at a time from an empty stretch as long as there is one, then
 * wherever one is free. Slot 0 is the area's header.
 *
 *     count   0 free   1..0x7ffe users   0x7fff saturated: so many that nobody counts any more, and the slot stays
 *
 * @models linux-2.6.11 mm/swapfile.c scan_swap_map, swap_entry_free, swap_duplicate
 */
import { bug } from "../../base/errors.ts";
import { SparseInt32 } from "../../base/sparse-array.ts";

/** No slot: slot 0 holds the area's header. */
export const NO_SWAP_SLOT = 0;
/** A count that has come so far stays there (SWAP_MAP_MAX). */
export const SATURATED = 0x7fff;

/** Slots that are given out upwards before another empty stretch is looked for (SWAPFILE_CLUSTER). */
const CLUSTER = 256;

export class SwapArea {
  /** Slots, the header included. */
  readonly slots: number;
  private readonly counts: SparseInt32;
  private used = 0;
  /** No slot below is free, and none from `freeEnd` on. */
  private firstFree = 1;
  private freeEnd: number;
  private next = 1;
  /** How many slots are still given out upwards from `next`. */
  private clusterLeft = 0;

  constructor(slots: number) {
    this.slots = slots;
    this.freeEnd = slots;
    this.counts = new SparseInt32(slots);
  }

  /** Slots that pages can have. */
  get usable(): number {
    return this.slots - 1;
  }

  get free(): number {
    return this.usable - this.used;
  }

  /** Users of a slot; 0: it is free. */
  count(offset: number): number {
    return this.counts.read(offset);
  }

  /** A slot with one user, or NO_SWAP_SLOT if the area is full. */
  allocate(): number {
    if (this.free === 0) return NO_SWAP_SLOT;
    const offset = this.choose();
    this.counts.write(offset, 1);
    this.used++;
    this.next = offset + 1;
    if (offset === this.firstFree) this.firstFree++;
    if (offset === this.freeEnd - 1) this.freeEnd--;
    return offset;
  }

  /** One user more. */
  duplicate(offset: number): void {
    const count = this.counts.read(offset);
    if (count === 0) bug(`swap slot ${offset} is free and gets a second user`);
    if (count < SATURATED) this.counts.write(offset, count + 1);
  }

  /** One user less; how many are left. */
  release(offset: number): number {
    const count = this.counts.read(offset);
    if (count === 0) bug(`swap slot ${offset} is freed twice`);
    if (count === SATURATED) return SATURATED;
    this.counts.write(offset, count - 1);
    if (count === 1) {
      this.used--;
      if (offset < this.firstFree) this.firstFree = offset;
      if (offset >= this.freeEnd) this.freeEnd = offset + 1;
    }
    return count - 1;
  }

  /** A free slot. Requires: there is one. */
  private choose(): number {
    if (this.clusterLeft > 0) {
      const offset = this.freeFrom(this.next);
      if (offset < this.freeEnd) {
        this.clusterLeft--;
        return offset;
      }
    }
    this.clusterLeft = CLUSTER - 1;
    const stretch = this.emptyStretch();
    return stretch === NO_SWAP_SLOT ? this.freeFrom(this.firstFree) : stretch;
  }

  /** The first free slot from `offset` on, or `freeEnd`. */
  private freeFrom(offset: number): number {
    let at = Math.max(offset, this.firstFree);
    while (at < this.freeEnd && this.counts.read(at) !== 0) at++;
    return Math.min(at, this.freeEnd);
  }

  /** The first slot of `CLUSTER` free ones in a row, or NO_SWAP_SLOT. */
  private emptyStretch(): number {
    let start = this.firstFree;
    while (start + CLUSTER <= this.freeEnd) {
      const end = this.counts.endOf(0, start, start + CLUSTER);
      if (end === start + CLUSTER) return start;
      start = end + 1;
    }
    return NO_SWAP_SLOT;
  }
}
