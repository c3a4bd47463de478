/**
 * Page-table entries: the one file that knows where a bit is.
 *
 * A present entry, low word (all formats):
 *
 *    31                12 11  9 8 7 6 5 4 3 2 1 0
 *   +--------------------+-----+-+-+-+-+-+-+-+-+-+
 *   | frame number 19..0 | os  |G|L|D|A|c|t|U|W|P|      L: maps a page (above level 1); at level 1 it is PAT
 *   +--------------------+-----+-+-+-+-+-+-+-+-+-+
 *
 * and the high word where entries have 8 bytes:
 *
 *    63 62          52 51         43 42                32
 *   +--+--------------+-------------+--------------------+
 *   |NX| os, key      | reserved    | frame number 30..20 |   pae: reserved from 36 to 62
 *   +--+--------------+-------------+--------------------+
 *
 * An absent entry (P = 0) is the kernel's to use:
 *
 *            i386                        pae                            x86-64
 *   none     0                           0                              0
 *   prot     bit 7, frame in place       bit 7, frame in place          bit 8, bits 51..12 inverted (L1TF)
 *   swap     type 5..1, offset 31..8     type 36..32, offset 63..37     type 63..59, inverted offset 58..9, exclusive bit 3
 *   file     bit 6, index[4:0] 5..1,     bit 6, index 63..32            bit 6, index 43..12
 *            index[28:5] 31..8
 *
 * In the rest of the program an entry is a frame and a word of flags, the PTE_ bits below: hardware's own bits where a
 * present entry has them, and a name for each kind of absent entry.
 *
 * Intel SDM vol. 3A, tables 4-4 to 4-20.
 *
 * @models linux-2.6.11 include/asm-i386/pgtable.h, pgtable-2level.h, pgtable-3level.h; include/asm-x86_64/pgtable.h pgoff_to_pte
 * @models linux-6.1 arch/x86/include/asm/pgtable_64.h, pgtable-invert.h
 * @differs file entries of x86-64 are 2.6's beside swap entries and PROT_NONE of today: no kernel had both
 */
import { bug } from "../base/errors.ts";
import type { Runs } from "../base/owed-sums.ts";
import type { FileIndex, Pfn, PteSlot, SwapSlot } from "../base/units.ts";
import type { PagingFormat } from "./paging-format.ts";
import type { Pattern } from "./patterns.ts";
import { type PhysicalMemory, type WordModel, wordModel } from "./physical-memory.ts";

export const PTE_PRESENT = 1 << 0; // the MMU may use this entry
export const PTE_WRITE = 1 << 1; // stores allowed
export const PTE_USER = 1 << 2; // user mode allowed
export const PTE_PWT = 1 << 3; // write-through
export const PTE_PCD = 1 << 4; // cache disabled
export const PTE_ACCESSED = 1 << 5; // set by the MMU on any access
export const PTE_DIRTY = 1 << 6; // set by the MMU on a store; meaningful where the entry maps a page
export const PTE_LARGE = 1 << 7; // above level 1: maps a page
export const PTE_GLOBAL = 1 << 8; // stays in the TLB when the root is loaded
export const PTE_SOFT1 = 1 << 9; // three bits that the MMU ignores
export const PTE_SOFT2 = 1 << 10;
export const PTE_SOFT3 = 1 << 11;
export const PTE_NO_EXECUTE = 1 << 12; // fetches forbidden, where the format can say so
export const PTE_PROT_NONE = 1 << 13; // absent for the MMU, but the kernel's page is still there
export const PTE_SWAP = 1 << 14; // absent: names a swap slot
export const PTE_FILE = 1 << 15; // absent: names a page of the area's file (nonlinear mappings)

/** Flags of an entry that points to a table of user mappings, as Linux's _PAGE_TABLE. */
const LINK = PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

/** A page-table page whose words may be read and written. Who opens it (the kernel's page tables) says so by a cast. */
export type OpenTable = Pfn & { readonly opened: true };

const HARDWARE = 0xfff;
const FRAME_SHIFT = 12;
const LOW_FRAME_BITS = 20;
const HIGH_FRAME_MASK = (1 << 11) - 1;
/** The frame field's bits in the words of an entry: 31..12 and 51..32. */
const LOW_FIELD = -1 << FRAME_SHIFT;
const HIGH_FIELD = (1 << 20) - 1;
const HIGH_NO_EXECUTE = 1 << 31;

const NARROW_PROT_NONE = 1 << 7;
const WIDE_PROT_NONE = 1 << 8;
const ABSENT_FILE = 1 << 6;
/** Of a swap entry of x86-64. */
const SWAP_EXCLUSIVE = 1 << 3;

/** What an entry that points to the next table says: everything is decided further down. */
export function linkFlags(format: PagingFormat, level: number): number {
  return format.cachesTopLevel && level === format.levels ? PTE_PRESENT : LINK;
}

/** The frame that the words of a present entry name. */
export const presentFrame = (low: number, high: number): Pfn =>
  (low >>> FRAME_SHIFT) | ((high & HIGH_FRAME_MASK) << LOW_FRAME_BITS);

/** Whether the high word of a present entry forbids fetches. */
export const forbidsFetch = (high: number): boolean => high < 0;

/** No pattern of entries. */
const NO_LINE: Pattern = { entryWords: 1, low: 0, high: 0, shift: FRAME_SHIFT, start: 0, end: 0 };

/** The one door to entries in memory. */
export class Entries {
  readonly memory: PhysicalMemory;
  readonly format: PagingFormat;
  private readonly wide: boolean;
  private readonly inverted: boolean;
  private readonly protNone: number;
  private readonly entriesPerFrame: number;
  /** What all entries of a table were last made to say: where fetches are allowed, and where not. */
  private readonly lines: [Pattern, Pattern] = [NO_LINE, NO_LINE];

  constructor(memory: PhysicalMemory, format: PagingFormat) {
    this.memory = memory;
    this.format = format;
    this.wide = format.entryBytes === 8;
    this.inverted = format.absentEncoding === "x86-64";
    this.protNone = this.inverted ? WIDE_PROT_NONE : NARROW_PROT_NONE;
    this.entriesPerFrame = 1 << format.indexBits;
  }

  /** The entry's first word, as an int32. */
  low(table: OpenTable, index: number): number {
    return this.wide ? this.memory.read(table, index * 2) : this.memory.read(table, index);
  }

  /** The entry's second word; 0 where entries have only one. */
  high(table: OpenTable, index: number): number {
    return this.wide ? this.memory.read(table, index * 2 + 1) : 0;
  }

  /** The first entry of `[index, end)` that is not none, or `end`. */
  nextUsed(table: OpenTable, index: number, end: number): number {
    const { memory } = this;
    const place = memory.placeOf(table);
    if (place < 0) return this.nextComputed(table, index, end);
    const words = this.wide ? 2 : 1;
    const last = place + end * words;
    let word = place + index * words;
    while (word < last && memory.wordAt(word) === 0) word++;
    return Math.floor((word - place) / words);
  }

  /** The same in a table whose words are not in one place. */
  private nextComputed(table: OpenTable, index: number, end: number): number {
    if (this.memory.isBlank(table)) return end;
    let at = index;
    while (at < end && this.isNone(table, at)) at++;
    return at;
  }

  /** Whether nothing is in the entry. */
  isNone(table: OpenTable, index: number): boolean {
    return (this.low(table, index) | this.high(table, index)) === 0;
  }

  /** The entry's flags; 0 if it is none. */
  flags(table: OpenTable, index: number): number {
    const low = this.low(table, index);
    const high = this.high(table, index);
    if ((low | high) === 0) return 0;
    const noExecute = this.format.hasNoExecute && high < 0 ? PTE_NO_EXECUTE : 0;
    if ((low & PTE_PRESENT) !== 0) return (low & HARDWARE) | noExecute;
    if ((low & this.protNone) !== 0) return (low & HARDWARE & ~this.protNone) | noExecute | PTE_PROT_NONE;
    return (low & ABSENT_FILE) !== 0 ? PTE_FILE : PTE_SWAP;
  }

  /** The frame of a present or PROT_NONE entry. */
  frame(table: OpenTable, index: number): Pfn {
    const low = this.low(table, index);
    const high = this.high(table, index);
    return this.inverted && (low & PTE_PRESENT) === 0 ? presentFrame(~low, ~high) : presentFrame(low, high);
  }

  /** `flags` must say present or PROT_NONE. */
  set(table: OpenTable, index: number, frame: Pfn, flags: number): void {
    if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0)
      bug(`entry ${index} of table ${table}: flags ${flags} have no kind`);
    let low = (frame << FRAME_SHIFT) | (flags & HARDWARE);
    let high = (frame >>> LOW_FRAME_BITS) & HIGH_FRAME_MASK;
    if ((flags & PTE_PROT_NONE) !== 0) {
      low = (low & ~PTE_PRESENT) | this.protNone;
      if (this.inverted) {
        low ^= LOW_FIELD;
        high ^= HIGH_FIELD;
      }
    }
    if ((flags & PTE_NO_EXECUTE) !== 0 && this.format.hasNoExecute) high |= HIGH_NO_EXECUTE;
    this.store(table, index, low, high);
  }

  /**
   * Every entry of the tables `[start, end)`, which have none, becomes present, for consecutive frames from `first` on: the
   * same as `set` for each, at the cost of one.
   */
  setAll(start: Pfn, end: Pfn, first: Pfn, flags: number): void {
    if ((flags & PTE_PRESENT) === 0) bug(`all entries of table ${start}: flags ${flags} are not present`);
    this.memory.fillRun(start, end, this.lineOf(flags), { first, stride: this.entriesPerFrame });
  }

  /** The same for frames in several runs, as `tablesLike` has made a model of: the tables are those from its number `at` on. */
  setAllLike(start: Pfn, end: Pfn, model: WordModel, at: number): void {
    this.memory.fillLike(start, end, model, at);
  }

  /** A model of so many tables, one after the other, whose entries map the frames of `runs` with these flags. */
  tablesLike(tables: number, runs: Runs, flags: number): WordModel {
    if ((flags & PTE_PRESENT) === 0) bug(`a model of ${tables} tables: flags ${flags} are not present`);
    const { low, high } = this.lineOf(flags);
    const { entriesPerFrame, wide } = this;
    const { firsts, ends, count } = runs;
    /** By run: the number of its first entry, counted from the first table's. */
    const starts = new Int32Array(count + 1);
    for (let run = 0; run < count; run++) starts[run + 1] = starts[run]! + ends[run]! - firsts[run]!;
    return wordModel(tables, (number, words, place) => {
      const end = (number + 1) * entriesPerFrame;
      let entry = number * entriesPerFrame;
      for (let run = lastAtMost(starts, entry), at = place; entry < end; run++) {
        const stop = Math.min(end, starts[run + 1]!);
        for (let frame = firsts[run]! + entry - starts[run]!; entry < stop; entry++, frame++) {
          words[at++] = (frame << FRAME_SHIFT) | low;
          if (wide) words[at++] = ((frame >>> LOW_FRAME_BITS) & HIGH_FRAME_MASK) | high;
        }
      }
    });
  }

  /** The entries of `table` from `index` on, none so far, become present, one for each of the frames `[first, end)`. */
  setRun(table: OpenTable, index: number, first: Pfn, end: Pfn, flags: number): void {
    if (!this.memory.isBlank(table)) {
      for (let frame = first; frame < end; frame++) this.set(table, index + frame - first, frame, flags);
      return;
    }
    const pattern = { ...this.lineOf(flags), start: index, end: index + end - first };
    this.memory.fillWith(table, pattern, first - index);
  }

  /** The pattern of a table of entries with these flags, for consecutive frames. */
  private lineOf(flags: number): Pattern {
    const isForbidden = (flags & PTE_NO_EXECUTE) !== 0 && this.format.hasNoExecute;
    const known = this.lines[isForbidden ? 1 : 0]!;
    const low = flags & HARDWARE;
    if (known.low === low) return known;
    const line: Pattern = {
      entryWords: this.wide ? 2 : 1,
      low,
      high: isForbidden ? HIGH_NO_EXECUTE : 0,
      shift: FRAME_SHIFT,
      start: 0,
      end: this.entriesPerFrame,
    };
    this.lines[isForbidden ? 1 : 0] = line;
    return line;
  }

  clear(table: OpenTable, index: number): void {
    this.store(table, index, 0, 0);
  }

  /** The same for entries `[index, end)`, of which none is none yet. */
  clearRun(table: OpenTable, index: number, end: number): void {
    const words = this.wide ? 2 : 1;
    this.memory.zeroWords(table, index * words, end * words);
  }

  /** Where the present entries end that start at `index` and name consecutive frames with the same flags; at most `end`. */
  endOfRun(table: OpenTable, index: number, end: number): number {
    const { memory } = this;
    const words = this.wide ? 2 : 1;
    const low = this.low(table, index);
    const frame = presentFrame(low, this.high(table, index));
    const place = memory.placeOf(table);
    let next = index + 1;
    if (place < 0) next = Math.min(end, Math.max(next, memory.patternOf(table)?.end ?? 0));
    for (let at = place + next * words; place >= 0 && next < end; next++, at += words) {
      const other = memory.wordAt(at);
      const high = words === 2 ? memory.wordAt(at + 1) : 0;
      if (((other ^ low) & HARDWARE) !== 0 || presentFrame(other, high) !== frame + next - index) return next;
    }
    for (; next < end; next++) {
      const other = this.low(table, next);
      if (((other ^ low) & HARDWARE) !== 0 || presentFrame(other, this.high(table, next)) !== frame + next - index)
        break;
    }
    return next;
  }

  /** The first entry of `[index, end)` whose low word has not all of these bits, or `end`. */
  endOfFlags(table: OpenTable, index: number, end: number, flags: number): number {
    const words = this.wide ? 2 : 1;
    const place = this.memory.placeOf(table);
    let at = index;
    if (place < 0) while (at < end && (this.low(table, at) & flags) === flags) at++;
    else while (at < end && (this.memory.wordAt(place + at * words) & flags) === flags) at++;
    return at;
  }

  /** Changes what a present or PROT_NONE entry says of its frame. */
  setFlags(table: OpenTable, index: number, flags: number): void {
    this.set(table, index, this.frame(table, index), flags);
  }

  /** A present or PROT_NONE entry was not used from now on: A is clear (pte_mkold). */
  makeOld(table: OpenTable, index: number): void {
    this.store(table, index, this.low(table, index) & ~PTE_ACCESSED, this.high(table, index));
  }

  setSwap(table: OpenTable, index: number, type: number, offset: SwapSlot): void {
    const { swapTypeBits, highestSwapOffset, absentEncoding } = this.format;
    if (!(type < 2 ** swapTypeBits && offset <= highestSwapOffset)) bug(`no entry holds swap slot ${type}:${offset}`);
    if (absentEncoding === "i386") this.store(table, index, (offset << 8) | (type << 1), 0);
    else if (absentEncoding === "pae") this.store(table, index, 0, (offset << 5) | type);
    else this.store(table, index, ~offset << 9, (type << 27) | (~Math.floor(offset / 2 ** 23) & 0x7ffffff));
  }

  swapType(table: OpenTable, index: number): number {
    const { absentEncoding } = this.format;
    if (absentEncoding === "i386") return (this.low(table, index) >>> 1) & 0x1f;
    if (absentEncoding === "pae") return this.high(table, index) & 0x1f;
    return this.high(table, index) >>> 27;
  }

  swapOffset(table: OpenTable, index: number): SwapSlot {
    const { absentEncoding } = this.format;
    if (absentEncoding === "i386") return this.low(table, index) >>> 8;
    if (absentEncoding === "pae") return this.high(table, index) >>> 5;
    return (~this.low(table, index) >>> 9) + (~this.high(table, index) & 0x7ffffff) * 2 ** 23;
  }

  /** Whether a swap entry can say that nobody else names its slot (_PAGE_SWP_EXCLUSIVE). */
  get marksExclusive(): boolean {
    return this.inverted;
  }

  /** The swap entry says so from now on. Requires: `marksExclusive`. */
  setSwapExclusive(table: OpenTable, index: number): void {
    this.store(table, index, this.low(table, index) | SWAP_EXCLUSIVE, this.high(table, index));
  }

  clearSwapExclusive(table: OpenTable, index: number): void {
    this.store(table, index, this.low(table, index) & ~SWAP_EXCLUSIVE, this.high(table, index));
  }

  isSwapExclusive(table: OpenTable, index: number): boolean {
    return this.inverted && (this.low(table, index) & SWAP_EXCLUSIVE) !== 0;
  }

  /** Whether an entry can name that page of a file. */
  holdsFileIndex(fileIndex: FileIndex): boolean {
    return fileIndex < 2 ** this.format.fileIndexBits;
  }

  setFile(table: OpenTable, index: number, fileIndex: FileIndex): void {
    if (!this.holdsFileIndex(fileIndex)) bug(`no entry of ${this.format.name} holds file index ${fileIndex}`);
    if (this.inverted) this.store(table, index, (fileIndex << FRAME_SHIFT) | ABSENT_FILE, fileIndex >>> LOW_FRAME_BITS);
    else if (this.wide) this.store(table, index, ABSENT_FILE, fileIndex | 0);
    else this.store(table, index, ((fileIndex >>> 5) << 8) | ((fileIndex & 0x1f) << 1) | ABSENT_FILE, 0);
  }

  fileIndex(table: OpenTable, index: number): FileIndex {
    if (this.wide && !this.inverted) return this.high(table, index) >>> 0;
    const low = this.low(table, index);
    if (this.inverted) return (low >>> FRAME_SHIFT) + this.high(table, index) * 2 ** LOW_FRAME_BITS;
    return ((low >>> 1) & 0x1f) + (low >>> 8) * 0x20;
  }

  /** Entry `to` of `target` says what entry `from` of `source` says, whatever that is. */
  copy(source: OpenTable, from: number, target: OpenTable, to: number): void {
    this.store(target, to, this.low(source, from), this.high(source, from));
  }

  /** The place of an entry, as one number. */
  slotOf(table: OpenTable, index: number): PteSlot {
    return table * this.entriesPerFrame + index;
  }

  tableOf(slot: PteSlot): Pfn {
    return Math.floor(slot / this.entriesPerFrame);
  }

  indexOf(slot: PteSlot): number {
    return slot % this.entriesPerFrame;
  }

  /** High word first, so that an entry never names half a frame while it is present. */
  protected store(table: OpenTable, index: number, low: number, high: number): void {
    const { memory, wide } = this;
    const place = memory.ownPlaceOf(table);
    const word = wide ? index * 2 : index;
    if (place < 0) {
      if (wide) memory.write(table, word + 1, high);
      memory.write(table, word, low);
    } else {
      if (wide) memory.writeAt(place + word + 1, high);
      memory.writeAt(place + word, low);
    }
  }
}

/** The last place in ascending `numbers` that holds at most `value`. */
function lastAtMost(numbers: Int32Array, value: number): number {
  let [low, high] = [0, numbers.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >>> 1;
    if (numbers[middle]! <= value) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Bits that a present entry of one level must not have set: the MMU faults on them. */
export interface ReservedBits {
  /** By level: of the low word where L is set. */
  readonly lowIfLarge: Int32Array;
  /** Of the high word. */
  readonly high: number;
}

export function reservedBits(format: PagingFormat): ReservedBits {
  const lowIfLarge = new Int32Array(format.levels + 1);
  for (let level = 2; level <= format.levels; level++) {
    // Below a large page's frame lie zeros, but for bit 12, which is PAT there. Where no page is allowed, L is reserved.
    const frameShift = FRAME_SHIFT + format.indexBits * (level - 1);
    lowIfLarge[level] = format.mayMap(level) ? ((1 << frameShift) - 1) & ~0x1fff : PTE_LARGE;
  }
  return { lowIfLarge, high: reservedHigh(format) };
}

function reservedHigh(format: PagingFormat): number {
  if (format.entryBytes === 4) return 0;
  const aboveFrame = HIGH_FIELD & ~(2 ** (format.physicalBits - 32) - 1);
  const softwareIsReserved = format.cachesTopLevel ? 0x7ff00000 : 0;
  const noExecute = format.hasNoExecute ? 0 : HIGH_NO_EXECUTE;
  return aboveFrame | softwareIsReserved | noExecute;
}

/** Bits that a present PDPTE of PAE must not have set, low word: it carries P, PWT, PCD and what software likes. */
export const PDPTE_RESERVED = PTE_WRITE | PTE_USER | PTE_ACCESSED | PTE_DIRTY | PTE_LARGE | PTE_GLOBAL;
