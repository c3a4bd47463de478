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
import type { PagingFormat } from "./paging-format.ts";
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
import { type Associativity, MISS, TlbArray } from "./tlb-array.ts";

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

export class PageWalker {
  /** The table of the highest level. */
  root: Pfn = NO_TABLE;
  /** Entries read by all walks. */
  steps = 0;

  /** What the last walk found: the level of the entry that maps the page, its frame, what all levels allow together. */
  level = 0;
  frame: Pfn = 0;
  limits = 0;
  /** The low word of that entry. */
  private low = 0;
  /** The AND of the low words read. */
  private common = 0;
  /** What the levels above the last one allow. */
  private outerLimits = 0;
  /** The highest level that the walk read. */
  private start = 0;
  /** By level: the table that the walk read. */
  private readonly path: Int32Array;

  private readonly memory: PhysicalMemory;
  private readonly format: PagingFormat;
  private readonly entryWords: 1 | 2;
  private readonly reserved: ReservedBits;
  /** Pages that one leaf table covers. */
  private readonly leafSpan: number;
  /** PAE's root entries as they were when the root was loaded: tables, or NO_TABLE. */
  private readonly topTables: Int32Array;
  /** By number of a leaf table's span: the table, and the limits above it where a TLB entry has its rights. */
  private readonly leafTables: TlbArray | undefined;

  constructor(memory: PhysicalMemory, format: PagingFormat, cache: Associativity | undefined) {
    this.memory = memory;
    this.format = format;
    this.entryWords = format.entryWords;
    this.reserved = reservedBits(format);
    this.leafSpan = format.span(1);
    this.path = new Int32Array(format.levels + 1);
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
    this.forgetTables();
    for (let index = 0; index < this.topTables.length; index++) this.topTables[index] = this.loadTopEntry(index);
  }

  /** Drops what the walk cache knows. */
  forgetTables(): void {
    this.leafTables?.clear();
  }

  /** Goes down to the entry that maps `page`: FOUND, ABSENT or RESERVED. */
  find(page: Vpn): number {
    const { format, memory, entryWords } = this;
    this.begin(page);
    let table = this.path[this.start]!;
    if (table === NO_TABLE) return ABSENT;
    this.common = -1;
    for (let level = this.start; ; level--) {
      const word = format.indexAt(page, level) * entryWords;
      const low = memory.read(table, word);
      const high = entryWords === 2 ? memory.read(table, word + 1) : 0;
      this.path[level] = table;
      this.steps++;
      if ((low & PTE_PRESENT) === 0) return ABSENT;
      const large = level > 1 && (low & PTE_LARGE) !== 0;
      if ((high & this.reserved.high) !== 0 || (large && (low & this.reserved.lowIfLarge[level]!) !== 0))
        return RESERVED;
      this.common &= low;
      this.outerLimits = this.limits;
      this.limits = (this.limits & (low | LIMIT_NO_EXECUTE)) | (forbidsFetch(high) ? LIMIT_NO_EXECUTE : 0);
      table = presentFrame(low, high);
      if (level === 1 || large) {
        this.level = level;
        this.low = low;
        this.frame = table;
        return FOUND;
      }
    }
  }

  /** The access that the walk was for is allowed. */
  markAccessed(page: Vpn): void {
    if ((this.common & PTE_ACCESSED) === 0) this.setAccessed(page);
    if (this.leafTables !== undefined && this.start > 1 && this.level === 1) {
      this.rememberLeafTable(this.leafTables, page);
    }
  }

  /** And it is a store. */
  markDirty(page: Vpn): void {
    this.markAccessed(page);
    if (!this.isDirty) this.setBits(page, this.level, PTE_DIRTY);
  }

  private rememberLeafTable(leafTables: TlbArray, page: Vpn): void {
    leafTables.insert(Math.floor(page / this.leafSpan), this.path[1]!, this.outerLimits, leafTables.ways);
  }

  /** Where the walk starts, and what is allowed there. */
  private begin(page: Vpn): void {
    const { format, leafTables, path } = this;
    if (leafTables !== undefined) {
      const slot = leafTables.find(Math.floor(page / this.leafSpan));
      if (slot !== MISS) {
        this.start = 1;
        path[1] = leafTables.frames[slot]!;
        this.limits = leafTables.rights[slot]!;
        return;
      }
    }
    this.limits = LIMIT_WRITE | LIMIT_USER;
    this.start = format.levels;
    path[this.start] = this.root;
    if (format.cachesTopLevel) {
      path[this.start - 1] = this.topTables[format.indexAt(page, this.start)]!;
      this.start--;
    }
  }

  private setAccessed(page: Vpn): void {
    for (let level = this.start; level >= this.level; level--) this.setBits(page, level, PTE_ACCESSED);
  }

  /** As a locked OR: bits that are there stay. */
  private setBits(page: Vpn, level: number, bits: number): void {
    const table = this.path[level]!;
    const word = this.format.indexAt(page, level) * this.entryWords;
    this.memory.write(table, word, this.memory.read(table, word) | bits);
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
