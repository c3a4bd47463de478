import { describe, expect, test } from "vitest";
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
