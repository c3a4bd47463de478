/**
 * The four ways in which an x86 splits a virtual page number into indices of page tables. One record says what is
 * special about a format; every span and shift is computed from it.
 *
 *                    level:   5      4      3      2      1
 *   i386                                         31..22 21..12   4-byte entries, 1024 a table, pages of 4 MiB at level 2
 *   pae                                  31..30  29..21 20..12   8-byte entries, 512 a table, pages of 2 MiB at level 2
 *   x86-64                         47..39 38..30 29..21 20..12   ... and of 1 GiB at level 3
 *   x86-64-la57             56..48 47..39 38..30 29..21 20..12
 *
 * Level 1 holds the entries that map pages of 4 KiB; the root is the one table of level `levels`.
 *
 * Intel SDM vol. 3A, chapter 4.
 */
import type { Vpn } from "../base/units.ts";

export type PagingFormatName = "i386" | "pae" | "x86-64" | "x86-64-la57";

/** How an entry that the MMU takes for absent keeps what the kernel wants to remember: see pte.ts. */
export type AbsentEncoding = "i386" | "pae" | "x86-64";

/** A page larger than 4 KiB: the level of the entry that maps it, and how many pages of 4 KiB it spans. */
export interface LargePage {
  readonly level: number;
  readonly pages: number;
}

interface FormatRecord {
  readonly name: PagingFormatName;
  readonly entryBytes: 4 | 8;
  readonly levels: 2 | 3 | 4 | 5;
  readonly indexBits: 9 | 10;
  /** Entries of the root that exist. */
  readonly topEntries: number;
  readonly vaddrBits: number;
  /** Bits of a physical address; bits of an entry's frame above them are reserved. */
  readonly physicalBits: number;
  readonly largeLevels: readonly number[];
  readonly hasNoExecute: boolean;
  /** Whether hardware leaves the kernel bits 9 to 11 of an entry; left out: it does. */
  readonly hasSoftwareBits?: boolean;
  /** The CPU reads the root's entries when the root is loaded, and never again. */
  readonly cachesTopLevel: boolean;
  readonly absentEncoding: AbsentEncoding;
  /** Bits of a swap entry's type. */
  readonly swapTypeBits: number;
  readonly highestSwapOffset: number;
  /** Bits of the file index that a nonlinear entry holds. */
  readonly fileIndexBits: number;
}

/** The page number's bits that the three lowest levels of 9 bits use: what an int32 holds comfortably. */
const LOW_BITS = 27;
const LOW_PAGES = 1 << LOW_BITS;
const LOW_MASK = LOW_PAGES - 1;
const LOW_LEVELS = 3;

/** The low 27 bits. (`&` takes a double modulo 2^32, so they are exact.) */
export const lowPart = (vpn: Vpn): number => vpn & LOW_MASK;
/** The bits above them. */
export const highPart = (vpn: Vpn): number => (vpn / LOW_PAGES) | 0;

export class PagingFormat {
  readonly name: PagingFormatName;
  readonly entryBytes: 4 | 8;
  readonly entryWords: 1 | 2;
  readonly levels: 2 | 3 | 4 | 5;
  readonly indexBits: 9 | 10;
  readonly topEntries: number;
  readonly vaddrBits: number;
  readonly physicalBits: number;
  readonly hasNoExecute: boolean;
  readonly hasSoftwareBits: boolean;
  readonly cachesTopLevel: boolean;
  readonly absentEncoding: AbsentEncoding;
  readonly swapTypeBits: number;
  readonly highestSwapOffset: number;
  readonly fileIndexBits: number;
  /** Frames that an entry can name. */
  readonly maxFrames: number;
  /** Pages of the virtual address space. */
  readonly maxPages: number;
  /** Ascending by level. */
  readonly largePages: readonly LargePage[];
  private readonly fullTable: number;
  private readonly indexMask: number;
  private readonly record: FormatRecord;

  constructor(record: FormatRecord) {
    this.record = record;
    this.name = record.name;
    this.entryBytes = record.entryBytes;
    this.entryWords = record.entryBytes === 4 ? 1 : 2;
    this.levels = record.levels;
    this.indexBits = record.indexBits;
    this.topEntries = record.topEntries;
    this.vaddrBits = record.vaddrBits;
    this.physicalBits = record.physicalBits;
    this.hasNoExecute = record.hasNoExecute;
    this.hasSoftwareBits = record.hasSoftwareBits ?? true;
    this.cachesTopLevel = record.cachesTopLevel;
    this.absentEncoding = record.absentEncoding;
    this.swapTypeBits = record.swapTypeBits;
    this.highestSwapOffset = record.highestSwapOffset;
    this.fileIndexBits = record.fileIndexBits;
    this.maxFrames = 2 ** (record.physicalBits - 12);
    this.maxPages = 2 ** (record.vaddrBits - 12);
    this.fullTable = 1 << record.indexBits;
    this.indexMask = this.fullTable - 1;
    this.largePages = record.largeLevels.map((level) => ({ level, pages: this.entrySpan(level) }));
  }

  /** The same format on a CPU that offers only some of its large pages: those that span one of `spans` pages of 4 KiB. */
  withLargePages(spans: readonly number[]): PagingFormat {
    const largeLevels = this.record.largeLevels.filter((level) => spans.includes(this.entrySpan(level)));
    return new PagingFormat({ ...this.record, largeLevels });
  }

  /** The same format on hardware that uses every bit of an entry itself. */
  withoutSoftwareBits(): PagingFormat {
    return new PagingFormat({ ...this.record, hasSoftwareBits: false });
  }

  /** Entries of a table of that level that mean something. */
  entriesPerTable(level: number): number {
    return level === this.levels ? this.topEntries : this.fullTable;
  }

  /** Pages of 4 KiB that one entry of that level covers. */
  entrySpan(level: number): number {
    return this.fullTable ** (level - 1);
  }

  /** Pages of 4 KiB that one table of that level covers. */
  span(level: number): number {
    return this.entrySpan(level) * this.entriesPerTable(level);
  }

  /** The entry for `vpn` in a table of that level. */
  indexAt(vpn: Vpn, level: number): number {
    return this.indexOf(lowPart(vpn), highPart(vpn), level);
  }

  /** The same, of a page number in two parts: a walk splits it once. */
  indexOf(low: number, high: number, level: number): number {
    if (level <= LOW_LEVELS) return (low >>> ((level - 1) * this.indexBits)) & this.indexMask;
    return (high >>> ((level - 1 - LOW_LEVELS) * this.indexBits)) & this.indexMask;
  }

  /** Whether an entry of that level may map a page itself. */
  mayMap(level: number): boolean {
    return level === 1 || this.largePages.some((large) => large.level === level);
  }
}

/** 2-level paging of the 386, with the 4 MiB pages of the Pentium (PSE). */
export const i386 = new PagingFormat({
  name: "i386",
  entryBytes: 4,
  levels: 2,
  indexBits: 10,
  topEntries: 1024,
  vaddrBits: 32,
  physicalBits: 32,
  largeLevels: [2],
  hasNoExecute: false,
  cachesTopLevel: false,
  absentEncoding: "i386",
  swapTypeBits: 5,
  highestSwapOffset: 2 ** 24 - 1,
  fileIndexBits: 29,
});

/** Physical Address Extension: 64 GiB behind the same 32-bit virtual addresses. */
export const pae = new PagingFormat({
  name: "pae",
  entryBytes: 8,
  levels: 3,
  indexBits: 9,
  topEntries: 4,
  vaddrBits: 32,
  physicalBits: 36,
  largeLevels: [2],
  hasNoExecute: true,
  cachesTopLevel: true,
  absentEncoding: "pae",
  swapTypeBits: 5,
  highestSwapOffset: 2 ** 27 - 1,
  fileIndexBits: 32,
});

const longMode = {
  entryBytes: 8,
  indexBits: 9,
  topEntries: 512,
  physicalBits: 43,
  largeLevels: [2, 3],
  hasNoExecute: true,
  cachesTopLevel: false,
  absentEncoding: "x86-64",
  swapTypeBits: 5,
  highestSwapOffset: 2 ** 50 - 2, // the next one, inverted, would make the entry of type 0 none
  fileIndexBits: 32,
} as const;

/** Long mode. Its physical addresses have 43 bits here: a frame number is an int32, so memory ends at 8 TiB. */
export const x86_64 = new PagingFormat({ ...longMode, name: "x86-64", levels: 4, vaddrBits: 48 });

/** Long mode with one level more (LA57). */
export const x86_64_la57 = new PagingFormat({ ...longMode, name: "x86-64-la57", levels: 5, vaddrBits: 57 });

export const pagingFormats: Readonly<Record<PagingFormatName, PagingFormat>> = {
  i386,
  pae,
  "x86-64": x86_64,
  "x86-64-la57": x86_64_la57,
};
