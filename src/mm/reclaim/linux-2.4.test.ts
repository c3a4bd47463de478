/** 2.4's two lists and its walk of address spaces, on machines small enough to see each page. */
import { describe, expect, test } from "vitest";
import { addressOf, type FileIndex, type Pfn } from "../../base/units.ts";
import { WANT_KERNEL, WANT_USER } from "../allocator.ts";
import { type FileObject, OpenFile } from "../file.ts";
import { PG_ACTIVE, PG_LRU, PG_REFERENCED } from "../frames.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel, type TestMachine } from "../test-kernel.ts";
import type { PageList } from "./page-list.ts";
import { SwapOut } from "./swap-out.ts";

const AT = 0x1000;

class Bench extends TestKernel {
  constructor(machine: TestMachine = {}) {
    super({ reclaim: "linux-2.4", reverseMap: "none", format: "i386", kernel: "linux-2.6.11", ...machine });
  }

  get reclaim() {
    return this.kernel.reclaim;
  }

  get lists(): { active: PageList; inactive: PageList } {
    const [active, inactive] = this.reclaim.listsOf(this.kernel.allocator.zones[0]!) as [PageList, PageList];
    return { active, inactive };
  }

  /** A file whose first pages are in the cache, clean, and used once. */
  cached(pages: number): FileObject {
    const file = this.file(pages, "regular");
    this.call("pread", [new OpenFile(file, "read"), new Uint8Array(addressOf(pages)), 0]);
    return file;
  }

  free(want = WANT_USER): number {
    return this.run(this.reclaim.freePages(this.kernel, { order: 0, want }));
  }

  frameOf(file: FileObject, index: FileIndex): Pfn {
    return file.pages.find(index);
  }
}

/** The indices of a list's pages, from its tail: the next to be looked at comes first. */
const indices = (bench: Bench, list: PageList): FileIndex[] =>
  [...list].map((frame) => bench.kernel.frames.index.read(frame));

const upTo = (end: number, first = 0): number[] => Array.from({ length: end - first }, (_, at) => first + at);

describe("the two lists", () => {
  test("a page of a file is inactive until it is used twice", () => {
    const bench = new Bench();
    const file = bench.cached(3);
    const frame = bench.frameOf(file, 1);
    bench.kernel.frames.clearFlag(frame, PG_REFERENCED);
    bench.reclaim.touched(frame);
    expect(bench.kernel.frames.has(frame, PG_ACTIVE)).toBe(false);
    bench.reclaim.touched(frame);
    expect(indices(bench, bench.lists.active)).toEqual([1]);
    expect(indices(bench, bench.lists.inactive)).toEqual([0, 2]);
    expect(bench.kernel.frames.flags.read(frame) & (PG_LRU | PG_ACTIVE | PG_REFERENCED)).toBe(PG_LRU | PG_ACTIVE);
  });

  test("the oldest clean pages that nobody maps go, 32 in a round", () => {
    const bench = new Bench();
    const file = bench.cached(64);
    expect(bench.free()).toBe(32);
    expect(upTo(64).filter((index) => bench.frameOf(file, index) >= 0)).toEqual(upTo(64, 32));
    expect(bench.reclaim.costs).toMatchObject({ pagesScanned: 32, pagesFreed: 32, entriesVisited: 0 });
  });

  test("a round starts with a sixth of the inactive list, and looks at all of it when nothing else helps", () => {
    const bench = new Bench();
    bench.cached(24);
    // 24 / 6 = 4, 20 / 5 = 4, ... and so on: each priority takes a sixth of what there was.
    expect(bench.free()).toBe(24);
    expect(bench.reclaim.costs.pagesScanned).toBe(24);
  });

  test("old active pages that were not used become inactive, with one use to their name; used ones stay once", () => {
    const bench = new Bench();
    const file = bench.cached(4);
    for (const index of upTo(4)) {
      const frame = bench.frameOf(file, index);
      bench.kernel.frames.setFlag(frame, PG_REFERENCED);
      bench.reclaim.touched(frame);
      bench.kernel.frames.addReference(frame); // somebody holds them: they cannot go
    }
    bench.kernel.frames.setFlag(bench.frameOf(file, 1), PG_REFERENCED);
    expect(indices(bench, bench.lists.active)).toEqual([0, 1, 2, 3]);

    expect(bench.free()).toBe(0);
    expect(bench.lists.active.count).toBe(0);
    // The used one was rotated, and came last. The scan has gone round the list since, and left its order.
    expect([...indices(bench, bench.lists.inactive)].sort()).toEqual([0, 1, 2, 3]);
    for (const index of upTo(4)) expect(bench.kernel.frames.has(bench.frameOf(file, index), PG_REFERENCED)).toBe(true);
    bench.reclaim.touched(bench.frameOf(file, 2));
    expect(indices(bench, bench.lists.active)).toEqual([2]);
  });

  test("a dirty page is written the first time, and goes the second", () => {
    const bench = new Bench();
    const file = bench.cached(6);
    bench.call("pwrite", [new OpenFile(file, "write"), new Uint8Array([7]), 0]);
    bench.reclaim.deactivate(bench.frameOf(file, 0)); // written is used
    expect(bench.free()).toBe(6);
    expect(bench.kernel.files.costs).toMatchObject({ diskWrites: 1, pagesWritten: 1 });
    const bytes = new Uint8Array(1);
    bench.call("pread", [new OpenFile(file, "read"), bytes, 0]);
    expect(bytes[0]).toBe(7);
  });
});

describe("the walk of address spaces", () => {
  /** A process with so many anonymous pages, which are inactive and were not used since. */
  const withOldPages = (pages: number): Bench => {
    const bench = new Bench({ swap: [256] });
    bench.map(AT, pages, READ_WRITE, MAP_PRIVATE);
    for (let page = AT; page < AT + pages; page++) bench.store(page);
    bench.run(new SwapOut().walk(bench.kernel, WANT_USER));
    for (let page = AT; page < AT + pages; page++) bench.reclaim.deactivate(bench.entry(page).frame);
    return bench;
  };

  test("first takes the A bits: what was used becomes active, and keeps its entries", () => {
    const bench = new Bench({ swap: [256] });
    bench.map(AT, 4, READ_WRITE, MAP_PRIVATE);
    for (const at of upTo(4)) bench.store(AT + at);
    bench.run(new SwapOut().walk(bench.kernel, WANT_USER));
    expect(bench.picture(AT, 4)).toBe("wd wd wd wd");
    expect(bench.lists.active.count).toBe(4);
    expect(bench.reclaim.costs.entriesUnmapped).toBe(0);
  });

  test("takes 32 pages, and goes on there the next time", () => {
    const bench = withOldPages(80);
    const walk = new SwapOut();
    bench.thread.mm.swapAddress = 0;
    bench.run(walk.walk(bench.kernel, WANT_USER));
    expect(bench.thread.mm.swapAddress).toBe(AT + 32);
    expect(bench.thread.mm.resident).toMatchObject({ anon: 48, swap: 32 });
    bench.run(walk.walk(bench.kernel, WANT_USER));
    expect(bench.thread.mm.swapAddress).toBe(AT + 64);
    bench.run(walk.walk(bench.kernel, WANT_USER));
    expect(bench.thread.mm.resident).toMatchObject({ anon: 0, swap: 80 });
  });

  test("frees nothing: pages go once the inactive list comes round to them", () => {
    const bench = withOldPages(40);
    const before = bench.kernel.allocator.freePages;
    bench.run(new SwapOut().walk(bench.kernel, WANT_USER));
    // What the swap cache's tree takes.
    expect(bench.kernel.allocator.freePages).toBeLessThanOrEqual(before);
    expect(bench.kernel.swap.cachedPages).toBe(32);
    expect(bench.free()).toBeGreaterThan(0);
    expect(bench.kernel.swap.costs.pagesOut).toBeGreaterThan(0);
  });

  test("takes a page of a file from all who map it before it counts as found", () => {
    const bench = new Bench();
    const file = bench.cached(2);
    bench.map(AT, 2, READ_WRITE, MAP_SHARED, file);
    const child = bench.fork()!;
    for (const thread of [bench.thread, child]) for (const at of upTo(2)) bench.load(AT + at, thread);
    const walk = new SwapOut();
    bench.run(walk.walk(bench.kernel, WANT_USER)); // A bits
    for (const index of upTo(2)) bench.reclaim.deactivate(bench.frameOf(file, index));
    bench.run(walk.walk(bench.kernel, WANT_USER));
    expect(bench.picture(AT, 2)).toBe(". .");
    expect(bench.picture(AT, 2, child)).toBe(". .");
    // Each walk of two address spaces makes three visits: it comes back to the first.
    expect(bench.reclaim.costs).toMatchObject({ entriesVisited: 12, entriesUnmapped: 4 });
  });

  test("passes by locked areas, and by pages of zones that are of no use", () => {
    const bench = new Bench({ swap: [256], highmemFrom: 2048 });
    bench.map(AT, 4, READ_WRITE, MAP_PRIVATE);
    for (const at of upTo(4)) bench.store(AT + at);
    const walk = new SwapOut();
    bench.run(walk.walk(bench.kernel, WANT_USER));
    for (const at of upTo(4)) bench.reclaim.deactivate(bench.entry(AT + at).frame);
    expect(bench.entry(AT).frame).toBeGreaterThanOrEqual(2048);
    bench.run(walk.walk(bench.kernel, WANT_KERNEL));
    expect(bench.thread.mm.resident.swap).toBe(0);

    bench.call("mlock", [addressOf(AT), addressOf(2)]);
    bench.run(walk.walk(bench.kernel, WANT_USER));
    bench.run(walk.walk(bench.kernel, WANT_USER));
    for (const at of [2, 3]) expect(bench.picture(AT + at, 1)).not.toContain("w");
    expect(bench.picture(AT, 2)).toBe("wd wd");
  });
});
