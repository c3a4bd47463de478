/**
 * The page lists of one zone in rmap15: active pages by their age, anonymous ones and those of files apart, and three
 * lists on the way out.
 *
 *     age     0 1 2 ... 15     found in use: up by 4        a page of age 0 that is not in use goes down
 *     anon    . . .     .  \
 *     cache   . . .     .  /-> [dirty] -> emptied, written -> [laundry] -> written -> [clean] -> free
 *
 * Ageing is free: when no page of a kind has age 0, all of that kind are one younger, by renaming the buckets.
 *
 * @models rmap15 include/linux/mmzone.h zone_struct; include/linux/mm_inline.h age_page_up_nolock
 * @models rmap15 mm/vmscan.c kachunk_anon, kachunk_cache
 * @differs the ages' numbers (16 of them, up by 4, new pages at 5) are this model's
 */
import { bug } from "../../base/errors.ts";
import type { SparseInt8 } from "../../base/sparse-array.ts";
import type { Pfn } from "../../base/units.ts";
import type { Frames } from "../frames.ts";
import type { Zone } from "../zone.ts";
import { PageList } from "./page-list.ts";

/** What an active page is. */
export const ANON = 0;
export const CACHE = 1;
export type Kind = typeof ANON | typeof CACHE;

const AGES = 16;
const OLDEST = AGES - 1;
/** The age of a page that is new, or has come back. */
const INITIAL_AGE = 5;
/** How much older a page gets that was found in use. */
const AGE_UP = 4;

// Places of a frame: 1 + the bucket it is in, or one of the lists below. 0: on no list.
const NOWHERE = 0;
const FIRST_BUCKET = 1;
const DIRTY = FIRST_BUCKET + 2 * AGES;
const LAUNDRY = DIRTY + 1;
const CLEAN = LAUNDRY + 1;

/** The active pages of one kind, by age. */
class Buckets {
  count = 0;
  readonly lists: readonly PageList[];
  /** The bucket of age 0. */
  private base = 0;
  private readonly firstPlace: number;

  constructor(name: string, frames: Frames, firstPlace: number) {
    this.lists = Array.from({ length: AGES }, () => new PageList(name, frames));
    this.firstPlace = firstPlace;
  }

  /** The place of pages of this age. */
  placeOf(age: number): number {
    return this.firstPlace + ((this.base + age) % AGES);
  }

  ageAt(place: number): number {
    return (place - this.firstPlace - this.base + AGES) % AGES;
  }

  /** The pages of age 0; when there are none, all others first get one younger, as often as it takes. */
  youngest(): PageList {
    if (this.count > 0) while (this.lists[this.base].count === 0) this.base = (this.base + 1) % AGES;
    return this.lists[this.base];
  }
}

export class AgedZone {
  readonly zone: Zone;
  readonly dirty: PageList;
  readonly laundry: PageList;
  readonly clean: PageList;
  /** By Kind. */
  private readonly active: readonly [Buckets, Buckets];
  private readonly byPlace: readonly (PageList | null)[];
  /** By frame: its place; shared by all zones. */
  private readonly places: SparseInt8;

  constructor(zone: Zone, frames: Frames, places: SparseInt8) {
    this.zone = zone;
    this.places = places;
    const anon = new Buckets("active anon", frames, FIRST_BUCKET);
    const cache = new Buckets("active cache", frames, FIRST_BUCKET + AGES);
    this.active = [anon, cache];
    this.dirty = new PageList("inactive dirty", frames);
    this.laundry = new PageList("inactive laundry", frames);
    this.clean = new PageList("inactive clean", frames);
    this.byPlace = [null, ...anon.lists, ...cache.lists, this.dirty, this.laundry, this.clean];
  }

  get lists(): readonly PageList[] {
    return this.byPlace.filter((list) => list !== null);
  }

  get activePages(): number {
    return this.active[ANON].count + this.active[CACHE].count;
  }

  get inactivePages(): number {
    return this.dirty.count + this.laundry.count + this.clean.count;
  }

  pagesOf(kind: Kind): number {
    return this.active[kind].count;
  }

  /** The active page of a kind that is the next to be looked at: one of age 0. Requires: there is one. */
  nextActive(kind: Kind): Pfn {
    return this.active[kind].youngest().tail;
  }

  isClean(frame: Pfn): boolean {
    return this.places.read(frame) === CLEAN;
  }

  /** The page is active from now on, as old as a new one. */
  activate(frame: Pfn, kind: Kind): void {
    this.put(frame, this.active[kind].placeOf(INITIAL_AGE));
  }

  /** An active page was found in use. */
  ageUp(frame: Pfn): void {
    const buckets = this.active[kindAt(this.places.read(frame))];
    const age = buckets.ageAt(this.places.read(frame));
    this.put(frame, buckets.placeOf(Math.min(age + AGE_UP, OLDEST)));
  }

  /** The page starts on its way out. */
  putDirty(frame: Pfn): void {
    this.put(frame, DIRTY);
  }

  /** The same, as the next to be looked at. */
  putNext(frame: Pfn): void {
    this.remove(frame);
    this.dirty.addTail(frame);
    this.places.write(frame, DIRTY);
  }

  /** The page is about to be written. */
  putLaundry(frame: Pfn): void {
    this.put(frame, LAUNDRY);
  }

  /** Nobody needs the page, and its contents are safe. */
  putClean(frame: Pfn): void {
    this.put(frame, CLEAN);
  }

  /** The page is the last of its list to be looked at. */
  rotate(frame: Pfn): void {
    this.put(frame, this.places.read(frame));
  }

  /** The page is on no list from now on. */
  remove(frame: Pfn): void {
    const place = this.places.read(frame);
    const list = this.byPlace[place] ?? bug(`frame ${frame} is on no list of zone ${this.zone.name}`);
    list.remove(frame);
    if (place < DIRTY) this.active[kindAt(place)].count--;
    this.places.write(frame, NOWHERE);
  }

  private put(frame: Pfn, place: number): void {
    if (this.places.read(frame) !== NOWHERE) this.remove(frame);
    this.byPlace[place]!.addHead(frame);
    if (place < DIRTY) this.active[kindAt(place)].count++;
    this.places.write(frame, place);
  }
}

const kindAt = (place: number): Kind => (place < FIRST_BUCKET + AGES ? ANON : CACHE);
