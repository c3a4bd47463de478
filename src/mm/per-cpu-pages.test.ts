import { describe, expect, test } from "vitest";
import { batchFor } from "./per-cpu-pages.ts";
import { MAP_PRIVATE, READ_WRITE, TestKernel } from "./test-kernel.ts";
import { OWNER_PAGE_TABLES, OWNER_QUICKLISTS, OWNER_USER } from "./zone.ts";

test.each([
  { pages: 225_280, batch: 16 },
  { pages: 4_096, batch: 1 },
  { pages: 32_768, batch: 8 },
  { pages: 100, batch: 1 },
])("a zone of $pages pages has batches of $batch", ({ pages, batch }) => {
  expect(batchFor(pages)).toBe(batch);
});

describe("lists of CPUs", () => {
  const world = () => new TestKernel({ cpus: 2, frames: 32_768, highmem: { pageTableCache: "per-cpu-pages" } });

  test("are filled and emptied by batches, and their frames are neither free nor owned", () => {
    const { allocator, tlbFlush } = world().kernel;
    const [zone] = allocator.zones as [(typeof allocator.zones)[number]];
    const lists = zone.perCpu!;
    expect([lists.batch, lists.low, lists.high]).toEqual([8, 16, 48]);
    tlbFlush.here = 1;
    const before = lists.count;
    const frame = allocator.tryAllocate(0, 2, OWNER_USER);
    expect(lists.count).toBe(before + 7);
    allocator.free(frame, 0);
    expect(allocator.tryAllocate(0, 2, OWNER_USER)).toBe(frame);
    zone.check();
  });

  test("a full list gives its coldest batch back", () => {
    const { allocator } = world().kernel;
    const lists = allocator.zones[0]!.perCpu!;
    const frames = Array.from({ length: 100 }, () => allocator.tryAllocate(0, 2, OWNER_USER));
    for (const frame of frames) allocator.free(frame, 0);
    expect(lists.count).toBeLessThanOrEqual(lists.high);
    allocator.check();
  });

  test("give all back before an allocation fails", () => {
    const { allocator } = new TestKernel({ frames: 64, highmem: { pageTableCache: "per-cpu-pages" } }).kernel;
    const got: number[] = [];
    for (
      let frame = allocator.tryAllocate(0, 2, OWNER_USER);
      frame >= 0;
      frame = allocator.tryAllocate(0, 2, OWNER_USER)
    ) {
      got.push(frame);
    }
    expect(allocator.zones[0]!.listed).toBe(0);
    for (const frame of got) allocator.free(frame, 0);
    allocator.check();
  });
});

describe("quicklists", () => {
  const fork = (kernel: TestKernel) => {
    const child = kernel.fork()!;
    kernel.exit(child);
  };
  const world = () => {
    const kernel = new TestKernel({ format: "i386", highmem: { pageTableCache: "quicklists" } });
    kernel.map(0x8000, 4, READ_WRITE, MAP_PRIVATE);
    kernel.store(0x8000);
    return kernel;
  };

  test("the next table is the last one freed, all zeros, and not counted as a table meanwhile", () => {
    const kernel = world();
    const { counters, allocator, tables } = kernel.kernel;
    const owned = allocator.ownedBy(OWNER_PAGE_TABLES);
    fork(kernel);
    expect(tables.idle).toBe(2);
    expect(allocator.ownedBy(OWNER_QUICKLISTS)).toBe(2);
    expect(allocator.ownedBy(OWNER_PAGE_TABLES)).toBe(owned);
    const zeroed = counters.tablesZeroed;
    const child = kernel.fork()!;
    expect(counters.tablesZeroed).toBe(zeroed);
    expect(counters.tablesReused).toBe(2);
    expect(kernel.picture(0x8000, 4, child)).toBe("rd . . .");
    expect(kernel.picture(0x8400, 4, child)).toBe(". . . .");
    allocator.check();
  });

  test("are trimmed from above 50 to 25", () => {
    const kernel = world();
    const children = Array.from({ length: 30 }, () => kernel.fork()!);
    let most = 0;
    for (const child of children) {
      kernel.exit(child);
      most = Math.max(most, kernel.kernel.tables.idle);
    }
    expect(most).toBe(50);
    expect(kernel.kernel.tables.idle).toBeLessThan(50);
    kernel.kernel.allocator.check();
  });

  test("are emptied before an allocation fails", () => {
    const kernel = world();
    fork(kernel);
    const { allocator, tables } = kernel.kernel;
    while (allocator.tryAllocate(0, 2, OWNER_USER) >= 0);
    expect(tables.idle).toBe(0);
  });
});
