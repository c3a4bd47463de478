/**
 * A bit for each entry of each leaf table, in memory beside it, says: copied. An architecture whose entries have no room can
 * have this, at the price of that memory for every leaf table there is, although hardly one ever needs it, and of a second
 * place to look at whenever such an area's entry is read.
 *
 *     shadow-bits    128 bytes for a table of 1024 entries, 64 for one of 512, many to a frame
 *     shadow-pages   a whole frame, as a table allocated with twice its size has
 *
 *     frame of shadows:  | bits of table 17 | bits of table 40 | free | ...       word = entry / 32, bit = entry % 32
 *
 * @models MAIL-NOPFN ("you could just allocate extra memory for page tables, and put the COW bit there")
 */
import { bug } from "../../base/errors.ts";
import { type FrameRun, PAGE_SIZE, type Pfn, type Vpn } from "../../base/units.ts";
import type { PhysicalMemory } from "../../hw/physical-memory.ts";
import type { OpenTable } from "../../hw/pte.ts";
import { type Allocator, WANT_KERNEL } from "../allocator.ts";
import { NO_FRAME } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF } from "../page-table.ts";
import type { TableCache } from "../tables/cache/table-cache.ts";
import { isCopyOnWrite, type Vma } from "../vma.ts";
import { OWNER_SHADOW } from "../zone.ts";
import { RawMappings } from "./pfn-mappings.ts";

const WORD_BITS = 32;
const WORD_BYTES = 4;

export interface ShadowParts {
  readonly memory: PhysicalMemory;
  readonly allocator: Allocator;
  readonly entriesPerTable: number;
}

/** A table's bits: a frame, and the first word in it. */
interface Place {
  readonly frame: Pfn;
  readonly word: number;
}

export class ShadowBits extends RawMappings {
  private readonly parts: ShadowParts;
  /** Bytes that a table's bits take. */
  readonly bytesPerTable: number;
  private readonly placesPerFrame: number;
  /** By leaf table: where its bits are. */
  private readonly places = new Map<Pfn, Place>();
  private readonly freePlaces: Place[] = [];
  /** By frame: tables whose bits it has. */
  private readonly used = new Map<Pfn, number>();

  constructor(parts: ShadowParts, granularity: "bits" | "pages") {
    super();
    this.parts = parts;
    this.bytesPerTable = granularity === "pages" ? PAGE_SIZE : parts.entriesPerTable / 8;
    this.placesPerFrame = PAGE_SIZE / this.bytesPerTable;
  }

  normalPage(_kernel: Kernel, vma: Vma, _page: Vpn, table: OpenTable, index: number): boolean {
    if (!isCopyOnWrite(vma.flags)) return false;
    this.costs.lookups++;
    return this.isSet(table, index);
  }

  override copied(table: OpenTable, index: number): void {
    this.write(table, index, "copy");
  }

  override cleared(table: OpenTable, index: number): void {
    if (this.isSet(table, index)) this.write(table, index, "none");
  }

  override repeated(from: OpenTable, fromIndex: number, to: OpenTable, toIndex: number): void {
    if (this.isSet(from, fromIndex)) this.write(to, toIndex, "copy");
  }

  override tablesFrom(cache: TableCache): TableCache {
    return new ShadowedTables(cache, this);
  }

  /** Whether the entry is marked as a copy. */
  isSet(table: Pfn, index: number): boolean {
    const { frame, word } = this.placeOf(table);
    const bits = this.parts.memory.read(frame, word + Math.floor(index / WORD_BITS));
    return ((bits >>> (index % WORD_BITS)) & 1) !== 0;
  }

  private write(table: Pfn, index: number, mark: "copy" | "none"): void {
    const { memory } = this.parts;
    const { frame, word } = this.placeOf(table);
    const at = word + Math.floor(index / WORD_BITS);
    const bit = 1 << (index % WORD_BITS);
    const bits = memory.read(frame, at);
    memory.write(frame, at, mark === "copy" ? bits | bit : bits & ~bit);
    this.costs.marks++;
  }

  private placeOf(table: Pfn): Place {
    return this.places.get(table) ?? bug(`leaf table ${table} has no shadow`);
  }

  /** The table has bits from now on, all of them 0. False if there is no memory. */
  attach(table: Pfn): boolean {
    if (this.freePlaces.length === 0 && !this.addFrame()) return false;
    const place = this.freePlaces.pop()!;
    this.places.set(table, place);
    this.used.set(place.frame, this.used.get(place.frame)! + 1);
    return true;
  }

  private addFrame(): boolean {
    const { allocator, memory } = this.parts;
    const frame = allocator.tryAllocate(0, WANT_KERNEL, OWNER_SHADOW);
    if (frame === NO_FRAME) return false;
    memory.zero(frame);
    for (let at = this.placesPerFrame - 1; at >= 0; at--) {
      this.freePlaces.push({ frame, word: (at * this.bytesPerTable) / WORD_BYTES });
    }
    this.used.set(frame, 0);
    this.count(PAGE_SIZE);
    return true;
  }

  /** The table goes, and its bits with it. */
  detach(table: Pfn): void {
    const place = this.placeOf(table);
    for (let index = 0; index < this.parts.entriesPerTable; index += WORD_BITS) {
      const word = this.parts.memory.read(place.frame, place.word + index / WORD_BITS);
      if (word !== 0) bug(`leaf table ${table} is freed with entries marked as copies`);
    }
    this.places.delete(table);
    this.freePlaces.push(place);
    const left = this.used.get(place.frame)! - 1;
    this.used.set(place.frame, left);
    if (left === 0) this.dropFrame(place.frame);
  }

  private dropFrame(frame: Pfn): void {
    this.used.delete(frame);
    const kept = this.freePlaces.filter((place) => place.frame !== frame);
    this.freePlaces.length = 0;
    this.freePlaces.push(...kept);
    this.parts.allocator.free(frame, 0);
    this.count(-PAGE_SIZE);
  }

  private count(bytes: number): void {
    const { costs } = this;
    costs.shadowBytes += bytes;
    costs.mostShadowBytes = Math.max(costs.mostShadowBytes, costs.shadowBytes);
  }

  /** Every table that has bits. */
  get tables(): Iterable<Pfn> {
    return this.places.keys();
  }
}

/** A source of tables that gives each leaf table its bits. */
class ShadowedTables implements TableCache {
  private readonly cache: TableCache;
  private readonly shadows: ShadowBits;

  constructor(cache: TableCache, shadows: ShadowBits) {
    this.cache = cache;
    this.shadows = shadows;
  }

  get idle(): number {
    return this.cache.idle;
  }

  take(level: number): Pfn {
    const table = this.cache.take(level);
    if (table === NO_FRAME || level !== LEAF || this.shadows.attach(table)) return table;
    this.cache.give(table, level);
    return NO_FRAME;
  }

  /** Each leaf table is given bits of its own. */
  takeRun(level: number, most: number): FrameRun | null {
    return level === LEAF ? null : this.cache.takeRun(level, most);
  }

  give(table: Pfn, level: number): void {
    if (level === LEAF) this.shadows.detach(table);
    this.cache.give(table, level);
  }

  drain(): number {
    return this.cache.drain();
  }
}
