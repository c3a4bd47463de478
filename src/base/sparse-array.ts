/**
 * Arrays as long as a machine's memory that cost only what has been written. An array is cut into sections; all
 * sections start as one shared section that holds the fill value, and a section gets memory of its own at the first
 * write of another value into it. Reading is two loads; indices are below 2^31 and not checked.
 *
 * One class a kind of element, alike but for it: in a shared one every read would have to ask which kind it has.
 */

/** Elements of a section: 2^15. */
const SECTION_SHIFT = 15;
const SECTION_LENGTH = 1 << SECTION_SHIFT;
const SECTION_MASK = SECTION_LENGTH - 1;

const sectionsFor = (length: number): number => Math.ceil(length / SECTION_LENGTH);

/** An array of 32-bit integers. */
export class SparseInt32 {
  readonly length: number;
  private readonly empty: Int32Array;
  private readonly sections: Int32Array[];
  private ownSections = 0;

  constructor(length: number, fill = 0) {
    this.length = length;
    this.empty = new Int32Array(SECTION_LENGTH).fill(fill);
    this.sections = new Array<Int32Array>(sectionsFor(length)).fill(this.empty);
  }

  read(index: number): number {
    return this.sections[index >>> SECTION_SHIFT][index & SECTION_MASK];
  }

  write(index: number, value: number): void {
    let section = this.sections[index >>> SECTION_SHIFT];
    if (section === this.empty) {
      if (value === section[0]) return;
      section = this.open(index);
    }
    section[index & SECTION_MASK] = value;
  }

  /** Adds to an element and returns the sum. */
  add(index: number, delta: number): number {
    const sum = this.read(index) + delta;
    this.write(index, sum);
    return sum;
  }

  /** Writes all of `[first, end)`. */
  fill(first: number, end: number, value: number): void {
    for (let at = first; at < end; ) {
      const stop = Math.min(end, at - (at & SECTION_MASK) + SECTION_LENGTH);
      this.write(at, value);
      const section = this.sections[at >>> SECTION_SHIFT];
      const last = stop - 1 - (at - (at & SECTION_MASK));
      if (section !== this.empty) for (let word = (at & SECTION_MASK) + 1; word <= last; word++) section[word] = value;
      at = stop;
    }
  }

  /** The first index of `[first, end)` that holds anything but `value`, or `end`. */
  endOf(value: number, first: number, end: number): number {
    for (let at = first; at < end; ) {
      const section = this.sections[at >>> SECTION_SHIFT];
      const start = at - (at & SECTION_MASK);
      const stop = Math.min(end, start + SECTION_LENGTH);
      let word = at - start;
      while (word < stop - start && section[word] === value) word++;
      at = start + word;
      if (at < stop) return at;
    }
    return end;
  }

  /** What the array costs its host. */
  get hostBytes(): number {
    return (this.ownSections + 1) * this.empty.byteLength + this.sections.length * 8;
  }

  private open(index: number): Int32Array {
    this.ownSections++;
    const section = this.empty.slice();
    this.sections[index >>> SECTION_SHIFT] = section;
    return section;
  }
}

/** An array of small integers: -128 to 127. */
export class SparseInt8 {
  readonly length: number;
  private readonly empty: Int8Array;
  private readonly sections: Int8Array[];
  private ownSections = 0;

  constructor(length: number, fill = 0) {
    this.length = length;
    this.empty = new Int8Array(SECTION_LENGTH).fill(fill);
    this.sections = new Array<Int8Array>(sectionsFor(length)).fill(this.empty);
  }

  read(index: number): number {
    return this.sections[index >>> SECTION_SHIFT][index & SECTION_MASK];
  }

  write(index: number, value: number): void {
    let section = this.sections[index >>> SECTION_SHIFT];
    if (section === this.empty) {
      if (value === section[0]) return;
      section = this.open(index);
    }
    section[index & SECTION_MASK] = value;
  }

  /** Writes all of `[first, end)`. */
  fill(first: number, end: number, value: number): void {
    for (let at = first; at < end; ) {
      const stop = Math.min(end, at - (at & SECTION_MASK) + SECTION_LENGTH);
      this.write(at, value);
      const section = this.sections[at >>> SECTION_SHIFT];
      const last = stop - 1 - (at - (at & SECTION_MASK));
      if (section !== this.empty) for (let word = (at & SECTION_MASK) + 1; word <= last; word++) section[word] = value;
      at = stop;
    }
  }

  /** The first index of `[first, end)` that holds anything but `value`, or `end`. */
  endOf(value: number, first: number, end: number): number {
    for (let at = first; at < end; ) {
      const section = this.sections[at >>> SECTION_SHIFT];
      const start = at - (at & SECTION_MASK);
      const stop = Math.min(end, start + SECTION_LENGTH);
      let word = at - start;
      while (word < stop - start && section[word] === value) word++;
      at = start + word;
      if (at < stop) return at;
    }
    return end;
  }

  /** What the array costs its host. */
  get hostBytes(): number {
    return (this.ownSections + 1) * this.empty.byteLength + this.sections.length * 8;
  }

  private open(index: number): Int8Array {
    this.ownSections++;
    const section = this.empty.slice();
    this.sections[index >>> SECTION_SHIFT] = section;
    return section;
  }
}

/** An array of doubles, for whatever does not fit 32 bits: page numbers, file indices, PTE slots. */
export class SparseFloat64 {
  readonly length: number;
  private readonly empty: Float64Array;
  private readonly sections: Float64Array[];
  private ownSections = 0;

  constructor(length: number, fill = 0) {
    this.length = length;
    this.empty = new Float64Array(SECTION_LENGTH).fill(fill);
    this.sections = new Array<Float64Array>(sectionsFor(length)).fill(this.empty);
  }

  read(index: number): number {
    return this.sections[index >>> SECTION_SHIFT][index & SECTION_MASK];
  }

  write(index: number, value: number): void {
    let section = this.sections[index >>> SECTION_SHIFT];
    if (section === this.empty) {
      if (value === section[0]) return;
      section = this.open(index);
    }
    section[index & SECTION_MASK] = value;
  }

  /** Adds to an element and returns the sum. */
  add(index: number, delta: number): number {
    const sum = this.read(index) + delta;
    this.write(index, sum);
    return sum;
  }

  /** What the array costs its host. */
  get hostBytes(): number {
    return (this.ownSections + 1) * this.empty.byteLength + this.sections.length * 8;
  }

  private open(index: number): Float64Array {
    this.ownSections++;
    const section = this.empty.slice();
    this.sections[index >>> SECTION_SHIFT] = section;
    return section;
  }
}
