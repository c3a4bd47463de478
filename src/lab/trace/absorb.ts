/**
 * Which accesses a trace need not hold: those that find their translation most recently used, and so change no state
 * of any TLB, no accessed or dirty bit, and fault nowhere. They only lengthen the run that is open on their page.
 *
 * There are two streams, fetches and data, each with a number of recency slots that the page's low bits choose. A fetch
 * is absorbed if its slot's last fetch was on its page; a load or a store if its slot's last data access *and* its
 * slot's last access of its own kind were on its page. With one slot this holds for every TLB; with S slots, for TLBs
 * whose set count S divides (Puzak's argument: within a set, the slot's page is the most recently used).
 */
import type { Vpn } from "../../base/units.ts";
import { type AccessKind, COUNT_MASK, COUNT_SHIFT, FETCH, LOAD, MAX_RUN } from "./format.ts";

const NOWHERE = -1;

/** The open runs of the current thread. Their records stand in the words that are passed in. */
export class Absorber {
  readonly sets: number;
  private readonly mask: number;
  // By slot: the page of the last access, and the record of the run that is open there.
  private readonly fetchPage: Float64Array;
  private readonly dataPage: Float64Array;
  private readonly loadPage: Float64Array;
  private readonly storePage: Float64Array;
  private readonly fetchRecord: Int32Array;
  private readonly loadRecord: Int32Array;
  private readonly storeRecord: Int32Array;

  /** `sets`: a power of two; 0 absorbs nothing. */
  constructor(sets: number) {
    const slots = Math.max(sets, 1);
    this.sets = sets;
    this.mask = slots - 1;
    this.fetchPage = new Float64Array(slots).fill(NOWHERE);
    this.dataPage = new Float64Array(slots).fill(NOWHERE);
    this.loadPage = new Float64Array(slots).fill(NOWHERE);
    this.storePage = new Float64Array(slots).fill(NOWHERE);
    this.fetchRecord = new Int32Array(slots);
    this.loadRecord = new Int32Array(slots);
    this.storeRecord = new Int32Array(slots);
  }

  /** Lengthens the run that absorbs `count` accesses, if one does; returns how many accesses need a record of their own. */
  absorb(words: Uint32Array, kind: AccessKind, page: Vpn, count: number): number {
    const slot = page & this.mask;
    let record: number;
    if (kind === FETCH) {
      if (this.fetchPage[slot] !== page) return count;
      record = this.fetchRecord[slot];
    } else {
      if (this.dataPage[slot] !== page) return count;
      if (kind === LOAD) {
        if (this.loadPage[slot] !== page) return count;
        record = this.loadRecord[slot];
      } else {
        if (this.storePage[slot] !== page) return count;
        record = this.storeRecord[slot];
      }
    }
    const room = MAX_RUN - 1 - ((words[record] >>> COUNT_SHIFT) & COUNT_MASK);
    const absorbed = Math.min(count, room);
    words[record] += absorbed << COUNT_SHIFT;
    return count - absorbed;
  }

  /** A run on `page` now stands at `record`: what follows on the page may lengthen it. */
  open(kind: AccessKind, page: Vpn, record: number): void {
    if (this.sets === 0) return;
    const slot = page & this.mask;
    if (kind === FETCH) {
      this.fetchPage[slot] = page;
      this.fetchRecord[slot] = record;
      return;
    }
    this.dataPage[slot] = page;
    if (kind === LOAD) {
      this.loadPage[slot] = page;
      this.loadRecord[slot] = record;
    } else {
      this.storePage[slot] = page;
      this.storeRecord[slot] = record;
    }
  }

  /** Ends every run: at an event, and where a chunk ends. */
  close(): void {
    this.fetchPage.fill(NOWHERE);
    this.dataPage.fill(NOWHERE);
    this.loadPage.fill(NOWHERE);
    this.storePage.fill(NOWHERE);
  }
}
