/**
 * Arrays of struct pages' fields, for a kernel that cannot reach struct pages without looking for them: each element that
 * is read or written is a struct page that somebody turns to.
 */
import type { SparseFloat64, SparseInt32 } from "../../base/sparse-array.ts";
import type { Pfn } from "../../base/units.ts";

/** Told of what the kernel does with struct pages. */
export interface Watch {
  use(frame: Pfn): void;
  useRun(first: Pfn, end: Pfn): void;
}

/** From now on `watch` is told of each use of the array, which is one field of all struct pages. */
export function watchUses(field: SparseInt32 | SparseFloat64, watch: Watch): void {
  const { read, write, add, fill, lay, addAll, endOf } = field;
  field.read = (index) => {
    watch.use(index);
    return read.call(field, index);
  };
  field.write = (index, value) => {
    watch.use(index);
    write.call(field, index, value);
  };
  field.add = (index, delta) => {
    watch.use(index);
    return add.call(field, index, delta);
  };
  field.fill = (first, end, value) => {
    watch.useRun(first, end);
    fill.call(field, first, end, value);
  };
  field.lay = (first, end, value, stride) => {
    watch.useRun(first, end);
    lay.call(field, first, end, value, stride);
  };
  field.addAll = (first, end, delta) => {
    watch.useRun(first, end);
    addAll.call(field, first, end, delta);
  };
  field.put = (first, end, value, stride = 0) => {
    for (let index = first; index < end; index++) field.write(index, value + stride * (index - first));
  };
  field.addEach = (first, end, delta) => {
    for (let index = first; index < end; index++) field.add(index, delta);
  };
  field.addLater = ({ firsts, ends, count }, delta) => {
    for (let run = 0; run < count; run++) field.addEach(firsts[run]!, ends[run]!, delta);
  };
  field.endOf = (value, first, end) => {
    const found = endOf.call(field, value, first, end);
    watch.useRun(first, Math.min(found + 1, end));
    return found;
  };
}
