import { describe, expect, test } from "vitest";
import { pageOf } from "../../base/units.ts";
import { pagingFormats } from "../../hw/paging-format.ts";
import { processesThatFit, tableBytes } from "./table-arithmetic.ts";

const GIB = 2 ** 30;
const TIB = 2 ** 40;
const MIB = 2 ** 20;

const { i386, pae, "x86-64": x64 } = pagingFormats;

/** Tables of processes that share a segment of so many bytes, which starts at a whole GiB. */
const shared = (processes: number, bytes: number, level = 1, inCommon: readonly number[] = []) => {
  const { leaf, upper } = tableBytes(x64, { processes, first: pageOf(GIB), pages: pageOf(bytes), level, inCommon });
  return { leaf, all: leaf + upper };
};

const rounded = (bytes: number, unit: number, digits: number) => Number((bytes / unit).toFixed(digits));

describe("four levels, every page touched", () => {
  test("300 GiB and 1500 clients: 878.9 GiB of leaf tables, 880.6 with the upper levels", () => {
    const { leaf, all } = shared(1500, 300 * GIB);
    expect([rounded(leaf, GIB, 1), rounded(all, GIB, 1)]).toEqual([878.9, 880.6]);
  });

  test("100 GiB and 100 connections: 19.53 GiB of leaf tables, 19.57 with the upper levels", () => {
    const { leaf, all } = shared(100, 100 * GIB);
    expect([rounded(leaf, GIB, 2), rounded(all, GIB, 2)]).toEqual([19.53, 19.57]);
  });

  test("256 GiB and 5000 processes: 2.45 TiB, 4.9 GiB, 40 MiB, 39 MiB, or 552 MiB", () => {
    const of = (level: number, inCommon: readonly number[] = []) => shared(5000, 256 * GIB, level, inCommon).all;
    expect(of(1)).toBe(5000 * (131_072 + 256 + 1 + 1) * 4096);
    expect(rounded(of(1), TIB, 2)).toBe(2.45);
    expect(of(2)).toBe(5000 * (256 + 1 + 1) * 4096);
    expect(rounded(of(2), GIB, 1)).toBe(4.9);
    expect(of(2, [2])).toBe((5000 * 2 + 256) * 4096);
    expect(rounded(of(2, [2]), MIB, 0)).toBe(40);
    expect(of(3)).toBe(5000 * 2 * 4096);
    expect(rounded(of(3), MIB, 0)).toBe(39);
    expect(rounded(of(1, [1, 2]), MIB, 0)).toBe(552);
  });

  test("one tree for all has its own upper two besides: 552.07 MiB", () => {
    const mapped = { processes: 5000, first: pageOf(GIB), level: 1, inCommon: [1, 2], ownTree: true };
    const all = (bytes: number) => {
      const { leaf, upper } = tableBytes(x64, { ...mapped, pages: pageOf(bytes) });
      return (leaf + upper) / 4096;
    };
    expect(all(256 * GIB)).toBe(256 * 512 + 256 + 2 + 5000 * 2);
    expect(rounded(all(256 * GIB) * 4096, MIB, 2)).toBe(552.07);
    // What covers no table whole is everybody's own: of 5 MiB two leaf tables are the file's, of a GiB and half a one the first.
    expect(all(5 * MIB)).toBe(2 + 3 + 5000 * (1 + 3));
    expect(all(1.5 * GIB)).toBe(768 + 2 + 2 + 5000 * (1 + 2));
    expect(all(MIB)).toBe(5000 * 4);
  });

  test("2 GiB and 5000 processes: 19.53 GiB and 39 MiB, or with huge pages 39.06 MiB beside the upper two", () => {
    const own = tableBytes(x64, { processes: 5000, first: pageOf(GIB), pages: pageOf(2 * GIB), level: 1 });
    expect(rounded(own.leaf, GIB, 2)).toBe(19.53);
    expect(own.upper - 5000 * 2 * 4096).toBe(5000 * 2 * 4096);
    const huge = tableBytes(x64, { processes: 5000, first: pageOf(GIB), pages: pageOf(2 * GIB), level: 2 });
    expect(rounded(huge.upper - 5000 * 2 * 4096, MIB, 2)).toBe(39.06);
    const common = shared(5000, 2 * GIB, 2, [2]).all - shared(5000, 2 * GIB, 3).all;
    expect(common).toBe(2 * 4096);
  });
});

describe("5000 processes that share 2 GiB on 32 bits", () => {
  const segment = { first: pageOf(0x2000_0000), pages: pageOf(2 * GIB) };

  test("9.766 GiB of leaf tables, or 19.531 with PAE; with big pages none", () => {
    const leaf = (format: typeof pae) => tableBytes(format, { ...segment, processes: 5000, level: 1 }).leaf;
    expect([leaf(i386), leaf(pae)]).toEqual([10_485_760_000, 20_971_520_000]);
    expect([rounded(leaf(i386), GIB, 3), rounded(leaf(pae), GIB, 3)]).toEqual([9.766, 19.531]);
    expect(tableBytes(i386, { ...segment, processes: 5000, level: 2 })).toEqual({ leaf: 0, upper: 20_480_000 });
    // A root of PAE has 32 bytes; here it has a page, as on the kernels of the time.
    const { leaf: none, upper } = tableBytes(pae, { ...segment, processes: 5000, level: 2 });
    expect([none, upper - 5000 * (4096 - 32)]).toEqual([0, 61_600_000]);
  });

  test("447 of them, or 223 with PAE, have their tables in 896 MiB", () => {
    const fit = (format: typeof pae) => processesThatFit(format, { ...segment, level: 1 }, 896 * MIB);
    expect([fit(i386), fit(pae)]).toEqual([447, 223]);
  });
});
