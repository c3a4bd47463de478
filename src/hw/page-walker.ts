/**
 * The part of the MMU that reads page tables: goes down from the root to the entry that maps a page, and sets A and D
 * bits on the way it came. What it found stays in its registers until the next walk.
 *
 * Two caches lie in its way, as in silicon. PAE's four root entries are read when the root is loaded and never again. A
 * walk cache, where the CPU has one, remembers which table is the leaf table of a span: a walk that finds it there reads
 * only the leaf entry. So an entry above the leaves that is cleared without a flush may still be walked through.
 *
 * Intel SDM vol. 3A, 4.4.1 (PDPTE registers), 4.10.3 (paging-structure caches).
 */
import { bug } from "../base/errors.ts";
import type { Pfn, Vpn } from "../base/units.ts";
import { highPart, lowPart, type PagingFormat } from "./paging-format.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import {
  forbidsFetch,
  PDPTE_RESERVED,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_GLOBAL,
  PTE_LARGE,
  PTE_PRESENT,
  PTE_USER,
  PTE_WRITE,
  presentFrame,
  type ReservedBits,
  reservedBits,
} from "./pte.ts";
import { type Associativity, TlbArray } from "./tlb-array.ts";

/** How a walk ends. */
export const FOUND = 0;
export const ABSENT = 1;
export const RESERVED = 2;

/** What the entries over a page say together; W and U as in an entry. */
export const LIMIT_NO_EXECUTE = 1 << 0;
export const LIMIT_WRITE = PTE_WRITE;
export const LIMIT_USER = PTE_USER;
/** Limits are below this. */
export const LIMITS = 1 << 3;

const NO_TABLE = -1;

/** Spans of leaf tables are numbered below this. */
const SPANS = 2 ** 36;
/** What is forgotten this often has to be forgotten in earnest, lest tags are no longer exact. */
const MOST_ERAS = 2 ** 16;

// A descent that is remembered: its span and stamp as doubles, then words.
const DESCENTS = 1024;
const DESCENT_WORDS = 8;
const TABLE = 4; // the leaf table
const PLACE = 5; // where its words are
const OUTER_LIMITS = 6; // what the levels above allow
const COMMON = 7; // the AND of their low words
/** In the place of a descent: it is not remembered. */
const FORGOTTEN = -1;

/** Limits, and what one more entry says: W and U must be in all of them, NX in one. */
const narrowed = (limits: number, low: number, high: number): number =>
  (limits & (low | LIMIT_NO_EXECUTE)) | (forbidsFetch(high) ? LIMIT_NO_EXECUTE : 0);

export class PageWalker {
  /** The table of the highest level. */
  root: Pfn = NO_TABLE;
  /** Entries read by all walks. */
  steps = 0;

  /** What the last walk found: the level of the entry that maps the page, its frame, what all levels allow together. */
  level = 0;
  frame: Pfn = 0;
  limits = 0;
  /** The low word of that entry, and the table that it is in. */
  private low = 0;
  private table: Pfn = NO_TABLE;
  /** The AND of the low words read. */
  private common = 0;
  /** What the levels above the last one allow. */
  private outerLimits = 0;
  /** Where the walk started: the level, the table, and what is allowed there. */
  private start = 0;
  private startTable: Pfn = NO_TABLE;
  private startLimits = 0;

  private readonly memory: PhysicalMemory;
  private readonly format: PagingFormat;
  private readonly entryWords: 1 | 2;
  private readonly reserved: ReservedBits;
  /** Pages that one leaf table covers. */
  private readonly leafSpan: number;
  /** PAE's root entries as they were when the root was loaded: tables, or NO_TABLE. */
  private readonly topTables: Int32Array;
  /**
   * By number of a leaf table's span, plus SPANS times the era: the table, and the limits above it where a TLB entry has
   * its rights. Forgetting all begins a new era: what is of an older one is found no more, and is replaced first.
   */
  private readonly leafTables: TlbArray | undefined;
  private era = 0;
  /**
   * What a walk from the root to the leaf table of a span has read, by the span's low bits: no silicon, but what the host
   * need not read again while its stamp is that of now. So nothing can tell it from a walk.
   */
  private readonly descents = new Int32Array(DESCENTS * DESCENT_WORDS);
  private readonly stamps = new Float64Array(this.descents.buffer).fill(-1);
  private rootLoads = 0;
  /** The stamp at the last walk from the root. */
  private lastStamp = -1;

  constructor(memory: PhysicalMemory, format: PagingFormat, cache: Associativity | undefined) {
    this.memory = memory;
    this.format = format;
    this.entryWords = format.entryWords;
    this.reserved = reservedBits(format);
    this.leafSpan = format.entriesPerTable(1);
    this.topTables = new Int32Array(format.cachesTopLevel ? format.topEntries : 0).fill(NO_TABLE);
    this.leafTables = cache && new TlbArray(cache, "lru");
  }

  get isDirty(): boolean {
    return (this.low & PTE_DIRTY) !== 0;
  }

  get isGlobal(): boolean {
    return (this.low & PTE_GLOBAL) !== 0;
  }

  loadRoot(root: Pfn): void {
    this.root = root;
    this.rootLoads++;
    this.forgetTables();
    for (let index = 0; index < this.topTables.length; index++) this.topTables[index] = this.loadTopEntry(index);
  }

  /** Drops what the walk cache knows. */
  forgetTables(): void {
    if (++this.era < MOST_ERAS) return;
    this.era = 0;
    this.leafTables?.clear();
  }

  /** The leaf tables that the walk cache leads to. */
  *cachedTables(): Generator<Pfn> {
    const { leafTables } = this;
    if (leafTables === undefined) return;
    for (const slot of leafTables.held()) {
      if (Math.floor(leafTables.tagAt(slot) / SPANS) === this.era) yield leafTables.frameAt(slot);
    }
  }

  /** Goes down to the entry that maps `page`: FOUND, ABSENT or RESERVED. */
  find(page: Vpn): number {
    this.begin(page);
    if (this.start === 1)
      return this.findIn(this.startTable, this.memory.placeOf(this.startTable), page, this.startLimits, -1);
    const { stamp } = this;
    if (stamp !== this.lastStamp) {
      // While every walk follows a change, as where each access faults, there is nothing to gain.
      this.lastStamp = stamp;
      return this.descend(page, 0, FORGOTTEN);
    }
    const { descents, stamps } = this;
    const span = Math.floor(page / this.leafSpan);
    const at = (span & (DESCENTS - 1)) * DESCENT_WORDS;
    if (stamps[at >>> 1] !== span || stamps[(at >>> 1) + 1] !== stamp) return this.descend(page, span, at);
    this.steps += this.start - 1;
    return this.findIn(
      descents[at + TABLE]!,
      descents[at + PLACE]!,
      page,
      descents[at + OUTER_LIMITS]!,
      descents[at + COMMON]!,
    );
  }

  /** Changes when memory or the root does: neither number ever falls. */
  private get stamp(): number {
    return this.memory.changes + this.rootLoads;
  }

  private remember(at: number, span: number, table: Pfn, place: number, limits: number, common: number): void {
    const { descents, stamps } = this;
    stamps[at >>> 1] = span;
    stamps[(at >>> 1) + 1] = this.stamp;
    descents[at + TABLE] = table;
    descents[at + PLACE] = place;
    descents[at + OUTER_LIMITS] = limits;
    descents[at + COMMON] = common;
  }

  /** The last step of a walk: the entry of `page` in a leaf table whose words are at `place`. */
  private findIn(table: Pfn, place: number, page: Vpn, limits: number, common: number): number {
    const { memory } = this;
    this.steps++;
    const word = (page & (this.leafSpan - 1)) * this.entryWords;
    const low = place < 0 ? memory.read(table, word) : memory.wordAt(place + word);
    const high = this.entryWords === 1 ? 0 : place < 0 ? memory.read(table, word + 1) : memory.wordAt(place + word + 1);
    if ((low & PTE_PRESENT) === 0) return ABSENT;
    if ((high & this.reserved.high) !== 0) return RESERVED;
    this.level = 1;
    this.table = table;
    this.low = low;
    this.common = common & low;
    this.outerLimits = limits;
    this.limits = narrowed(limits, low, high);
    this.frame = presentFrame(low, high);
    return FOUND;
  }

  /** Goes down from the root, and remembers the way to a leaf table in `at`, unless that is FORGOTTEN. */
  private descend(page: Vpn, span: number, at: number): number {
    const { format, memory, entryWords, reserved } = this;
    const lowPage = lowPart(page);
    const highPage = highPart(page);
    let table = this.startTable;
    let limits = this.startLimits;
    let common = -1;
    for (let level = this.start; level > 1; level--) {
      if (table === NO_TABLE) return ABSENT;
      this.steps++;
      const word = format.indexOf(lowPage, highPage, level) * entryWords;
      const place = memory.placeOf(table);
      const low = place < 0 ? memory.read(table, word) : memory.wordAt(place + word);
      const high = entryWords === 1 ? 0 : place < 0 ? memory.read(table, word + 1) : memory.wordAt(place + word + 1);
      if ((low & PTE_PRESENT) === 0) return ABSENT;
      const large = (low & PTE_LARGE) !== 0;
      if ((high & reserved.high) !== 0 || (large && (low & reserved.lowIfLarge[level]!) !== 0)) return RESERVED;
      common &= low;
      if (large) {
        this.level = level;
        this.table = table;
        this.low = low;
        this.common = common;
        this.outerLimits = limits;
        this.limits = narrowed(limits, low, high);
        this.frame = presentFrame(low, high);
        return FOUND;
      }
      limits = narrowed(limits, low, high);
      table = presentFrame(low, high);
    }
    const place = memory.placeOf(table);
    const outcome = this.findIn(table, place, page, limits, common);
    if (outcome === FOUND && at !== FORGOTTEN) this.remember(at, span, table, place, limits, common);
    return outcome;
  }

  /** The access that the walk was for is allowed. */
  markAccessed(page: Vpn): void {
    if ((this.common & PTE_ACCESSED) === 0) this.setAccessed(page);
    const { leafTables } = this;
    if (leafTables !== undefined && this.start > 1 && this.level === 1) {
      leafTables.insert(this.spanOf(page), this.table, this.outerLimits, leafTables.ways);
    }
  }

  /** And it is a store. */
  markDirty(page: Vpn): void {
    this.markAccessed(page);
    if (!this.isDirty) this.setBits(this.table, page, this.level, PTE_DIRTY);
  }

  /** The walk cache's tag of a page. */
  private spanOf(page: Vpn): number {
    return Math.floor(page / this.leafSpan) + this.era * SPANS;
  }

  /** Where the walk starts, and what is allowed there. */
  private begin(page: Vpn): void {
    const { format, leafTables } = this;
    if (leafTables !== undefined) {
      const slot = leafTables.find(this.spanOf(page));
      if (slot >= 0) {
        this.start = 1;
        this.startTable = leafTables.frameAt(slot);
        this.startLimits = leafTables.rightsAt(slot);
        return;
      }
    }
    this.startLimits = LIMIT_WRITE | LIMIT_USER;
    this.start = format.cachesTopLevel ? format.levels - 1 : format.levels;
    this.startTable = format.cachesTopLevel ? this.topTables[format.indexAt(page, format.levels)]! : this.root;
  }

  /** Goes the way of the walk again. */
  private setAccessed(page: Vpn): void {
    let table = this.startTable;
    for (let level = this.start; level >= this.level; level--) {
      this.setBits(table, page, level, PTE_ACCESSED);
      const word = this.format.indexAt(page, level) * this.entryWords;
      table = presentFrame(
        this.memory.read(table, word),
        this.entryWords === 2 ? this.memory.read(table, word + 1) : 0,
      );
    }
  }

  /** As a locked OR: bits that are there stay. */
  private setBits(table: Pfn, page: Vpn, level: number, bits: number): void {
    const word = this.format.indexAt(page, level) * this.entryWords;
    this.memory.mark(table, word, bits);
  }

  private loadTopEntry(index: number): number {
    const low = this.memory.read(this.root, index * 2);
    const high = this.memory.read(this.root, index * 2 + 1);
    if ((low & PTE_PRESENT) === 0) return NO_TABLE;
    if ((low & PDPTE_RESERVED) !== 0 || (high & this.reserved.high) !== 0 || high < 0) {
      bug(`root ${this.root}, entry ${index}: reserved bits are set in a PDPTE (a general-protection fault)`);
    }
    return presentFrame(low, high);
  }
}
