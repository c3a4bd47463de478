/** rmap15's ageing lists, on machines small enough to see each page. */
import { describe, expect, test } from "vitest";
import { addressOf } from "../../base/units.ts";
import { WANT_USER } from "../allocator.ts";
import { type FileObject, OpenFile } from "../file.ts";
import { PG_ACTIVE, PG_LRU } from "../frames.ts";
import { MAP_PRIVATE, READ_WRITE, TestKernel, type TestMachine } from "../test-kernel.ts";
import { OWNER_BOOT } from "../zone.ts";
import type { PageList } from "./page-list.ts";
import { referenced } from "./referenced.ts";

const AT = 0x1000;

class Bench extends TestKernel {
  constructor(machine: TestMachine = {}) {
    super({ reclaim: "rmap15", reverseMap: "pte-chain-e", format: "i386", kernel: "linux-2.6.11", ...machine });
  }

  get reclaim() {
    return this.kernel.reclaim;
  }

  /** Pages on each list of the only zone, lists of one name together. */
  get counts(): Record<string, number> {
    const counts: Record<string, number> = {};
    for (const { name, count } of this.lists) if (count > 0) counts[name] = (counts[name] ?? 0) + count;
    return counts;
  }

  get lists(): readonly PageList[] {
    return this.reclaim.listsOf(this.kernel.allocator.zones[0]!);
  }

  /** A file whose first pages are in the cache, and clean. */
  cached(pages: number): FileObject {
    const file = this.file(pages, "regular");
    this.call("pread", [new OpenFile(file, "read"), new Uint8Array(addressOf(pages)), 0]);
    return file;
  }

  stores(pages: number): void {
    this.map(AT, pages, READ_WRITE, MAP_PRIVATE);
    for (let page = AT; page < AT + pages; page++) this.store(page);
  }

  free(): number {
    return this.run(this.reclaim.freePages(this.kernel, { order: 0, want: WANT_USER }));
  }
}

describe("ageing lists", () => {
  test("keep anonymous pages and those of files apart", () => {
    const bench = new Bench();
    bench.cached(3);
    bench.stores(2);
    expect(bench.counts).toEqual({ "active anon": 2, "active cache": 3 });
  });

  test("a page that is found in use again and again outlives all that are not", () => {
    const bench = new Bench({ swap: [2048] });
    bench.stores(1500);
    for (let page = AT; page < AT + 1500; page++) referenced(bench.kernel, bench.entry(page).frame);
    while (bench.kernel.swap.costs.pagesOut < 1000) {
      bench.kernel.tlbFlush.all(bench.thread.mm);
      bench.load(AT + 7);
      expect(bench.free()).toBeGreaterThan(0);
    }
    expect(bench.kernel.swap.costs.pagesIn).toBe(0);
    expect(bench.kernel.frames.has(bench.entry(AT + 7).frame, PG_LRU | PG_ACTIVE)).toBe(true);
  });

  test("when everybody was just used, the youngest go in the end", () => {
    const bench = new Bench({ swap: [512] });
    bench.stores(100);
    const freed = bench.free();
    expect(freed).toBeGreaterThan(0);
    expect(bench.kernel.swap.costs.pagesOut).toBe(freed);
  });
});

describe("clean pages", () => {
  /** kswapd is short of free pages, but not of those that wait for somebody who needs one. */
  const withCleanPages = (): Bench => {
    const bench = new Bench({ frames: 1024 });
    const { allocator } = bench.kernel;
    const zone = allocator.zones[0]!;
    bench.cached(600);
    while (zone.free > zone.low + 5) allocator.tryAllocate(0, WANT_USER, OWNER_BOOT);
    bench.run(bench.reclaim.balance(bench.kernel));
    return bench;
  };

  test("count as free for kswapd, which leaves them in their caches", () => {
    const bench = withCleanPages();
    const zone = bench.kernel.allocator.zones[0]!;
    expect(zone.free).toBeLessThan(zone.high);
    expect(zone.free + bench.counts["inactive clean"]!).toBeGreaterThanOrEqual(zone.high);
    expect(bench.reclaim.costs.pagesFreed).toBe(0);
  });

  test("are freed for whoever needs memory, without a look at any other page", () => {
    const bench = withCleanPages();
    const scanned = bench.reclaim.costs.pagesScanned;
    const freed = bench.free();
    expect(freed).toBeGreaterThan(0);
    expect(bench.reclaim.costs.pagesScanned - scanned).toBe(freed);
    expect(bench.reclaim.costs.directTurns).toBe(0);
  });

  test("are active again once they are used", () => {
    const bench = withCleanPages();
    const clean = bench.lists.find(({ name }) => name === "inactive clean")!;
    const frame = clean.tail;
    const before = clean.count;
    bench.reclaim.touched(frame);
    expect(clean.count).toBe(before - 1);
    expect(bench.kernel.frames.has(frame, PG_ACTIVE)).toBe(true);
  });

  test("that somebody has taken hold of stay after all", () => {
    const bench = withCleanPages();
    const clean = bench.lists.find(({ name }) => name === "inactive clean")!;
    const held = [...clean];
    for (const frame of held) bench.kernel.frames.addReference(frame);
    bench.free();
    for (const frame of held) expect(bench.kernel.frames.has(frame, PG_LRU | PG_ACTIVE)).toBe(true);
  });
});
