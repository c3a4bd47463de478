import { expect, test } from "vitest";
import { UsageError } from "./errors.ts";
import { formatSize, parseSize } from "./size-text.ts";

test.each([
  ["4096", 4096],
  ["4K", 4096],
  ["2M", 2 ** 21],
  ["64G", 2 ** 36],
  ["64g", 2 ** 36],
  ["1.5T", 1.5 * 2 ** 40],
  ["64 GiB", 2 ** 36],
  ["0", 0],
])("%s is %d bytes", (text, bytes) => {
  expect(parseSize(text)).toBe(bytes);
});

test.each(["", "G", "-1", "64Q", "1e3", "0x10", "1.0001", "10000P"])("%j is refused", (text) => {
  expect(() => parseSize(text)).toThrow(UsageError);
});

test.each([
  [0, "0 B"],
  [1023, "1023 B"],
  [1024, "1.00 KiB"],
  [1536, "1.50 KiB"],
  [64 * 2 ** 30, "64.0 GiB"],
  [100 * 2 ** 30, "100 GiB"],
  [2 ** 20 - 1, "1.00 MiB"],
  [9.996 * 2 ** 20, "10.0 MiB"],
  [2_621_440_000 * 8, "19.5 GiB"],
  [-(2 ** 21), "-2.00 MiB"],
])("%d bytes print as %s", (bytes, text) => {
  expect(formatSize(bytes)).toBe(text);
});
