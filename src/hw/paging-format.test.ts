import { describe, expect, test } from "vitest";
import { i386, type PagingFormat, pae, pagingFormats, x86_64, x86_64_la57 } from "./paging-format.ts";

/** The indices of `page`, root first, by the definition: digits of the page number. */
function digits(format: PagingFormat, page: number): number[] {
  const base = 2 ** format.indexBits;
  const all = Array.from({ length: format.levels }, (_, place) => Math.floor(page / base ** place) % base);
  return all.reverse();
}

const indices = (format: PagingFormat, page: number): number[] =>
  Array.from({ length: format.levels }, (_, place) => format.indexAt(page, format.levels - place));

test("the address bits of each format are split as the manual draws them", () => {
  expect(indices(i386, 0xc0123)).toEqual([0x300, 0x123]);
  expect(indices(pae, 0xc0123)).toEqual([3, 0, 0x123]);
  expect(indices(x86_64, 0x7_ffff_f7fe)).toEqual([0x0ff, 0x1ff, 0x1fb, 0x1fe]);
  expect(indices(x86_64_la57, 2 ** 44 + 5)).toEqual([0x100, 0, 0, 0, 5]);
});

describe.each(Object.values(pagingFormats))("$name", (format) => {
  test("indices are the digits of the page number, to the end of the address space", () => {
    const last = format.maxPages - 1;
    for (const page of [0, 1, 511, 512, 1024, 0xfffff, Math.floor(last / 3), Math.floor(last / 2), last - 1024, last]) {
      expect(indices(format, page)).toEqual(digits(format, page));
    }
  });

  test("the root covers the address space, and a table covers what its entries cover", () => {
    expect(format.span(format.levels)).toBe(format.maxPages);
    for (let level = 2; level <= format.levels; level++) expect(format.entrySpan(level)).toBe(format.span(level - 1));
  });

  test("a table fills a frame, but for a short root", () => {
    for (let level = 1; level < format.levels; level++) {
      expect(format.entriesPerTable(level) * format.entryBytes).toBe(4096);
    }
    expect(format.entriesPerTable(format.levels)).toBe(format.topEntries);
  });
});

test("large pages: 4 MiB, 2 MiB, and in long mode 1 GiB", () => {
  expect(i386.largePages).toEqual([{ level: 2, pages: 1024 }]);
  expect(pae.largePages).toEqual([{ level: 2, pages: 512 }]);
  expect(x86_64.largePages).toEqual([
    { level: 2, pages: 512 },
    { level: 3, pages: 262_144 },
  ]);
  expect(x86_64.mayMap(4)).toBe(false);
});

test("entries can name 4 GiB, 64 GiB and 8 TiB of frames", () => {
  expect(Object.values(pagingFormats).map((format) => format.maxFrames)).toEqual([2 ** 20, 2 ** 24, 2 ** 31, 2 ** 31]);
});

test("a CPU may offer fewer large pages than its format has", () => {
  const opteron = x86_64.withLargePages([512]);
  expect(opteron.largePages).toEqual([{ level: 2, pages: 512 }]);
  expect([opteron.mayMap(2), opteron.mayMap(3)]).toEqual([true, false]);
  expect(x86_64.mayMap(3)).toBe(true);
});
