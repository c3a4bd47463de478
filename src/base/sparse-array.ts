/**
 * Arrays as long as a machine's memory that cost only what is different. An array is cut into sections of 2^15 elements:
 *
 *   untouched    all elements have the fill value
 *   flat         elements of its own: what single writes make of an untouched section
 *   lined        64 blocks of 512 elements: what operations on ranges make of the others. Such a block is
 *                linear     value + stride x offset: all alike, or a straight line
 *                pieces     up to five such lines, one after the other
 *                literal    512 elements of its own
 *
 * Reading and writing a flat section is two loads and a comparison. Operations on ranges cost by the block where there are
 * lines; `lay` and `addAll` make lined sections of flat ones, and lines of literal blocks that have become lines. Indices
 * are below 2^31 and not checked.
 *
 * One class a kind of element, for what is done element by element: a read shared by all would have to ask each time
 * which kind it has. What is done by blocks they share.
 */

/** Elements of a section: 2^15. */
const SECTION_SHIFT = 15;
const SECTION_LENGTH = 1 << SECTION_SHIFT;
const SECTION_MASK = SECTION_LENGTH - 1;
/** Elements of a block: 2^9. */
const BLOCK_SHIFT = 9;
const BLOCK_LENGTH = 1 << BLOCK_SHIFT;
const BLOCK_MASK = BLOCK_LENGTH - 1;
const BLOCKS = SECTION_LENGTH / BLOCK_LENGTH;
/** In `places`: the block is one line. */
const LINEAR = 0;

const MOST_PIECES = 5;
/** Doubles of a record of pieces: for each its end, its value where it starts, and its stride. */
const RECORD = MOST_PIECES * 3;
/** An operation that touches fewer elements of a block makes it literal. */
const WORTH_LINES = 64;
/** What a block costs beside its elements: its place, its value and its stride. */
const DESCRIPTOR_BYTES = 4 + 8 + 8;
const FIRST_CAPACITY = 8;

type Elements = Int8Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** The lines of one block while it is being worked on: ends, values where each starts, strides. */
class Lines {
  count = 0;
  readonly ends = new Int32Array(2 * MOST_PIECES + 4);
  readonly values = new Float64Array(2 * MOST_PIECES + 4);
  readonly strides = new Float64Array(2 * MOST_PIECES + 4);

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

const lines = new Lines();
const edited = new Lines();

/** What all kinds of elements share. */
abstract class RunArray<E extends Elements> {
  readonly length: number;
  /** By section: its elements; `lined` for one that has none of its own. */
  protected readonly sections: E[];
  /** No section's elements. */
  protected readonly lined: E;
  /** The elements of literal blocks. */
  private data: E;
  private readonly initial: number;
  private flats = 0;
  /** By section: which of the lined ones it is; 0: it is untouched, or flat. */
  private readonly linedNumbers: Int32Array;
  private linedTaken = 1;
  /** By block of a lined section: LINEAR, or where its elements start in `data`, or minus the number of its pieces. */
  private places = new Int32Array(BLOCKS);
  /** By linear block: its first element, and its stride. */
  private values = new Float64Array(BLOCKS);
  private strides = new Float64Array(BLOCKS);
  /** Records of pieces; number 0 is nobody's. */
  private pieces = new Float64Array(0);
  private recordsTaken = 1;
  private readonly freeRecords: number[] = [];
  /** Literal blocks, counted from 1: the first block of `data` is nobody's. */
  private literalsTaken = 1;
  private readonly freeLiterals: number[] = [];

  constructor(length: number, fill: number, none: E) {
    const sections = Math.ceil(length / SECTION_LENGTH);
    this.length = length;
    this.initial = fill;
    this.values.fill(fill);
    this.lined = none;
    this.data = none;
    this.sections = new Array<E>(sections).fill(none);
    this.linedNumbers = new Int32Array(sections);
  }

  /** Writes all of `[first, end)`. What is flat or literal stays so: somebody changes it again soon. */
  fill(first: number, end: number, value: number): void {
    for (let at = first; at < end; ) {
      const section = this.sections[at >>> SECTION_SHIFT];
      const from = at & BLOCK_MASK;
      let to = Math.min(BLOCK_LENGTH, from + end - at);
      if (section !== this.lined) {
        const start = at & SECTION_MASK;
        to = Math.min(SECTION_LENGTH - start, end - at) + from;
        section.fill(value, start, start + to - from);
      } else if (this.linedNumbers[at >>> SECTION_SHIFT] !== 0 || value !== this.initial) {
        const block = this.blockOf(at);
        const place = this.places[block];
        if (place > 0) this.data.fill(value, place + from, place + to);
        else if (to - from === BLOCK_LENGTH) this.makeLinear(block, value, 0);
        else this.fillPart(block, from, to, value, 0);
      }
      at += to - from;
    }
  }

  /** The same to stay: `value`, and `stride` more from each to the next. Blocks become lines where they can. */
  lay(first: number, end: number, value: number, stride = 0): void {
    for (let at = first; at < end; ) {
      const block = this.blockOf(at);
      const from = at & BLOCK_MASK;
      const to = Math.min(BLOCK_LENGTH, from + end - at);
      const start = value + stride * (at - first);
      if (to - from === BLOCK_LENGTH) this.makeLinear(block, start, stride);
      else {
        this.fillPart(block, from, to, start, stride);
        if (to === BLOCK_LENGTH) this.compress(block);
      }
      at += to - from;
    }
  }

  /** Adds `delta` to all of `[first, end)`, which blocks that become lines remember as one number. */
  addAll(first: number, end: number, delta: number): void {
    for (let at = first; at < end; ) {
      const block = this.blockOf(at);
      const from = at & BLOCK_MASK;
      const to = Math.min(BLOCK_LENGTH, from + end - at);
      if (to - from === BLOCK_LENGTH && this.places[block] === LINEAR) this.values[block] += delta;
      else if (this.places[block] <= 0) {
        this.load(block);
        this.splice(block, from, to, (value) => value + delta, Number.NaN);
      } else {
        const place = this.spell(block);
        const { data } = this;
        for (let offset = from; offset < to; offset++) data[place + offset] += delta;
        if (to === BLOCK_LENGTH) this.compress(block);
      }
      at += to - from;
    }
  }

  /** The same where it is not to stay: what is flat stays flat. */
  addEach(first: number, end: number, delta: number): void {
    for (let at = first; at < end; ) {
      const stop = Math.min(end, at - (at & SECTION_MASK) + SECTION_LENGTH);
      const section = this.sections[at >>> SECTION_SHIFT];
      if (section === this.lined) this.addAll(at, stop, delta);
      else for (let word = at & SECTION_MASK; word < (at & SECTION_MASK) + stop - at; word++) section[word] += delta;
      at = stop;
    }
  }

  /** Whether the element lies where operations on ranges have made lines. */
  isLined(index: number): boolean {
    return this.linedNumbers[index >>> SECTION_SHIFT] !== 0;
  }

  /** The first index of `[first, end)` that holds anything but `value`, or `end`. */
  endOf(value: number, first: number, end: number): number {
    for (let at = first; at < end; ) {
      const section = this.sections[at >>> SECTION_SHIFT];
      const start = at - (at & SECTION_MASK);
      let stop = Math.min(end, start + SECTION_LENGTH);
      if (section !== this.lined) {
        at = start + this.endIn(section, value, at - start, stop - start);
      } else {
        const block = this.linedNumbers[at >>> SECTION_SHIFT] * BLOCKS + ((at >>> BLOCK_SHIFT) & (BLOCKS - 1));
        stop = Math.min(stop, at - (at & BLOCK_MASK) + BLOCK_LENGTH);
        at = this.endInBlock(block, value, at, stop);
      }
      if (at < stop) return at;
    }
    return end;
  }

  /** The same within a block of a lined section. */
  private endInBlock(block: number, value: number, first: number, end: number): number {
    const place = this.places[block];
    const offset = first & BLOCK_MASK;
    if (place > 0)
      return first - offset + this.endIn(this.data, value, place + offset, place + offset + end - first) - place;
    if (place === LINEAR && this.strides[block] === 0) return this.values[block] === value ? end : first;
    if (place === LINEAR) return this.inLines(first) === value ? first + 1 : first;
    const { pieces } = this;
    let at = first;
    for (let piece = -place * RECORD; at < end; piece += 3) {
      const stop = first - offset + pieces[piece];
      if (stop <= at) continue;
      if (this.inLines(at) !== value) return at;
      at = pieces[piece + 2] === 0 ? Math.min(stop, end) : at + 1;
      if (at < stop) return at;
    }
    return at;
  }

  /** Where the line ends that `first` is on, at most at `end`: the elements `[first, it)` differ by `stride` each. */
  endOfLine(stride: number, first: number, end: number): number {
    for (let at = first; at + 1 < end; ) {
      const number = this.linedNumbers[at >>> SECTION_SHIFT];
      const block = number * BLOCKS + ((at >>> BLOCK_SHIFT) & (BLOCKS - 1));
      const stop = Math.min(end, at - (at & BLOCK_MASK) + BLOCK_LENGTH);
      const isLine = this.sections[at >>> SECTION_SHIFT] === this.lined && this.places[block] === LINEAR;
      if (isLine && (this.strides[block] === stride || stop - at === 1)) at = stop - 1;
      else while (at + 1 < stop && this.valueAt(at + 1) - this.valueAt(at) === stride) at++;
      if (at + 1 < stop) return at + 1;
      if (stop === end) return end;
      if (this.valueAt(stop) - this.valueAt(at) !== stride) return stop;
      at = stop;
    }
    return end;
  }

  /** What the array costs its host. */
  get hostBytes(): number {
    const { BYTES_PER_ELEMENT: bytes } = this.lined;
    const elements = (this.literalsTaken - 1) * BLOCK_LENGTH + this.flats * SECTION_LENGTH;
    const descriptors = this.linedTaken * BLOCKS * DESCRIPTOR_BYTES;
    return elements * bytes + (this.recordsTaken - 1) * RECORD * 8 + descriptors + this.sections.length * 12;
  }

  /** That many elements, all zero. */
  protected abstract elements(length: number): E;

  /** The first index of `[first, end)` of `elements` that holds anything but `value`, or `end`. */
  protected abstract endIn(elements: E, value: number, first: number, end: number): number;

  private valueAt(index: number): number {
    const section = this.sections[index >>> SECTION_SHIFT];
    return section === this.lined ? this.inLines(index) : section[index & SECTION_MASK];
  }

  /** The element at an index whose section is not flat. */
  protected inLines(index: number): number {
    const block = this.linedNumbers[index >>> SECTION_SHIFT] * BLOCKS + ((index >>> BLOCK_SHIFT) & (BLOCKS - 1));
    const offset = index & BLOCK_MASK;
    const place = this.places[block];
    if (place > 0) return this.data[place + offset];
    if (place === LINEAR) return this.values[block] + this.strides[block] * offset;
    const { pieces } = this;
    let at = -place * RECORD;
    let start = 0;
    while (offset >= pieces[at]) {
      start = pieces[at];
      at += 3;
    }
    return pieces[at + 1] + pieces[at + 2] * (offset - start);
  }

  /** Writes an element whose section is not flat. */
  protected writeInLines(index: number, value: number): void {
    if (this.inLines(index) === value) return;
    if (this.linedNumbers[index >>> SECTION_SHIFT] !== 0) {
      const place = this.spell(this.blockOf(index));
      this.data[place + (index & BLOCK_MASK)] = value;
      return;
    }
    const section = this.elements(SECTION_LENGTH);
    if (this.initial !== 0) section.fill(this.initial);
    this.flats++;
    this.sections[index >>> SECTION_SHIFT] = section;
    section[index & SECTION_MASK] = value;
  }

  /** The block of an index, in a section that is lined from now on. */
  private blockOf(index: number): number {
    const section = index >>> SECTION_SHIFT;
    if (this.linedNumbers[section] === 0) this.makeLined(section);
    return this.linedNumbers[section] * BLOCKS + ((index >>> BLOCK_SHIFT) & (BLOCKS - 1));
  }

  private makeLined(section: number): void {
    const number = this.linedTaken++;
    if ((number + 1) * BLOCKS > this.places.length) {
      const length = Math.max(FIRST_CAPACITY, number * 2) * BLOCKS;
      this.places = longer(this.places, new Int32Array(length));
      this.values = longer(this.values, new Float64Array(length));
      this.strides = longer(this.strides, new Float64Array(length));
    }
    this.values.fill(this.initial, number * BLOCKS, (number + 1) * BLOCKS);
    this.linedNumbers[section] = number;
    const flat = this.sections[section];
    if (flat === this.lined) return;
    this.sections[section] = this.lined;
    this.flats--;
    for (let block = 0; block < BLOCKS; block++) {
      const elements = flat.subarray(block * BLOCK_LENGTH, (block + 1) * BLOCK_LENGTH);
      if (this.findLines(elements as E, 0)) this.store(number * BLOCKS + block);
      else {
        const place = this.spell(number * BLOCKS + block);
        this.data.set(elements, place);
      }
    }
  }

  private fillPart(block: number, from: number, to: number, start: number, stride: number): void {
    if (this.places[block] <= 0 && to - from >= WORTH_LINES) {
      this.load(block);
      this.splice(block, from, to, (_value, offset) => start + stride * (offset - from), stride);
      return;
    }
    const place = this.spell(block);
    const { data } = this;
    for (let offset = from; offset < to; offset++) data[place + offset] = start + stride * (offset - from);
  }

  /** Makes the block literal, if it is not; returns where its elements are. */
  private spell(block: number): number {
    const old = this.places[block];
    if (old > 0) return old;
    this.load(block);
    const place = (this.freeLiterals.pop() ?? this.literalsTaken++) * BLOCK_LENGTH;
    if (place + BLOCK_LENGTH > this.data.length) {
      this.data = longer(this.data, this.elements(Math.max(FIRST_CAPACITY * BLOCK_LENGTH, place * 2)));
    }
    const { data } = this;
    for (let line = 0, offset = 0; line < lines.count; line++) {
      const stride = lines.strides[line];
      for (let value = lines.values[line]; offset < lines.ends[line]; offset++, value += stride) {
        data[place + offset] = value;
      }
    }
    this.leave(block);
    this.places[block] = place;
    return place;
  }

  /** Puts the block's lines into `lines`. Requires: it is no literal one. */
  private load(block: number): void {
    const place = this.places[block];
    lines.count = 0;
    if (place === LINEAR) {
      lines.push(BLOCK_LENGTH, this.values[block], this.strides[block]);
      return;
    }
    const { pieces } = this;
    for (let at = -place * RECORD, end = 0; end < BLOCK_LENGTH; at += 3) {
      end = pieces[at];
      lines.push(end, pieces[at + 1], pieces[at + 2]);
    }
  }

  /** Stores `lines` with `[from, to)` changed; `stride` is the new one there, or NaN where strides stay. */
  private splice(
    block: number,
    from: number,
    to: number,
    changed: (value: number, offset: number) => number,
    stride: number,
  ): void {
    edited.count = 0;
    for (let line = 0, start = 0; line < lines.count; line++) {
      const end = lines.ends[line];
      const step = lines.strides[line];
      const valueAt = (offset: number): number => lines.values[line] + step * (offset - start);
      const inFrom = Math.max(start, from);
      const inTo = Math.min(end, to);
      if (inFrom < inTo) {
        edited.push(inFrom, valueAt(start), step);
        edited.push(inTo, changed(valueAt(inFrom), inFrom), Number.isNaN(stride) ? step : stride);
        edited.push(end, valueAt(inTo), step);
      } else edited.push(end, valueAt(start), step);
      start = end;
    }
    if (edited.count <= MOST_PIECES) {
      this.store(block);
      return;
    }
    const place = this.spell(block);
    const { data } = this;
    for (let line = 0, offset = 0; line < edited.count; line++) {
      for (let value = edited.values[line]; offset < edited.ends[line]; offset++, value += edited.strides[line]) {
        data[place + offset] = value;
      }
    }
  }

  /** Makes the block what `edited` says. Requires: it has few enough lines. */
  private store(block: number): void {
    if (edited.count === 1) {
      this.makeLinear(block, edited.values[0], edited.strides[0]);
      return;
    }
    this.leave(block);
    const record = this.freeRecords.pop() ?? this.recordsTaken++;
    if ((record + 1) * RECORD > this.pieces.length) {
      this.pieces = longer(this.pieces, new Float64Array(Math.max(FIRST_CAPACITY, record * 2) * RECORD));
    }
    const { pieces } = this;
    for (let line = 0, at = record * RECORD; line < edited.count; line++, at += 3) {
      pieces[at] = edited.ends[line];
      pieces[at + 1] = edited.values[line];
      pieces[at + 2] = edited.strides[line];
    }
    this.places[block] = -record;
  }

  private makeLinear(block: number, value: number, stride: number): void {
    if (this.places[block] !== LINEAR) this.leave(block);
    this.values[block] = value;
    this.strides[block] = stride;
  }

  /** Gives back what the block has beside its line. */
  private leave(block: number): void {
    const place = this.places[block];
    if (place > 0) this.freeLiterals.push(place / BLOCK_LENGTH);
    else if (place < 0) this.freeRecords.push(-place);
    this.places[block] = LINEAR;
  }

  /** Makes a literal block lines again if few enough lines say the same. */
  private compress(block: number): void {
    const place = this.places[block];
    if (place > 0 && this.findLines(this.data, place)) this.store(block);
  }

  /** Puts the lines of the block at `place` into `edited`: whether they are few enough. */
  private findLines(data: E, place: number): boolean {
    edited.count = 0;
    for (let start = 0; start < BLOCK_LENGTH; ) {
      if (edited.count === MOST_PIECES) return false;
      const first = data[place + start];
      const stride = start + 1 < BLOCK_LENGTH ? data[place + start + 1] - first : 0;
      let end = start + 1;
      while (end < BLOCK_LENGTH && data[place + end] - data[place + end - 1] === stride) end++;
      edited.push(end, first, stride);
      start = end;
    }
    return edited.count <= MOST_PIECES;
  }
}

function longer<E extends Elements>(elements: E, into: E): E {
  into.set(elements);
  return into;
}

/** An array of 32-bit integers. */
export class SparseInt32 extends RunArray<Int32Array<ArrayBuffer>> {
  constructor(length: number, fill = 0) {
    super(length, fill, new Int32Array(0));
  }

  read(index: number): number {
    const section = this.sections[index >>> SECTION_SHIFT];
    return section === this.lined ? this.inLines(index) : section[index & SECTION_MASK];
  }

  write(index: number, value: number): void {
    const section = this.sections[index >>> SECTION_SHIFT];
    if (section === this.lined) this.writeInLines(index, value);
    else section[index & SECTION_MASK] = value;
  }

  /** Adds to an element and returns the sum. */
  add(index: number, delta: number): number {
    const section = this.sections[index >>> SECTION_SHIFT];
    if (section !== this.lined) {
      const sum = section[index & SECTION_MASK] + delta;
      section[index & SECTION_MASK] = sum;
      return sum;
    }
    const sum = this.inLines(index) + delta;
    this.writeInLines(index, sum);
    return sum;
  }

  protected endIn(elements: Int32Array, value: number, first: number, end: number): number {
    let at = first;
    while (at < end && elements[at] === value) at++;
    return at;
  }

  protected elements(length: number): Int32Array<ArrayBuffer> {
    return new Int32Array(length);
  }
}

/** An array of small integers: -128 to 127. */
export class SparseInt8 extends RunArray<Int8Array<ArrayBuffer>> {
  constructor(length: number, fill = 0) {
    super(length, fill, new Int8Array(0));
  }

  read(index: number): number {
    const section = this.sections[index >>> SECTION_SHIFT];
    return section === this.lined ? this.inLines(index) : section[index & SECTION_MASK];
  }

  write(index: number, value: number): void {
    const section = this.sections[index >>> SECTION_SHIFT];
    if (section === this.lined) this.writeInLines(index, value);
    else section[index & SECTION_MASK] = value;
  }

  protected endIn(elements: Int8Array, value: number, first: number, end: number): number {
    let at = first;
    while (at < end && elements[at] === value) at++;
    return at;
  }

  protected elements(length: number): Int8Array<ArrayBuffer> {
    return new Int8Array(length);
  }
}

/** An array of doubles, for whatever does not fit 32 bits: page numbers, file indices, PTE slots. */
export class SparseFloat64 extends RunArray<Float64Array<ArrayBuffer>> {
  constructor(length: number, fill = 0) {
    super(length, fill, new Float64Array(0));
  }

  read(index: number): number {
    const section = this.sections[index >>> SECTION_SHIFT];
    return section === this.lined ? this.inLines(index) : section[index & SECTION_MASK];
  }

  write(index: number, value: number): void {
    const section = this.sections[index >>> SECTION_SHIFT];
    if (section === this.lined) this.writeInLines(index, value);
    else section[index & SECTION_MASK] = value;
  }

  /** Adds to an element and returns the sum. */
  add(index: number, delta: number): number {
    const section = this.sections[index >>> SECTION_SHIFT];
    if (section !== this.lined) {
      const sum = section[index & SECTION_MASK] + delta;
      section[index & SECTION_MASK] = sum;
      return sum;
    }
    const sum = this.inLines(index) + delta;
    this.writeInLines(index, sum);
    return sum;
  }

  protected endIn(elements: Float64Array, value: number, first: number, end: number): number {
    let at = first;
    while (at < end && elements[at] === value) at++;
    return at;
  }

  protected elements(length: number): Float64Array<ArrayBuffer> {
    return new Float64Array(length);
  }
}
