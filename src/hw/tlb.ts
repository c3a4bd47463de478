/**
 * A translation lookaside buffer, built from a datasheet: arrays for instructions, for loads and for stores, each for
 * some page sizes; behind them a second level. It remembers; filling it and judging rights is the MMU's business.
 *
 * A tag is the number of a page of its size, plus 2^46 times the size: 4 KiB pages are tagged with their own number, so
 * the access path compares page numbers and never asks about large pages unless the TLB holds one.
 *
 * @models x86 TLBs that are filled at both levels from a walk and at the first level from the second
 * @differs the second levels of K7 and K8 hold only what the first level lost
 */
import { bug, UsageError } from "../base/errors.ts";
import type { Pfn, Vpn } from "../base/units.ts";
import type { Access } from "./access.ts";
import type { PagingFormat } from "./paging-format.ts";
import { type Associativity, MISS, type Replacement, TlbArray } from "./tlb-array.ts";

/** `2M` stands for i386's pages of 4 MiB too. */
export type PageSize = "4K" | "2M" | "1G";

export interface ArrayShape extends Associativity {
  /** The sizes that it holds. */
  readonly pages: readonly PageSize[];
  /** Larger sizes that it holds in pieces of the largest size of `pages`. A first level does so with what it lacks. */
  readonly splits?: readonly PageSize[];
  /** How many of the ways may hold large pages; all if absent. Only with LRU. */
  readonly largeWays?: number;
}

export interface TlbShape {
  readonly name: string;
  /** What the figures rest on. */
  readonly rests: string;
  readonly replacement: Replacement;
  readonly instruction: readonly ArrayShape[];
  /** Loads, and stores too unless these have arrays of their own. */
  readonly load: readonly ArrayShape[];
  readonly store?: readonly ArrayShape[];
  /** Second level of fetches and data together. */
  readonly second?: readonly ArrayShape[];
  /** Second levels of fetches and of data, each of its own. */
  readonly secondInstruction?: readonly ArrayShape[];
  readonly secondData?: readonly ArrayShape[];
  /** The walker's cache of entries that point to leaf tables. */
  readonly walkCache?: Associativity;
}

/** By index: a page size; the entry that maps it is at level index + 1. */
const SIZES: readonly PageSize[] = ["4K", "2M", "1G"];
const SIZE_TAG = 2 ** 46;
/** Above so many pages, a flush looks at every entry instead of looking for every page. */
const PAGES_WORTH_LOOKING_FOR = 64;

/** Where pages of one size go in one level of the TLB. */
interface Place {
  readonly array: TlbArray;
  /** Index of the size that the array holds them as. */
  readonly size: number;
  readonly ways: number;
}

/** By kind of access, by size: the place, if there is one. */
type Level = readonly (readonly (Place | undefined)[])[];

/** An entry as an auditor sees it: the range of pages that it translates, and to which frames. */
export interface Translation {
  readonly firstPage: Vpn;
  readonly pages: number;
  readonly frame: Pfn;
  readonly rights: number;
}

/**
 * The most recency slots a stream (a power of two) with which a trace may absorb accesses and still be exact on this
 * TLB: a number that divides the sets of every first-level array of 4 KiB pages.
 */
export function absorbableSets(shape: TlbShape): number {
  const small = [...shape.instruction, ...shape.load, ...(shape.store ?? [])].filter(({ pages }) =>
    pages.includes("4K"),
  );
  return Math.min(...small.map(({ entries, ways }) => (ways === "full" ? 1 : entries / ways)));
}

export class Tlb {
  readonly shape: TlbShape;
  /** By kind of access: the first-level array of 4 KiB pages. */
  readonly small: readonly TlbArray[];
  /** What `findLarge` or `findSecond` found: the index of its size, its frame, its rights. */
  private foundSize = 0;
  private foundFrame: Pfn = 0;
  foundRights = 0;
  /** By size: its pages of 4 KiB. */
  private readonly pagesOf: readonly number[];
  private readonly first: Level;
  private readonly second: Level;
  private readonly arrays: readonly TlbArray[];
  /** By size: the arrays that may hold entries of it. */
  private readonly holders: readonly (readonly TlbArray[])[];
  /** Index of the largest size entered since the TLB was last empty. */
  private largestHeld = 0;
  /** Some entry may be a piece of a larger page. */
  private holdsPieces = false;

  constructor(shape: TlbShape, format: PagingFormat) {
    this.shape = shape;
    const sizes = SIZES.filter((_, size) => size < format.levels && format.mayMap(size + 1));
    this.pagesOf = sizes.map((_, size) => format.entrySpan(size + 1));
    const built = new Map<ArrayShape, TlbArray>();
    const arrayOf = (array: ArrayShape): TlbArray => {
      const known = built.get(array) ?? new TlbArray(array, shape.replacement);
      built.set(array, known);
      return known;
    };
    const level = (lists: readonly (readonly ArrayShape[])[], splits: readonly PageSize[]): Level =>
      lists.map((list) => sizes.map((_, size) => placeOf(size, list, splits, arrayOf)));
    this.first = level([shape.instruction, shape.load, shape.store ?? shape.load], SIZES);
    const unified = shape.second ?? [];
    const secondData = [...unified, ...(shape.secondData ?? [])];
    this.second = level([[...unified, ...(shape.secondInstruction ?? [])], secondData, secondData], []);
    this.small = this.first.map((places) => places[0]?.array ?? lacksSmall(shape));
    this.arrays = [...built.values()];
    const places = [...this.first, ...this.second].flat();
    this.holders = sizes.map((_, size) =>
      this.arrays.filter((array) => places.some((place) => place?.array === array && place.size === size)),
    );
  }

  /** Pages of 4 KiB that the TLB can translate at once for that kind of access, where entries of that level map them. */
  reach(kind: Access, level: number): number {
    const size = level - 1;
    const places = [this.first[kind]![size], this.second[kind]![size]];
    // What the first level holds the second was given too, so the larger one counts.
    return Math.max(...places.map((place) => (place ? place.array.sets * place.ways * this.pagesOf[place.size]! : 0)));
  }

  /** Looks for a large page that holds `page` in the first level, as a use of it. */
  findLarge(page: Vpn, kind: Access): boolean {
    return this.largestHeld > 0 && this.find(this.first[kind]!, page, 1);
  }

  /** Looks in the second level, as a use of what it finds. */
  findSecond(page: Vpn, kind: Access): boolean {
    return this.find(this.second[kind]!, page, 0);
  }

  /** Copies what `findSecond` has just found to the first level. */
  promote(page: Vpn, kind: Access): void {
    this.enter(this.first[kind]![this.foundSize], page, this.foundSize, this.foundFrame, this.foundRights);
  }

  /** Enters the page of that size which holds `page` and starts at `frame`. The TLB must not hold it. */
  fill(page: Vpn, kind: Access, size: number, frame: Pfn, rights: number): void {
    this.enter(this.first[kind]![size], page, size, frame, rights);
    this.enter(this.second[kind]![size], page, size, frame, rights);
  }

  /** Forgets `page` for one kind of access, at both levels. */
  forget(page: Vpn, kind: Access): void {
    this.forgetAt(this.first[kind]!, page);
    this.forgetAt(this.second[kind]!, page);
  }

  /** The frame that the first level has for `page`; it must hold it. */
  frameOf(page: Vpn, kind: Access): Pfn {
    const places = this.first[kind]!;
    for (let size = 0; size <= this.largestHeld; size++) {
      const { array } = places[size]!;
      const slot = array.peek(this.tagOf(page, size));
      if (slot !== MISS) return array.frameAt(slot) + (page % this.pagesOf[size]!);
    }
    return bug(`the TLB does not hold page ${page}`);
  }

  /** Drops the translation of one page, for every kind of access, global or not; a large page is dropped as a whole. */
  flushPage(page: Vpn): void {
    if (this.holdsPieces) {
      this.flushAll();
      return;
    }
    for (let size = 0; size <= this.largestHeld; size++) {
      const tag = this.tagOf(page, size);
      for (const array of this.holders[size]!) array.removeTag(tag);
    }
  }

  flushRange(first: Vpn, end: Vpn): void {
    if (end - first <= PAGES_WORTH_LOOKING_FOR || this.holdsPieces) {
      for (let page = first; page < end; page++) this.flushPage(page);
      return;
    }
    for (const array of this.arrays) {
      for (const slot of array.held()) {
        const { firstPage, pages } = this.translation(array, slot);
        if (firstPage < end && first < firstPage + pages) array.remove(slot);
      }
    }
  }

  /** Drops everything but global entries. */
  flushUser(): void {
    for (const array of this.arrays) array.clearLocal();
  }

  /** Drops everything. */
  flushAll(): void {
    for (const array of this.arrays) array.clear();
    this.largestHeld = 0;
    this.holdsPieces = false;
  }

  /** Every translation that the TLB holds at either level. */
  *translations(): Generator<Translation> {
    for (const array of this.arrays) {
      for (const slot of array.held()) yield this.translation(array, slot);
    }
  }

  private translation(array: TlbArray, slot: number): Translation {
    const tag = array.tagAt(slot);
    const size = Math.floor(tag / SIZE_TAG);
    const pages = this.pagesOf[size]!;
    return { firstPage: (tag % SIZE_TAG) * pages, pages, frame: array.frameAt(slot), rights: array.rightsAt(slot) };
  }

  private find(places: readonly (Place | undefined)[], page: Vpn, smallest: number): boolean {
    for (let size = smallest; size <= this.largestHeld; size++) {
      const place = places[size];
      if (place === undefined) continue;
      const slot = place.array.find(this.tagOf(page, size));
      if (slot < 0) continue;
      this.foundSize = size;
      this.foundFrame = place.array.frameAt(slot);
      this.foundRights = place.array.rightsAt(slot);
      return true;
    }
    return false;
  }

  private enter(place: Place | undefined, page: Vpn, size: number, frame: Pfn, rights: number): void {
    if (place === undefined) return;
    if (size === 0) {
      place.array.insert(page, frame, rights, place.ways);
      return;
    }
    if (place.size > this.largestHeld) this.largestHeld = place.size;
    const start = place.size === size ? frame : this.pieceOf(page, size, place.size, frame);
    place.array.insert(this.tagOf(page, place.size), start, rights, place.ways);
  }

  /** Where the smaller page around `page` starts in a larger one that starts at `frame`. */
  private pieceOf(page: Vpn, size: number, pieceSize: number, frame: Pfn): Pfn {
    const within = page % this.pagesOf[size]!;
    this.holdsPieces = true;
    return frame + within - (within % this.pagesOf[pieceSize]!);
  }

  private forgetAt(places: readonly (Place | undefined)[], page: Vpn): void {
    for (let size = 0; size <= this.largestHeld; size++) places[size]?.array.removeTag(this.tagOf(page, size));
  }

  private tagOf(page: Vpn, size: number): number {
    return size === 0 ? page : Math.floor(page / this.pagesOf[size]!) + size * SIZE_TAG;
  }
}

/** Where a list of arrays holds pages of a size: as such, or else in pieces of the largest size that may be. */
function placeOf(
  size: number,
  list: readonly ArrayShape[],
  splits: readonly PageSize[],
  arrayOf: (array: ArrayShape) => TlbArray,
): Place | undefined {
  for (let held = size; held >= 0; held--) {
    for (const shape of list) {
      const holdsIt = held === size || [...splits, ...(shape.splits ?? [])].includes(SIZES[size]!);
      if (!shape.pages.includes(SIZES[held]!) || !holdsIt) continue;
      const array = arrayOf(shape);
      return { array, size: held, ways: held === 0 ? array.ways : (shape.largeWays ?? array.ways) };
    }
  }
  return undefined;
}

function lacksSmall(shape: TlbShape): never {
  throw new UsageError(`TLB ${shape.name}: a first level lacks an array for pages of 4 KiB`);
}
