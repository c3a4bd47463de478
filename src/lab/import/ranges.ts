/** A set of numbers as sorted, disjoint, half-open ranges. Looking twice in one range is quick. */
export class Ranges {
  private readonly starts: number[] = [];
  private readonly ends: number[] = [];
  private last = 0;

  get count(): number {
    return this.starts.length;
  }

  has(value: number): boolean {
    const { starts, ends, last } = this;
    if (last < starts.length && value >= starts[last] && value < ends[last]) return true;
    const at = this.after(value) - 1;
    if (at < 0 || value >= ends[at]) return false;
    this.last = at;
    return true;
  }

  add(start: number, end: number): void {
    if (start >= end) return;
    let from = this.after(start);
    let first = start;
    let beyond = end;
    if (from > 0 && this.ends[from - 1] >= start) first = this.starts[--from];
    let to = from;
    while (to < this.starts.length && this.starts[to] <= end) beyond = Math.max(beyond, this.ends[to++]);
    this.starts.splice(from, to - from, first);
    this.ends.splice(from, to - from, beyond);
  }

  remove(start: number, end: number): void {
    for (const [from, to] of this.within(start, end)) {
      const at = this.after(from) - 1;
      const [first, beyond] = [this.starts[at], this.ends[at]];
      const starts = [first, to].filter((_, i) => (i === 0 ? first < from : to < beyond));
      const ends = [from, beyond].filter((_, i) => (i === 0 ? first < from : to < beyond));
      this.starts.splice(at, 1, ...starts);
      this.ends.splice(at, 1, ...ends);
    }
  }

  /** The parts of [start, end) that are in the set. */
  within(start: number, end: number): [number, number][] {
    const parts: [number, number][] = [];
    for (let at = Math.max(0, this.after(start) - 1); at < this.starts.length && this.starts[at] < end; at++) {
      const from = Math.max(start, this.starts[at]);
      const to = Math.min(end, this.ends[at]);
      if (from < to) parts.push([from, to]);
    }
    return parts;
  }

  /** The parts of [start, end) that are not. */
  gaps(start: number, end: number): [number, number][] {
    const parts: [number, number][] = [];
    let from = start;
    for (const [first, beyond] of this.within(start, end)) {
      if (from < first) parts.push([from, first]);
      from = beyond;
    }
    if (from < end) parts.push([from, end]);
    return parts;
  }

  copy(): Ranges {
    const other = new Ranges();
    other.starts.push(...this.starts);
    other.ends.push(...this.ends);
    return other;
  }

  clear(): void {
    this.starts.length = 0;
    this.ends.length = 0;
  }

  /** The first index whose start is greater than `value`. */
  private after(value: number): number {
    let low = 0;
    let high = this.starts.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.starts[middle] <= value) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
