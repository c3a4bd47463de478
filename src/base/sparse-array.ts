/**
 * Arrays as long as a machine's memory that cost only what is different. An array is cut into sections of 2^15 elements:
 *
 *   untouched    all elements have the fill value
 *   flat         elements of its own: what single writes make of an untouched section
 *   lined        64 blocks of 512 elements: what operations on ranges make of the others. Such a block is
 *                linear     value + stride x offset: all alike, or a straight line
 *                lines      up to twelve such lines, one after the other
 *                literal    512 elements of its own
 *
 * Reading and writing a flat section is two loads and a comparison. Operations on ranges cost by the block where there are
 * lines; `lay`, `addAll` and `compact` make lined sections of flat ones, and lines of literal blocks that have become lines.
 * What is added to the same thousands of runs again and again (`addLater`) is one number until somebody looks at one of
 * their sections. Indices are below 2^31 and not checked.
 *
 * One class a kind of element, for what is done element by element: a read shared by all would have to ask each time
 * which kind it has. What is done by blocks they share.
 */

import { LineRecords, Lines, MOST_LINES } from "./lines.ts";
import { OwedSums, type Runs } from "./owed-sums.ts";

const SECTION_SHIFT = 15;
/** Elements of a section: 2^15. */
export const SECTION_LENGTH = 1 << SECTION_SHIFT;
const SECTION_MASK = SECTION_LENGTH - 1;
/** Elements of a block: 2^9. */
const BLOCK_SHIFT = 9;
const BLOCK_LENGTH = 1 << BLOCK_SHIFT;
const BLOCK_MASK = BLOCK_LENGTH - 1;
const BLOCKS = SECTION_LENGTH / BLOCK_LENGTH;
/** In `places`: the block is one line. */
const LINEAR = 0;

/** An operation that touches fewer elements of a block makes it literal. */
const WORTH_LINES = 64;
/** What a block costs beside its elements: its place, its value and its stride. */
const DESCRIPTOR_BYTES = 4 + 8 + 8;
/** What a section costs at least: a pointer and its number. What else there is costs the host nothing until it is lined. */
const SECTION_BYTES = 8 + 4;
const FIRST_CAPACITY = 8;

type Elements = Int8Array<ArrayBuffer> | Int32Array<ArrayBuffer> | Float64Array<ArrayBuffer>;

/** The lines of a block that is being worked on, and what becomes of them. */
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
  /** By section: changes since it is lined. */
  private readonly versions: Float64Array;
  /** By block of a lined section: LINEAR, or where its elements start in `data`, or minus the number of its record. */
  private places = new Int32Array(BLOCKS);
  /** By linear block: its first element, and its stride. */
  private values = new Float64Array(BLOCKS);
  private strides = new Float64Array(BLOCKS);
  private readonly records = new LineRecords();
  private readonly owed: OwedSums;
  /** What has been added later is being written down: nothing changes. */
  private isSettling = false;
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
    this.versions = new Float64Array(sections);
    this.owed = new OwedSums(SECTION_SHIFT, sections);
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

  /** The same for a few or many: what is untouched becomes flat by few, and lines by many. */
  put(first: number, end: number, value: number, stride = 0): void {
    if (end - first >= WORTH_LINES) {
      this.lay(first, end, value, stride);
      return;
    }
    for (let at = first, next = value; at < end; at++, next += stride) {
      const section = this.sections[at >>> SECTION_SHIFT];
      if (section === this.lined) this.writeInLines(at, next);
      else section[at & SECTION_MASK] = next;
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
      const record = -this.places[block];
      if (to - from === BLOCK_LENGTH && record === 0) this.values[block] += delta;
      else if (record >= 0) {
        if (record === 0 || !this.records.tryAdd(record, from, to, delta)) {
          this.load(block);
          this.splice(block, from, to, delta, Number.NaN);
        }
      } else {
        const place = this.spell(block);
        const { data } = this;
        for (let offset = from; offset < to; offset++) data[place + offset] += delta;
        if (to === BLOCK_LENGTH) this.compress(block);
      }
      at += to - from;
    }
  }

  /**
   * The same for all elements of `runs`, at the cost of one: it is written there when somebody looks. Worth its while for
   * runs that are the same again and again.
   */
  addLater(runs: Runs, delta: number): void {
    this.owed.add(runs, delta, (section) => {
      if (this.linedNumbers[section] === 0) this.makeLined(section);
    });
  }

  /** What is not yet written of that. */
  addedLater(runs: Runs): number {
    return this.owed.of(runs);
  }

  /** Makes lines of all sections that `[first, end)` reaches into and somebody has written, as far as they can be. */
  compact(first: number, end: number): void {
    for (let section = first >>> SECTION_SHIFT; section <= (end - 1) >>> SECTION_SHIFT; section++) {
      const number = this.linedNumbers[section];
      if (number === 0 && this.sections[section] !== this.lined) this.makeLined(section);
      else if (number !== 0) for (let block = 0; block < BLOCKS; block++) this.compress(number * BLOCKS + block);
    }
  }

  /**
   * A number that changes with each change, but for what is added later, in the sections that the runs reach into; not a
   * number where changes are not counted, because a section has no lines.
   */
  versionOf(runs: Runs): number {
    let sum = 0;
    for (const section of runs.sections(SECTION_SHIFT)) {
      sum += this.linedNumbers[section] === 0 ? Number.NaN : this.versions[section];
    }
    return sum;
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
        this.settle(at >>> SECTION_SHIFT);
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
    const { data } = this.records;
    for (let at = first; at < end; ) {
      const line = this.records.lineAt(-place, at & BLOCK_MASK);
      if (this.inLines(at) !== value) return at;
      const stop = Math.min(first - offset + data[line], end);
      at = data[line + 2] === 0 ? stop : at + 1;
      if (at < stop) return this.inLines(at) === value ? this.endInBlock(block, value, at, end) : at;
    }
    return end;
  }

  /** Where the line ends that `first` is on, at most at `end`: the elements `[first, it)` differ by `stride` each. */
  endOfLine(stride: number, first: number, end: number): number {
    for (let at = first; at + 1 < end; ) {
      this.settle(at >>> SECTION_SHIFT);
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
    return elements * bytes + this.records.hostBytes + descriptors + this.sections.length * SECTION_BYTES;
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
    const section = index >>> SECTION_SHIFT;
    if (this.owed.isOwed(section)) this.settle(section);
    const block = this.linedNumbers[section] * BLOCKS + ((index >>> BLOCK_SHIFT) & (BLOCKS - 1));
    const offset = index & BLOCK_MASK;
    const place = this.places[block];
    if (place > 0) return this.data[place + offset];
    if (place === LINEAR) return this.values[block] + this.strides[block] * offset;
    return this.records.read(-place, offset);
  }

  /** Writes an element whose section is not flat. */
  protected writeInLines(index: number, value: number): void {
    if (this.inLines(index) === value) return;
    if (this.linedNumbers[index >>> SECTION_SHIFT] !== 0) {
      const block = this.blockOf(index);
      const offset = index & BLOCK_MASK;
      if (this.places[block] > 0) this.data[this.places[block] + offset] = value;
      else {
        this.load(block);
        this.splice(block, offset, offset + 1, value, 0);
      }
      return;
    }
    const section = this.elements(SECTION_LENGTH);
    if (this.initial !== 0) section.fill(this.initial);
    this.flats++;
    this.sections[index >>> SECTION_SHIFT] = section;
    section[index & SECTION_MASK] = value;
  }

  /** Writes down what is owed to a section. */
  private settle(section: number): void {
    if (!this.owed.isOwed(section)) return;
    this.isSettling = true;
    this.owed.settle(section, (first, end, delta) => this.addAll(first, end, delta));
    this.isSettling = false;
  }

  /** The block of an index, in a section that is lined from now on. */
  private blockOf(index: number): number {
    const section = index >>> SECTION_SHIFT;
    if (this.linedNumbers[section] === 0) this.makeLined(section);
    else if (this.owed.isOwed(section)) this.settle(section);
    if (!this.isSettling) this.versions[section]++;
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
    const isSame = stride === 0 && this.places[block] === LINEAR && this.strides[block] === 0;
    if (isSame && this.values[block] === start) return;
    if (this.places[block] <= 0 && (to - from >= WORTH_LINES || to - from === 1)) {
      this.load(block);
      this.splice(block, from, to, start, stride);
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
    this.records.load(-place, BLOCK_LENGTH, lines);
  }

  /**
   * Stores `lines` with `[from, to)` changed: to a line that starts with `value` there and grows by `stride`; or, where that
   * is NaN, by adding `value` to all.
   */
  private splice(block: number, from: number, to: number, value: number, stride: number): void {
    const isSum = Number.isNaN(stride);
    const { ends, values, strides, count } = lines;
    edited.count = 0;
    for (let line = 0, start = 0; line < count; line++) {
      const end = ends[line];
      const step = strides[line];
      const first = values[line];
      if (start < to && end > from) {
        const inFrom = Math.max(start, from);
        const inTo = Math.min(end, to);
        edited.push(inFrom, first, step);
        if (isSum) edited.push(inTo, first + step * (inFrom - start) + value, step);
        else edited.push(inTo, value + stride * (inFrom - from), stride);
        edited.push(end, first + step * (inTo - start), step);
      } else edited.push(end, first, step);
      start = end;
    }
    if (edited.count <= MOST_LINES) {
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
    this.places[block] = -this.records.store(edited);
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
    else if (place < 0) this.records.drop(-place, BLOCK_LENGTH);
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
      if (edited.count === MOST_LINES) return false;
      const first = data[place + start];
      const stride = start + 1 < BLOCK_LENGTH ? data[place + start + 1] - first : 0;
      let end = start + 1;
      while (end < BLOCK_LENGTH && data[place + end] - data[place + end - 1] === stride) end++;
      edited.push(end, first, stride);
      start = end;
    }
    return edited.count <= MOST_LINES;
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
