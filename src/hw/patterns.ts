/**
 * Contents that are numbers on a line: entries of one or two words, of which those of `[start, end)` are
 *
 *     pattern + (first + index) x 2^shift        as a number of 32 or 64 bits, the low word first
 *
 * and the others zero. `first` belongs to the frame, everything else to the pattern: there are few patterns, whatever the
 * number of frames. This is what a table of consecutive frames looks like, of which this file knows nothing.
 */

export interface Pattern {
  /** Words of an entry. */
  readonly entryWords: 1 | 2;
  /** The words of an entry whose number is 0; bits of `low` from `shift` on are zero. */
  readonly low: number;
  readonly high: number;
  readonly shift: number;
  /** Entries that are on the line. */
  readonly start: number;
  readonly end: number;
}

/** What one pattern takes of the host, about. */
const PATTERN_BYTES = 200;

export class Patterns {
  private readonly list: Pattern[] = [];
  private readonly numbers = new Map<string, number>();
  /** The pattern that was asked for last. */
  private last: Pattern | undefined;
  private lastNumber = 0;

  /** The pattern's number: alike patterns have the same. */
  numberOf(pattern: Pattern): number {
    if (this.last === pattern) return this.lastNumber;
    const { entryWords, low, high, shift, start, end } = pattern;
    const key = `${entryWords} ${low} ${high} ${shift} ${start} ${end}`;
    let number = this.numbers.get(key);
    if (number === undefined) {
      number = this.list.length;
      this.list.push(pattern);
      this.numbers.set(key, number);
    }
    this.last = pattern;
    this.lastNumber = number;
    return number;
  }

  at(number: number): Pattern {
    return this.list[number]!;
  }

  word(number: number, first: number, word: number): number {
    const { entryWords, low, high, shift, start, end } = this.list[number]!;
    const index = entryWords === 2 ? word >>> 1 : word;
    if (index < start || index >= end) return 0;
    const value = first + index;
    const isHigh = entryWords === 2 && (word & 1) !== 0;
    return isHigh ? high | (value >>> (32 - shift)) : low | (value << shift);
  }

  /** Writes the words that are not zero, from `place` on. */
  spell(number: number, first: number, words: Int32Array, place: number): void {
    const { entryWords, low, high, shift, start, end } = this.list[number]!;
    for (let index = start; index < end; index++) {
      const at = place + index * entryWords;
      words[at] = low | ((first + index) << shift);
      if (entryWords === 2) words[at + 1] = high | ((first + index) >>> (32 - shift));
    }
  }

  get hostBytes(): number {
    return this.list.length * PATTERN_BYTES;
  }
}
