/** Page tables in highmem: what must be opened, what may happen meanwhile, and that all ways to reach them agree. */
import { describe, expect, test } from "vitest";
import { type OpenTable, PTE_PRESENT } from "../hw/pte.ts";
import type { HighmemChoice } from "./highmem.ts";
import { LEAF, type ReverseTable, type SecondTable } from "./page-table.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { ZONE_HIGHMEM } from "./zone.ts";

const HIGH = 1024;
const PAGE = 0x8000;
const choices = {
  "lowmem, direct": { pageTablePlacement: "lowmem", pageTableAccess: "direct" },
  "lowmem, direct, quicklists": {
    pageTablePlacement: "lowmem",
    pageTableAccess: "direct",
    pageTableCache: "quicklists",
  },
  "highmem, kmap-atomic": { pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" },
  "highmem, kmap-atomic, per-cpu-pages": {
    pageTablePlacement: "highmem",
    pageTableAccess: "kmap-atomic",
    pageTableCache: "per-cpu-pages",
  },
  "highmem, kmap-blocking": { pageTablePlacement: "highmem", pageTableAccess: "kmap-blocking" },
} as const satisfies Record<string, Partial<HighmemChoice>>;

const machine = (highmem: Partial<HighmemChoice>, more = {}) =>
  new TestKernel({ format: "pae", highmemFrom: HIGH, highmem, ...more });
const highpte = () => machine(choices["highmem, kmap-atomic"]);

describe.each(Object.entries(choices))("page tables %s", (_name, highmem) => {
  test("fork, copy on write, mremap, mprotect and munmap come to the same", () => {
    const kernel = machine(highmem, { kernel: "linux-6.1" });
    kernel.map(PAGE, 4, READ_WRITE, MAP_PRIVATE);
    for (const page of [0, 1, 3]) kernel.store(PAGE + page);
    const child = kernel.fork()!;
    kernel.store(PAGE + 1, child);
    expect(kernel.picture(PAGE, 4)).toBe("rad rad . rad");
    expect(kernel.picture(PAGE, 4, child)).toBe("rd wad! . rd");
    kernel.call("mremap", [PAGE * 4096, 4 * 4096, 4 * 4096, 3, (PAGE + 2048) * 4096]);
    expect(kernel.picture(PAGE, 4)).toBe(". . . .");
    expect(kernel.picture(PAGE + 2048, 4)).toBe("rad rad . rad");
    kernel.call("munmap", [(PAGE + 2048) * 4096, 4 * 4096]);
    kernel.exit(child);
    expect(kernel.kernel.atomicMaps.live).toBe(0);
    expect(kernel.kernel.tables.openTables).toBe(0);
    expect([...kernel.kernel.tables.access.pools()].reduce((sum, { users }) => sum + users, 0)).toBe(0);
    kernel.kernel.allocator.check();
  });

  test("a file's pages are found in every address space", () => {
    const kernel = machine(highmem);
    const file = kernel.file(4);
    kernel.map(PAGE, 4, READ_WRITE, MAP_SHARED, file);
    kernel.store(PAGE);
    const child = kernel.fork()!;
    kernel.load(PAGE, child);
    const slots: number[] = [];
    kernel.kernel.reverseMap.forEach(kernel.entry(PAGE).frame, (slot) => slots.push(slot) > 0);
    expect(slots.length).toBe(2);
    expect(kernel.kernel.atomicMaps.live).toBe(0);
  });
});

describe("with tables in highmem", () => {
  test("leaf tables are there, and what is above them is not", () => {
    const kernel = highpte();
    kernel.map(PAGE, 1, READ_WRITE, MAP_PRIVATE);
    kernel.store(PAGE);
    const { tables, allocator } = kernel.kernel;
    const { mm } = kernel.thread;
    expect(allocator.zoneOf(tables.tableAt(mm, PAGE, LEAF)).kind).toBe(ZONE_HIGHMEM);
    expect(allocator.zoneOf(tables.tableAt(mm, PAGE, LEAF + 1)).kind).not.toBe(ZONE_HIGHMEM);
    expect(allocator.zoneOf(mm.root).kind).not.toBe(ZONE_HIGHMEM);
  });

  test("without room there they come from lowmem", () => {
    const kernel = machine(choices["highmem, kmap-atomic"], { frames: HIGH + 4 });
    kernel.map(PAGE, 1, READ_WRITE, MAP_PRIVATE);
    kernel.store(PAGE);
    const { tables, allocator } = kernel.kernel;
    expect(allocator.zoneOf(tables.tableAt(kernel.thread.mm, PAGE, LEAF)).kind).not.toBe(ZONE_HIGHMEM);
  });

  test("two tables of an operation, and a reverse map's within it, do not get in each other's way", () => {
    const { tables, atomicMaps } = highpte().kernel;
    const target = tables.open(HIGH + 1);
    const source = tables.openSecond(HIGH + 2);
    const looked = tables.openReverse(HIGH + 3);
    expect(atomicMaps.live).toBe(3);
    expect(() => tables.open(HIGH + 4)).toThrow("wants a slot that is live: PTE0");
    tables.closeReverse(looked);
    tables.closeSecond(source);
    tables.close(target);
  });

  test.each(["lowmem, direct", "highmem, kmap-atomic"] as const)(
    "%s: no table is allocated while one is open",
    (name) => {
      const kernel = machine(choices[name]);
      kernel.map(PAGE, 1, READ_WRITE, MAP_PRIVATE);
      kernel.store(PAGE);
      const { tables } = kernel.kernel;
      const { mm } = kernel.thread;
      tables.open(tables.tableAt(mm, PAGE, LEAF));
      expect(() => tables.tryEnsureLeaf(mm, PAGE + 4096)).toThrow("allocating a page table with 1 page tables open");
    },
  );

  test("opening one costs an entry and a translation; a window of a pool is found again without", () => {
    const kernel = highpte();
    const { tables, counters } = kernel.kernel;
    for (let time = 0; time < 3; time++) tables.close(tables.open(HIGH + 1));
    expect([counters.atomicMaps, counters.atomicInvalidations]).toEqual([3, 3]);
    const blocking = machine(choices["highmem, kmap-blocking"]).kernel.tables;
    for (let time = 0; time < 3; time++) blocking.close(blocking.open(HIGH + 1));
    expect(blocking.access.costs).toMatchObject({ maps: 3, found: 2, entriesWritten: 1 });
  });

  test("a full series is waited for before a table is opened", () => {
    const { tables } = machine(choices["highmem, kmap-blocking"], { tunables: { kmapSlots: 1 } }).kernel;
    const table = tables.open(HIGH + 1);
    const path = tables.access.takeRoom();
    const wait = path?.next().value;
    expect(wait?.on).toBe("a slot of page-table series 0");
    expect(() => tables.open(HIGH + 2)).toThrow("nobody waited for room");
    tables.close(table);
    expect(wait?.ready()).toBe(true);
    expect(path?.next().done).toBe(true);
    expect(tables.access.takeRoom()?.next().value?.on).toBe("a slot of page-table series 0");
    tables.access.giveRoom();
    expect(tables.access.takeRoom()).toBeUndefined();
  });
});

test("code that has not opened a table does not compile", () => {
  const { entries, tables } = highpte().kernel;
  const { flags } = { flags: PTE_PRESENT };
  const unconverted = (frame: number): void => {
    // @ts-expect-error: a frame's number is not an opened table
    entries.low(frame, 0);
    // @ts-expect-error
    entries.flags(frame, 0);
    // @ts-expect-error
    entries.set(frame, 0, 1, flags);
    // @ts-expect-error
    entries.clear(frame, 0);
    // @ts-expect-error: and what was never opened cannot be closed
    tables.close(frame);
    // @ts-expect-error: the first table is not the second
    tables.closeSecond(tables.open(frame));
    // @ts-expect-error: nor a reverse map's
    tables.closeReverse(tables.openSecond(frame));
  };
  expect(unconverted).toBeTypeOf("function");
  const opened: [OpenTable, SecondTable, ReverseTable] = [tables.open(9), tables.openSecond(9), tables.openReverse(9)];
  expect(opened).toEqual([9, 9, 9]);
});
