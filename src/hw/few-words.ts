/**
 * Frames of which only a few words are not zero: each has a record of (word, value) pairs instead of 4 KiB. Records come
 * in sizes of 7, 15, 31 and 63 words; beyond that a frame is better off with words of its own.
 *
 *     record    words | capacity << 16, then which word each is, then the values      16, 32, 64 or 128 int32s
 */
import { bug } from "../base/errors.ts";

/** Records start at multiples of this many int32s. */
const UNIT = 16;
const SIZES = [7, 15, 31, 63] as const;
const CAPACITY_SHIFT = 16;
const COUNT_MASK = (1 << CAPACITY_SHIFT) - 1;
const FIRST_LENGTH = 1 << 12;

/** A record that no longer suffices: the frame has more words than the largest holds. */
export const TOO_MANY = -1;
/** A record whose last word has become zero. */
export const EMPTY = -2;

export class FewWords {
  private data = new Int32Array(0);
  /** Units taken so far; free records are kept by size. */
  private units = 0;
  private readonly free: readonly number[][] = SIZES.map(() => []);

  /** What the records cost their host. */
  get hostBytes(): number {
    return this.units * UNIT * 4;
  }

  /** What one more word may cost at most. */
  get nextBytes(): number {
    return (SIZES[SIZES.length - 1]! + 1) * 2 * 4;
  }

  /** A record of one word. */
  create(word: number, value: number): number {
    const record = this.take(0);
    const at = record * UNIT;
    this.data[at] = 1 | (SIZES[0] << CAPACITY_SHIFT);
    this.data[at + 1] = word;
    this.data[at + 1 + SIZES[0]] = value;
    return record;
  }

  read(record: number, word: number): number {
    const at = this.find(record, word);
    return at < 0 ? 0 : this.data[at + (this.data[record * UNIT]! >>> CAPACITY_SHIFT)]!;
  }

  /** Writes a word: the record, perhaps another one now, or TOO_MANY with nothing changed, or EMPTY with it gone. */
  write(record: number, word: number, value: number): number {
    const { data } = this;
    const header = data[record * UNIT]!;
    const capacity = header >>> CAPACITY_SHIFT;
    const count = header & COUNT_MASK;
    const at = this.find(record, word);
    if (at >= 0) {
      if (value === 0) return this.remove(record, at);
      data[at + capacity] = value;
      return record;
    }
    if (value === 0) return record;
    if (count === capacity) {
      const larger = this.enlarged(record);
      return larger === TOO_MANY ? TOO_MANY : this.write(larger, word, value);
    }
    const first = record * UNIT + 1;
    data[first + count] = word;
    data[first + count + capacity] = value;
    data[record * UNIT]!++;
    return record;
  }

  /** Visits the words that are not zero. */
  forEach(record: number, visit: (word: number, value: number) => void): void {
    const header = this.data[record * UNIT]!;
    const capacity = header >>> CAPACITY_SHIFT;
    const first = record * UNIT + 1;
    for (let at = first; at < first + (header & COUNT_MASK); at++) visit(this.data[at]!, this.data[at + capacity]!);
  }

  /** Gives the record back. */
  drop(record: number): void {
    this.free[this.sizeOf(record)]!.push(record);
  }

  /** A record with the same words. */
  copy(record: number): number {
    const size = this.sizeOf(record);
    const other = this.take(size);
    this.data.copyWithin(other * UNIT, record * UNIT, record * UNIT + (UNIT << size));
    return other;
  }

  private sizeOf(record: number): number {
    return Math.log2((this.data[record * UNIT]! >>> CAPACITY_SHIFT) + 1) - 3;
  }

  private find(record: number, word: number): number {
    const { data } = this;
    const first = record * UNIT + 1;
    const end = first + (data[record * UNIT]! & COUNT_MASK);
    for (let at = first; at < end; at++) if (data[at] === word) return at;
    return -1;
  }

  private remove(record: number, at: number): number {
    const { data } = this;
    const capacity = data[record * UNIT]! >>> CAPACITY_SHIFT;
    const left = (data[record * UNIT]! & COUNT_MASK) - 1;
    if (left === 0) {
      this.drop(record);
      return EMPTY;
    }
    const last = record * UNIT + 1 + left;
    data[at] = data[last]!;
    data[at + capacity] = data[last + capacity]!;
    data[record * UNIT]!--;
    return record;
  }

  private enlarged(record: number): number {
    const size = this.sizeOf(record);
    if (size + 1 === SIZES.length) return TOO_MANY;
    const larger = this.take(size + 1);
    const { data } = this;
    const [from, to] = [SIZES[size]!, SIZES[size + 1]!];
    const count = data[record * UNIT]! & COUNT_MASK;
    if (count !== from) bug(`a record of ${count} words is enlarged, it has room for ${from}`);
    data[larger * UNIT] = count | (to << CAPACITY_SHIFT);
    const old = record * UNIT + 1;
    data.copyWithin(larger * UNIT + 1, old, old + from);
    data.copyWithin(larger * UNIT + 1 + to, old + from, old + 2 * from);
    this.drop(record);
    return larger;
  }

  private take(size: number): number {
    const free = this.free[size]!.pop();
    if (free !== undefined) return free;
    const record = this.units;
    this.units += 1 << size;
    if (this.units * UNIT > this.data.length) {
      const longer = new Int32Array(Math.max(FIRST_LENGTH, this.data.length * 2));
      longer.set(this.data);
      this.data = longer;
    }
    return record;
  }
}
