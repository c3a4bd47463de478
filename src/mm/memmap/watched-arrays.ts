/**
 * Arrays of struct pages' fields, for a kernel that cannot reach struct pages without looking for them: each element that
 * is read or written is a struct page that somebody turns to.
 */
import { SparseFloat64, SparseInt32 } from "../../base/sparse-array.ts";
import type { Pfn } from "../../base/units.ts";

/** Told of what the kernel does with struct pages. */
export interface Watch {
  use(frame: Pfn): void;
  useRun(first: Pfn, end: Pfn): void;
}

export class WatchedInt32 extends SparseInt32 {
  private readonly watch: Watch;

  constructor(length: number, watch: Watch, fill = 0) {
    super(length, fill);
    this.watch = watch;
  }

  override read(index: number): number {
    this.watch.use(index);
    return super.read(index);
  }

  override write(index: number, value: number): void {
    this.watch.use(index);
    super.write(index, value);
  }

  override add(index: number, delta: number): number {
    this.watch.use(index);
    return super.add(index, delta);
  }

  override fill(first: number, end: number, value: number): void {
    this.watch.useRun(first, end);
    super.fill(first, end, value);
  }

  override lay(first: number, end: number, value: number, stride = 0): void {
    this.watch.useRun(first, end);
    super.lay(first, end, value, stride);
  }

  override addAll(first: number, end: number, delta: number): void {
    this.watch.useRun(first, end);
    super.addAll(first, end, delta);
  }

  override addEach(first: number, end: number, delta: number): void {
    for (let index = first; index < end; index++) this.add(index, delta);
  }

  override endOf(value: number, first: number, end: number): number {
    const found = super.endOf(value, first, end);
    this.watch.useRun(first, Math.min(found + 1, end));
    return found;
  }
}

export class WatchedFloat64 extends SparseFloat64 {
  private readonly watch: Watch;

  constructor(length: number, watch: Watch) {
    super(length);
    this.watch = watch;
  }

  override read(index: number): number {
    this.watch.use(index);
    return super.read(index);
  }

  override write(index: number, value: number): void {
    this.watch.use(index);
    super.write(index, value);
  }

  override add(index: number, delta: number): number {
    this.watch.use(index);
    return super.add(index, delta);
  }

  override fill(first: number, end: number, value: number): void {
    this.watch.useRun(first, end);
    super.fill(first, end, value);
  }

  override lay(first: number, end: number, value: number, stride = 0): void {
    this.watch.useRun(first, end);
    super.lay(first, end, value, stride);
  }
}
