import { describe, expect, test } from "vitest";
import { UsageError } from "./base/errors.ts";
import {
  costTableOf,
  diskModelOf,
  type GeometryInput,
  lowmemLimit,
  parseGeometry,
  swapAreasOf,
  tlbShapeOf,
  userBytes,
} from "./geometry.ts";
import { costPresets } from "./hw/cost.ts";
import { diskPresets } from "./hw/disk.ts";
import { tlbPresets } from "./hw/tlb-presets.ts";

const pae = { memory: "8G", paging: "pae", tlb: "p6" } as const;
const GIB = 2 ** 30;

test("sizes may be text, and memory is short for memoryBytes", () => {
  const geometry = parseGeometry({ ...pae, memory: "1.5G", dmaBytes: "8M" });
  expect(geometry.memoryBytes).toBe(1.5 * GIB);
  expect(geometry.dmaBytes).toBe(8 * 2 ** 20);
  expect(parseGeometry({ memoryBytes: 4096, paging: "pae", tlb: "p6" }).memoryBytes).toBe(4096);
});

test("a parsed geometry is plain JSON and parses to itself", () => {
  const geometry = parseGeometry(pae);
  expect(parseGeometry(JSON.parse(JSON.stringify(geometry)))).toEqual(geometry);
});

test("programs have three, two or one of four GiB; half of a 64-bit space", () => {
  const bytes = (input: object) => userBytes(parseGeometry({ ...pae, ...input }));
  expect(bytes({})).toBe(3 * GIB);
  expect(bytes({ split: "2:2" })).toBe(2 * GIB);
  expect(bytes({ split: "1:3" })).toBe(GIB);
  expect(bytes({ paging: "x86-64" })).toBe(2 ** 47);
  expect(bytes({ paging: "x86-64-la57" })).toBe(2 ** 56);
});

test("lowmem follows the split, unless it is set; in 64 bits all memory is lowmem", () => {
  const limit = (input: object) => lowmemLimit(parseGeometry({ ...pae, ...input }), 896 * 2 ** 20);
  expect(limit({}) / 2 ** 20).toBe(896);
  expect(limit({ split: "2:2" }) / 2 ** 20).toBe(1920);
  expect(limit({ lowmemBytes: "512M" }) / 2 ** 20).toBe(512);
  expect(limit({ paging: "x86-64" })).toBe(Number.POSITIVE_INFINITY);
});

test("a TLB is a preset or a record", () => {
  const { rests: _, ...rest } = tlbPresets.p6;
  const small = { ...rest, name: "small", rests: "nothing", load: [{ pages: ["4K"], entries: 16, ways: 4 }] };
  expect(tlbShapeOf(parseGeometry(pae))).toBe(tlbPresets.p6);
  expect(tlbShapeOf(parseGeometry({ ...pae, tlb: small }))).toEqual(small);
});

test.each(Object.keys(tlbPresets))("the TLB preset %s is also a valid record", (name) => {
  const shape = tlbPresets[name as keyof typeof tlbPresets];
  expect(tlbShapeOf(parseGeometry({ ...pae, tlb: JSON.parse(JSON.stringify(shape)) }))).toEqual(shape);
});

test("a cost table or a disk is a preset or a record", () => {
  const named = parseGeometry({ ...pae, cost: "p6", disk: "scsi-10k" });
  expect([costTableOf(named), diskModelOf(named)]).toEqual([costPresets.p6, diskPresets["scsi-10k"]]);
  const cost = { ...costPresets.p6, name: "mine", cycles: { ...costPresets.p6.cycles, fault: 1 } };
  const disk = { ...diskPresets.nvme, name: "slow", bytesPerSecond: 1 };
  const own = parseGeometry({ ...pae, cost, disk });
  expect([costTableOf(own), diskModelOf(own)]).toEqual([cost, disk]);
});

test("swap is one area, or several, and none unless it is said", () => {
  const pagesOf = (swap: GeometryInput["swap"]) => swapAreasOf(parseGeometry({ ...pae, swap: swap! }));
  expect(swapAreasOf(parseGeometry(pae))).toEqual([]);
  expect([pagesOf("1G"), pagesOf(8192), pagesOf(0)]).toEqual([[262144], [2], []]);
  expect([pagesOf(["1G", "4M"]), pagesOf("1G,4M")]).toEqual([
    [262144, 1024],
    [262144, 1024],
  ]);
});

describe("refuses, and says why", () => {
  test.each<[string, Record<string, unknown>, string]>([
    [
      "lowmem larger than memory",
      { lowmemBytes: "512M", memory: "256M" },
      "512 MiB of lowmem are more than the 256 MiB",
    ],
    ["lowmem larger than the kernel's share", { lowmemBytes: "1G" }, "a 3:1 split leaves the kernel 1.00 GiB"],
    ["lowmem of half a page", { lowmemBytes: 2048 }, "whole number of pages"],
    ["lowmem in 64 bits", { paging: "x86-64", lowmemBytes: "512M" }, "there is no lowmem"],
    ["a split in 64 bits", { paging: "x86-64", split: "3:1" }, "has no 3:1 split"],
    [
      "memory beyond i386",
      { paging: "i386" },
      "8.00 GiB are more than the 4.00 GiB that i386 paging can address; use paging=pae",
    ],
    ["memory beyond PAE", { memory: "65G" }, "64.0 GiB that pae paging can address; use paging=x86-64"],
    [
      "memory beyond all",
      { paging: "x86-64", memory: "9T" },
      "8.00 TiB that x86-64 paging can address; use less memory",
    ],
    ["no memory", { memory: 0 }, "at least one"],
    ["a part of a page", { memory: 5000 }, "whole number of pages"],
    [
      "a page size that the format lacks",
      { largePages: ["2M", "4M"] },
      "pae paging has no 4M pages; beside 4K it has 2M",
    ],
    ["a TLB preset that does not exist", { tlb: "icelak" }, 'did you mean "icelake"'],
    [
      "a TLB of broken sets",
      { tlb: { ...tlbPresets.p6, load: [{ pages: ["4K"], entries: 10, ways: 4 }] } },
      "sets of 4",
    ],
    [
      "a cost table that leaves events out",
      { cost: { ...costPresets.p6, cycles: { fault: 1 } } },
      "geometry.cost.cycles.access is missing",
    ],
    [
      "a TLB with a mistake inside",
      { tlb: { ...tlbPresets.p6, replacement: "lro" } },
      'geometry.tlb.replacement: there is no "lro" (did you mean "lru"?)',
    ],
    ["a TLB with one key too many", { tlb: { ...tlbPresets.p6, third: [] } }, 'geometry.tlb has no "third"'],
    ["nothing about paging", { paging: undefined }, "geometry.paging is missing"],
    ["a TLB that is a number", { tlb: 64 }, "write a record, or the name of a preset"],
    ["a disk that does not exist", { disk: "nvm" }, 'did you mean "nvme"'],
    ["a paging format that does not exist", { paging: "x86_64" }, 'did you mean "x86-64"'],
    ["an unknown key", { memroy: "1G" }, 'did you mean "memory'],
    ["text that is no size", { memory: "8 gigs" }, '"8 gigs" is not a size'],
    ["no CPU", { cpus: 0 }, "geometry.cpus"],
    ["swap of a header alone", { swap: "4K" }, "at least two: the first is the area's header"],
    ["a swap area that no entry can name", { paging: "i386", memory: "2G", swap: "65G" }, "more than the 64.0 GiB"],
    ["swap that is no size", { swap: "much" }, "such as 1G,512M"],
    ["more swap areas than there can be", { swap: Array(33).fill("8K") }, "up to 32 sizes"],
  ])("%s", (_what, change, why) => {
    const parse = () => parseGeometry({ ...pae, ...change } satisfies Record<keyof GeometryInput, unknown> | object);
    expect(parse).toThrow(UsageError);
    expect(parse).toThrow(why);
  });

  test("what is no record at all", () => {
    expect(() => parseGeometry("64G")).toThrow(UsageError);
    expect(() => parseGeometry(null)).toThrow(UsageError);
  });
});

test("with a 4:4 split a program has 4080 MiB and the kernel maps 3936", () => {
  const geometry = parseGeometry({ memory: "64G", paging: "pae", tlb: "p6", split: "4:4" });
  expect(userBytes(geometry)).toBe(0xff00_0000);
  expect(lowmemLimit(geometry, 896 * 2 ** 20)).toBe(3936 * 2 ** 20);
});
