/**
 * Straight lines that make up a block of an array, one after the other: each up to an end, from a value where it starts,
 * growing by a stride. `Lines` are those of one block while somebody works on them, `LineRecords` keep those of all blocks
 * that have more than one, in records of as many units as they need.
 *
 *     record    end, value, stride | end, value, stride | ...      units of 3 lines; the last line ends where the block does
 */

/** A block with more lines than this is better off with elements of its own. */
export const MOST_LINES = 12;

/** Doubles of a line, and of a unit. */
const LINE = 3;
const UNIT_LINES = 3;
const UNIT = UNIT_LINES * LINE;
const FIRST_UNITS = 8;

/** The lines of one block: ends, values where each starts, strides. */
export class Lines {
  count = 0;
  readonly ends = new Int32Array(2 * MOST_LINES + 4);
  readonly values = new Float64Array(2 * MOST_LINES + 4);
  readonly strides = new Float64Array(2 * MOST_LINES + 4);

  /** One more line, up to `end`; a continuation of the one before it is the same line. */
  push(end: number, value: number, stride: number): void {
    const last = this.count - 1;
    const start = last < 0 ? 0 : this.ends[last];
    if (end <= start) return;
    if (last >= 0) {
      const before = last === 0 ? 0 : this.ends[last - 1];
      const lastIsOne = start - before === 1;
      const thisIsOne = end - start === 1;
      const step = lastIsOne ? (thisIsOne ? value - this.values[last] : stride) : this.strides[last];
      if ((thisIsOne || stride === step) && value === this.values[last] + step * (start - before)) {
        this.ends[last] = end;
        this.strides[last] = step;
        return;
      }
    }
    this.ends[this.count] = end;
    this.values[this.count] = value;
    this.strides[this.count] = end - start === 1 ? 0 : stride;
    this.count++;
  }
}

export class LineRecords {
  /** A record starts at its number times UNIT; number 0 is nobody's. */
  data = new Float64Array(0);
  private taken = 1;
  /** By units of a record: free ones. */
  private readonly free: number[][] = Array.from({ length: unitsFor(MOST_LINES) + 1 }, () => []);

  /** Keeps the lines: the record's number. */
  store({ count, ends, values, strides }: Lines): number {
    const units = unitsFor(count);
    let record = this.free[units]!.pop();
    if (record === undefined) {
      record = this.taken;
      this.taken += units;
      if (this.taken * UNIT > this.data.length) this.enlarge();
    }
    const { data } = this;
    for (let line = 0, at = record * UNIT; line < count; line++, at += LINE) {
      data[at] = ends[line];
      data[at + 1] = values[line];
      data[at + 2] = strides[line];
    }
    return record;
  }

  /** Adds the lines of a record of a block of `length` elements to `lines`. */
  load(record: number, length: number, lines: Lines): void {
    const { data } = this;
    for (let at = record * UNIT, end = 0; end < length; at += LINE) {
      end = data[at];
      lines.push(end, data[at + 1], data[at + 2]);
    }
  }

  /** Gives the record of a block of `length` elements back. */
  drop(record: number, length: number): void {
    let count = 1;
    for (let at = record * UNIT; this.data[at] < length; at += LINE) count++;
    this.free[unitsFor(count)]!.push(record);
  }

  /** What the element at `offset` of the record's block is. */
  read(record: number, offset: number): number {
    const { data } = this;
    let at = record * UNIT;
    let start = 0;
    while (offset >= data[at]) {
      start = data[at];
      at += LINE;
    }
    return data[at + 1] + data[at + 2] * (offset - start);
  }

  /** The line on which the element at `offset` is: where its three numbers are in `data`. */
  lineAt(record: number, offset: number): number {
    let at = record * UNIT;
    while (offset >= this.data[at]) at += LINE;
    return at;
  }

  /** Adds to all of `[from, to)` if that is one line of the record; whether it is. */
  tryAdd(record: number, from: number, to: number, delta: number): boolean {
    const { data } = this;
    const at = this.lineAt(record, from);
    const start = at === record * UNIT ? 0 : data[at - LINE];
    if (start !== from || data[at] !== to) return false;
    data[at + 1] += delta;
    return true;
  }

  get hostBytes(): number {
    return (this.taken - 1) * UNIT * 8;
  }

  private enlarge(): void {
    const longer = new Float64Array(Math.max(FIRST_UNITS, this.taken * 2) * UNIT);
    longer.set(this.data);
    this.data = longer;
  }
}

/** Records have 1, 2 or 4 units. */
const unitsFor = (lines: number): number => (lines <= UNIT_LINES ? 1 : lines <= 2 * UNIT_LINES ? 2 : 4);
