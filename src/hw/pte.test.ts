import { describe, expect, test } from "vitest";
import { KernelBug } from "../base/errors.ts";
import { i386, type PagingFormat, pae, pagingFormats, x86_64 } from "./paging-format.ts";
import { PhysicalMemory } from "./physical-memory.ts";
import {
  Entries,
  linkFlags,
  type OpenTable,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_FILE,
  PTE_GLOBAL,
  PTE_LARGE,
  PTE_NO_EXECUTE,
  PTE_PCD,
  PTE_PRESENT,
  PTE_PROT_NONE,
  PTE_PWT,
  PTE_SOFT1,
  PTE_SOFT2,
  PTE_SOFT3,
  PTE_SWAP,
  PTE_USER,
  PTE_WRITE,
} from "./pte.ts";

const table = 3 as OpenTable;
const INDEX = 5;
const kernelPage = PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL;
const userPage = PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED | PTE_DIRTY;

const entriesOf = (format: PagingFormat): Entries => new Entries(new PhysicalMemory(64), format);

/** The entry as the hexadecimal digits of its words, high first. */
function hex(entries: Entries): string {
  const digits = (word: number) => (word >>> 0).toString(16).padStart(8, "0");
  const low = digits(entries.low(table, INDEX));
  return entries.format.entryBytes === 8 ? digits(entries.high(table, INDEX)) + low : low;
}

/** The bits that `write` leaves in memory. */
function bits(format: PagingFormat, write: (entries: Entries) => void): string {
  const entries = entriesOf(format);
  write(entries);
  return hex(entries);
}

describe("the bits of an entry", () => {
  const set = (frame: number, flags: number) => (entries: Entries) => entries.set(table, INDEX, frame, flags);
  const swap = (type: number, offset: number) => (entries: Entries) => entries.setSwap(table, INDEX, type, offset);
  const file = (index: number) => (entries: Entries) => entries.setFile(table, INDEX, index);

  test.each([
    ["user page, written", set(0x12345, userPage), "12345067", "0000000012345067"],
    ["user page, read-only", set(0x12345, PTE_PRESENT | PTE_USER | PTE_ACCESSED), "12345025", "0000000012345025"],
    ["PROT_NONE, frame kept", set(0x12345, PTE_PROT_NONE | PTE_ACCESSED), "123450a0", "00000000123450a0"],
    ["kernel page, global", set(0x123, kernelPage), "00123163", "0000000000123163"],
    ["kernel large page", set(0x400, kernelPage | PTE_LARGE), "004001e3", "00000000004001e3"],
    ["user large page", set(0x40000, userPage | PTE_LARGE), "400000e7", "00000000400000e7"],
    ["swap type 0, offset 1", swap(0, 1), "00000100", "0000002000000000"],
    ["swap type 3, offset 0x1234", swap(3, 0x1234), "00123406", "0002468300000000"],
    ["swap type 31, offset 0xffffff", swap(31, 0xffffff), "ffffff3e", "1fffffff00000000"],
    ["file index 0", file(0), "00000040", "0000000000000040"],
    ["file index 1", file(1), "00000042", "0000000100000040"],
    ["file index 31", file(31), "0000007e", "0000001f00000040"],
    ["file index 32", file(32), "00000140", "0000002000000040"],
    ["file index 0x12345678", file(0x12345678), "91a2b370", "1234567800000040"],
    ["file index 2^29 - 1", file(2 ** 29 - 1), "ffffff7e", "1fffffff00000040"],
  ])("%s", (_what, write, narrow, wide) => {
    expect(bits(i386, write)).toBe(narrow);
    expect(bits(pae, write)).toBe(wide);
  });

  test.each([
    ["user page above 4 GiB that may not be executed", set(0x123456, userPage | PTE_NO_EXECUTE), "8000000123456067"],
    ["the highest frame", set(2 ** 31 - 1, PTE_PRESENT), "000007fffffff001"],
    ["PROT_NONE: bit 8, frame inverted", set(0x12345, PTE_PROT_NONE | PTE_ACCESSED), "000fffffedcba120"],
    ["swap type 0, offset 1: offset inverted", swap(0, 1), "07fffffffffffc00"],
    ["swap type 3, offset 0x1234", swap(3, 0x1234), "1fffffffffdb9600"],
    ["swap type 31, the highest offset", swap(31, 2 ** 50 - 2), "f800000000000200"],
    ["file index 0", file(0), "0000000000000040"],
    ["file index 0x12345678", file(0x12345678), "0000012345678040"],
    ["file index 2^32 - 1", file(2 ** 32 - 1), "00000ffffffff040"],
  ])("x86-64: %s", (_what, write, wide) => {
    expect(bits(x86_64, write)).toBe(wide);
  });

  test("pae: a page above 4 GiB that may not be executed", () => {
    expect(bits(pae, set(0x123456, userPage | PTE_NO_EXECUTE))).toBe("8000000123456067");
  });

  test("i386 has no bit against execution, and drops it", () => {
    expect(bits(i386, set(0x12345, userPage | PTE_NO_EXECUTE))).toBe("12345067");
  });

  test("the link to a table says everything is decided below; pae's root may say P only", () => {
    expect(bits(i386, set(0x12345, linkFlags(i386, 2)))).toBe("12345067");
    expect(bits(pae, set(0x12345, linkFlags(pae, 3)))).toBe("0000000012345001");
    expect(bits(pae, set(0x12345, linkFlags(pae, 2)))).toBe("0000000012345067");
  });
});

// biome-ignore format: a row of flags
const FLAGS = [
  PTE_WRITE, PTE_USER, PTE_PWT, PTE_PCD, PTE_ACCESSED, PTE_DIRTY, PTE_SOFT1, PTE_SOFT2, PTE_SOFT3, PTE_NO_EXECUTE,
];

describe.each(Object.values(pagingFormats))("$name", (format) => {
  const settable = FLAGS.filter((flag) => flag !== PTE_NO_EXECUTE || format.hasNoExecute);

  test("a present or PROT_NONE entry gives back frame and flags, in every combination", () => {
    const entries = entriesOf(format);
    for (let choice = 0; choice < 2 ** settable.length; choice++) {
      const some = settable.reduce((flags, flag, bit) => ((choice >> bit) & 1 ? flags | flag : flags), 0);
      for (const kind of [PTE_PRESENT, PTE_PRESENT | PTE_GLOBAL, PTE_PRESENT | PTE_LARGE, PTE_PROT_NONE]) {
        const frame = (choice * 7919) % format.maxFrames;
        entries.set(table, INDEX, frame, some | kind);
        expect(entries.flags(table, INDEX)).toBe(some | kind);
        expect(entries.frame(table, INDEX)).toBe(frame);
      }
    }
  });

  test("setFlags keeps the frame, to PROT_NONE and back", () => {
    const entries = entriesOf(format);
    const frame = format.maxFrames - 3;
    entries.set(table, INDEX, frame, userPage);
    entries.setFlags(table, INDEX, PTE_PROT_NONE | PTE_ACCESSED | PTE_DIRTY);
    expect(entries.low(table, INDEX) & PTE_PRESENT).toBe(0);
    expect(entries.frame(table, INDEX)).toBe(frame);
    entries.setFlags(table, INDEX, PTE_PRESENT | PTE_USER);
    expect(entries.flags(table, INDEX)).toBe(PTE_PRESENT | PTE_USER);
    expect(entries.frame(table, INDEX)).toBe(frame);
  });

  test("an entry that is made old differs in nothing but A", () => {
    const entries = entriesOf(format);
    for (const kind of [PTE_PRESENT, PTE_PROT_NONE]) {
      for (const used of [0, PTE_ACCESSED]) {
        const flags = kind | PTE_USER | PTE_WRITE | PTE_DIRTY;
        entries.set(table, INDEX, 0x12345, flags | used);
        entries.makeOld(table, INDEX);
        expect([entries.frame(table, INDEX), entries.flags(table, INDEX)]).toEqual([0x12345, flags]);
      }
    }
  });

  test("swap entries give back type and offset, are never present, never file, never none", () => {
    const entries = entriesOf(format);
    const most = format.highestSwapOffset;
    for (let type = 0; type < 32; type++) {
      for (const offset of [1, 2, 0x1234, 0xffffff, Math.floor(most / 3), Math.floor(most / 2) + 1, most]) {
        entries.setSwap(table, INDEX, type, offset);
        expect(entries.flags(table, INDEX)).toBe(PTE_SWAP);
        expect([entries.swapType(table, INDEX), entries.swapOffset(table, INDEX)]).toEqual([type, offset]);
        expect(entries.low(table, INDEX) & PTE_PRESENT).toBe(0);
        expect(entries.low(table, INDEX) & (format.absentEncoding === "x86-64" ? 0x180 : 0xc0)).toBe(0);
      }
    }
    expect(() => entries.setSwap(table, INDEX, 32, 1)).toThrow(KernelBug);
    expect(() => entries.setSwap(table, INDEX, 0, most + 1)).toThrow(KernelBug);
  });

  test("file entries give back the index, up to the highest", () => {
    const entries = entriesOf(format);
    const most = 2 ** format.fileIndexBits;
    for (let index = 0; index < most; index += 999_983) {
      entries.setFile(table, INDEX, index);
      if (entries.fileIndex(table, INDEX) !== index) throw new Error(`file index ${index} is lost`);
      if (entries.flags(table, INDEX) !== PTE_FILE) throw new Error(`file index ${index} is no file entry`);
      if ((entries.low(table, INDEX) & PTE_PRESENT) !== 0) throw new Error(`file index ${index} is present`);
    }
    expect(entries.holdsFileIndex(most - 1)).toBe(true);
    expect(entries.holdsFileIndex(most)).toBe(false);
    expect(() => entries.setFile(table, INDEX, most)).toThrow(KernelBug);
  });

  test("a cleared entry is none; its neighbours stay", () => {
    const entries = entriesOf(format);
    for (const index of [INDEX - 1, INDEX, INDEX + 1]) entries.set(table, index, 7, userPage);
    entries.clear(table, INDEX);
    expect([INDEX - 1, INDEX, INDEX + 1].map((index) => entries.flags(table, index))).toEqual([userPage, 0, userPage]);
    expect([INDEX - 1, INDEX, INDEX + 1].map((index) => entries.isNone(table, index))).toEqual([false, true, false]);
  });

  test("a slot is the place of an entry, as one number", () => {
    const entries = entriesOf(format);
    const last = 2 ** format.indexBits - 1;
    const slot = entries.slotOf((2 ** 31 - 1) as OpenTable, last);
    expect([entries.tableOf(slot), entries.indexOf(slot)]).toEqual([2 ** 31 - 1, last]);
  });
});

test("the file index 2^29 fits a pae entry and no i386 entry", () => {
  expect(entriesOf(i386).holdsFileIndex(2 ** 29)).toBe(false);
  expect(entriesOf(pae).holdsFileIndex(2 ** 29)).toBe(true);
});
