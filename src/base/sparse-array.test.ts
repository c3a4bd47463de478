import { describe, expect, test } from "vitest";
import { Runs } from "./owed-sums.ts";
import { Rng } from "./rng.ts";
import { SparseFloat64, SparseInt8, SparseInt32 } from "./sparse-array.ts";

describe.each([
  ["SparseInt32", SparseInt32],
  ["SparseFloat64", SparseFloat64],
  ["SparseInt8", SparseInt8],
] as const)("%s", (_name, Sparse) => {
  test("reads the fill value until something is written", () => {
    const array = new Sparse(100_000, -1);
    expect(array.read(0)).toBe(-1);
    array.write(99_999, 7);
    expect(array.read(99_999)).toBe(7);
    expect(array.read(99_998)).toBe(-1);
    expect(array.read(0)).toBe(-1);
  });

  test("a write touches no other section", () => {
    const array = new Sparse(1 << 17);
    array.write(5, 1);
    array.write((1 << 15) + 5, 2);
    expect([array.read(5), array.read((1 << 15) + 5), array.read((1 << 16) + 5)]).toEqual([1, 2, 0]);
  });

  test("writing the fill value costs no memory, and can overwrite", () => {
    const array = new Sparse(1 << 20, 3);
    const before = array.hostBytes;
    array.write(1000, 3);
    expect(array.hostBytes).toBe(before);
    array.write(1000, 4);
    expect(array.hostBytes).toBeGreaterThan(before);
    array.write(1000, 3);
    expect(array.read(1000)).toBe(3);
  });
});

test("sums are returned and kept", () => {
  const array = new SparseInt32(10);
  expect(array.add(3, 5)).toBe(5);
  expect(array.add(3, -6)).toBe(-1);
  expect(array.read(3)).toBe(-1);
  expect(new SparseFloat64(10, 2 ** 40).add(0, 1)).toBe(2 ** 40 + 1);
});

test("2^31 elements cost less than two MiB", () => {
  const array = new SparseInt32(2 ** 31);
  array.write(2 ** 31 - 1, 9);
  expect(array.read(2 ** 31 - 1)).toBe(9);
  expect(array.hostBytes).toBeLessThan(2 * 2 ** 20);
});

describe.each([
  ["SparseInt32", SparseInt32],
  ["SparseInt8", SparseInt8],
] as const)("ranges of a %s", (_name, Sparse) => {
  const boundary = 1 << 15;

  test("are written across sections, and nothing beside them", () => {
    const array = new Sparse(3 * boundary, -1);
    array.fill(boundary - 2, 2 * boundary + 1, 5);
    const at = [boundary - 3, boundary - 2, boundary, 2 * boundary - 1, 2 * boundary, 2 * boundary + 1];
    expect(at.map((index) => array.read(index))).toEqual([-1, 5, 5, 5, 5, -1]);
  });

  test("of the fill value cost no memory", () => {
    const array = new Sparse(3 * boundary);
    const before = array.hostBytes;
    array.fill(0, 3 * boundary, 0);
    expect(array.hostBytes).toBe(before);
  });

  test("end where another value stands", () => {
    const array = new Sparse(3 * boundary);
    expect(array.endOf(0, 7, 3 * boundary)).toBe(3 * boundary);
    array.write(2 * boundary, 1);
    expect(array.endOf(0, 7, 3 * boundary)).toBe(2 * boundary);
    expect(array.endOf(0, 7, boundary)).toBe(boundary);
    expect(array.endOf(1, 7, boundary)).toBe(7);
  });
});

describe.each([
  ["SparseInt32", SparseInt32, 1000],
  ["SparseFloat64", SparseFloat64, 2 ** 40],
  ["SparseInt8", SparseInt8, 2],
] as const)("a %s under random operations", (_name, Sparse, most) => {
  test.each([1, 2, 3, 4])("is what a plain array is (seed %i)", (seed) => {
    const rng = new Rng(seed);
    const length = 5 * 512 + 100;
    const sets = [0, 1].map(
      (at) => new Runs([at, 2, 4].map((part) => ({ first: part * 512 + 7, end: part * 512 + 400 }))),
    );
    const array = new Sparse(length, -1);
    const plain = new Array<number>(length).fill(-1);
    const edges = [0, 1, 511, 512, 513, 600, 1024, 1536, 2000, length];
    const place = () => (rng.below(2) === 0 ? edges[rng.below(edges.length)]! : rng.below(length + 1));
    for (let step = 0; step < 400; step++) {
      const [first, end] = [place(), place()].sort((one, other) => one - other) as [number, number];
      const value = rng.below(most);
      const kind = rng.below(10);
      const stride = most === 2 ? 0 : rng.below(3) - 1;
      if (kind < 4) {
        if (kind < 3) array.lay(first, end, value, stride);
        else array.fill(first, end, value);
        for (let at = first; at < end; at++) plain[at] = value + (kind < 3 ? stride * (at - first) : 0);
      } else if (kind < 6 && most > 2) {
        array.addAll(first, end, value);
        for (let at = first; at < end; at++) plain[at]! += value;
      } else if (kind === 6 && most > 2) {
        const set = sets[rng.below(sets.length)]!;
        array.addLater(set, value);
        for (let run = 0; run < set.count; run++) {
          for (let at = set.firsts[run]!; at < set.ends[run]!; at++) plain[at]! += value;
        }
      } else if (kind === 7) array.compact(first, Math.max(first + 1, end));
      else if (first < length) {
        array.write(first, value);
        plain[first] = value;
      }
      if (step % 20 === 0) expect(Array.from(plain, (_, at) => array.read(at))).toEqual(plain);
      const from = rng.below(length);
      const sought = plain[from]!;
      let same = from;
      while (same < length && plain[same] === sought) same++;
      expect(array.endOf(sought, from, length)).toBe(same);
      let line = from + 1;
      while (line < length && plain[line]! - plain[line - 1]! === stride) line++;
      expect(array.endOfLine(stride, from, length)).toBe(line);
    }
  });

  test("costs nothing again once all is as at first", () => {
    const array = new Sparse(100_000);
    array.lay(900, 90_000, 1);
    array.addAll(0, 100_000, 1);
    array.addAll(0, 100_000, -1);
    array.lay(900, 90_000, 0);
    expect(array.hostBytes).toBeLessThan(10_000);
  });
});

test("lines cost their blocks, and a literal block that has become lines is lines again", () => {
  const array = new SparseInt32(2 ** 20);
  array.lay(0, 2 ** 20, 7, 3);
  expect(array.hostBytes).toBeLessThan((2 ** 20 / 512) * 22);
  array.write(5000, 1);
  const literal = array.hostBytes;
  array.lay(4608, 5120, 7 + 3 * 4608, 3);
  expect(array.read(5000)).toBe(7 + 3 * 5000);
  array.write(100_000, 1);
  expect(array.hostBytes).toBe(literal);
});

test("what is added later is there at once, in all sections that its runs reach into, and costs one number", () => {
  const length = 4 * 2 ** 15;
  const array = new SparseInt32(length);
  const odd = new Runs(Array.from({ length: 2 ** 6 }, (_, at) => ({ first: at * 2048 + 1000, end: at * 2048 + 2000 })));
  const all = new Runs([{ first: 5, end: length - 5 }]);
  array.addLater(odd, 1);
  array.addLater(all, 10);
  array.addLater(odd, 2);
  expect([array.addedLater(odd), array.addedLater(all)]).toEqual([3, 10]);
  const before = array.hostBytes;
  for (let time = 0; time < 1000; time++) array.addLater(odd, 1);
  expect(array.hostBytes).toBe(before);
  expect([4, 5, 999, 1000, 1999, 2000, length - 6, length - 5].map((at) => array.read(at))).toEqual([
    0, 10, 10, 1013, 1013, 10, 10, 0,
  ]);
  expect(array.addedLater(odd)).toBe(0);
  expect(array.endOf(10, 5, length)).toBe(1000);
});

test("sections that single writes have made are lines, once somebody says that they are to stay", () => {
  const array = new SparseInt32(2 ** 16);
  for (let at = 0; at < 2 ** 16; at++) array.write(at, at % 500 === 0 ? 1 : 2 * at);
  const all = new Runs([{ first: 0, end: 2 ** 16 }]);
  expect(array.versionOf(all)).toBeNaN();
  const flat = array.hostBytes;
  array.compact(0, 2 ** 16);
  expect(array.hostBytes).toBeLessThan(flat / 10);
  expect([0, 1, 500, 501, 65_535].map((at) => array.read(at))).toEqual([1, 2, 1, 1002, 131_070]);
  const version = array.versionOf(all);
  array.addLater(all, 5);
  expect([array.read(1), array.versionOf(all)]).toEqual([7, version]);
  array.write(3, 5);
  expect(array.versionOf(all)).not.toBe(version);
});
