/** What reclaim of 2.4 and of rmap15 does where there is little or nothing to be had, and what finding it costs. */
import { describe, expect, test } from "vitest";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { applySettings, specOf } from "../../presets.ts";
import { WANT_KERNEL, WANT_USER, type Want } from "../allocator.ts";
import { type FileObject, OpenFile } from "../file.ts";
import type { Thread } from "../process.ts";
import type { ReverseMapName } from "../rmap/reverse-maps.ts";
import { MAP_PRIVATE, MAP_SHARED, READ, READ_WRITE, TestKernel, type TestMachine } from "../test-kernel.ts";
import { runKswapd } from "./make-room.ts";
import type { ReclaimName } from "./reclaims.ts";

const AT = 0x1000;
const MAP_NORESERVE = 0x4000;

class Bench extends TestKernel {
  constructor(reclaim: ReclaimName, reverseMap: ReverseMapName, machine: TestMachine = {}) {
    super({ reclaim, reverseMap, format: "i386", kernel: "linux-2.6.11", ...machine });
  }

  get costs() {
    return this.kernel.reclaim.costs;
  }

  /** A file whose pages are in the cache, clean, and used by nobody. */
  cached(pages: number): FileObject {
    const file = this.file(pages, "regular");
    this.call("pread", [new OpenFile(file, "read"), addressOf(pages), 0]);
    return file;
  }

  stores(first: number, pages: number): void {
    this.map(first, pages, READ_WRITE, MAP_PRIVATE | MAP_NORESERVE);
    for (let page = first; page < first + pages; page++) this.store(page);
  }

  free(want: Want = WANT_USER): number {
    return this.run(this.kernel.reclaim.freePages(this.kernel, { order: 0, want }));
  }
}

const strategies: readonly (readonly [ReclaimName, ReverseMapName])[] = [
  ["linux-2.4", "none"],
  ["rmap15", "pte-chain-e"],
];

describe.each(strategies)("%s with %s", (reclaim, reverseMap) => {
  test("lowmem that is needed comes from pages in lowmem; pages in highmem stay", () => {
    const bench = new Bench(reclaim, reverseMap, { frames: 2048, highmemFrom: 1024 });
    const low = bench.kernel.allocator.zones[0]!;
    const high = bench.kernel.allocator.zones[1]!;
    bench.cached(1500); // fills highmem, and the rest goes to lowmem
    const before = { low: low.free, high: high.free };
    const freed = bench.free(WANT_KERNEL);
    expect(freed).toBeGreaterThan(0);
    expect(low.free).toBeGreaterThanOrEqual(before.low + freed);
    expect(high.free).toBe(before.high);
  });

  test("lowmem starves while highmem is full of pages that could go, and that is found out", () => {
    const bench = new Bench(reclaim, reverseMap, { frames: 2048, highmemFrom: 1024 });
    const file = bench.cached(600);
    expect(bench.free(WANT_KERNEL)).toBe(0);
    expect(file.pages.count).toBe(600);
    expect(bench.free(WANT_USER)).toBeGreaterThan(0);
  });

  test("a list of pages that were all just used gives victims the second time that it is looked at", () => {
    const bench = new Bench(reclaim, reverseMap, { swap: [512] });
    bench.stores(AT, 300);
    expect(bench.free()).toBeGreaterThan(0);
    expect(bench.thread.mm.resident.swap).toBeGreaterThan(0);
  });

  test("swap that is full leaves pages where they are; when slots are free again, others go", () => {
    const bench = new Bench(reclaim, reverseMap, { swap: [65] });
    bench.stores(AT, 200);
    while (bench.free() > 0);
    expect(bench.kernel.swap.freePages).toBe(0);
    expect(bench.thread.mm.resident).toMatchObject({ anon: 136, swap: 64 });

    bench.call("munmap", [addressOf(AT), addressOf(100)]);
    expect(bench.free()).toBeGreaterThan(0);
  });

  test("a machine full of locked pages: kswapd and who needs memory give up, after a bounded look at them", () => {
    const bench = new Bench(reclaim, reverseMap, { frames: 1024, swap: [2048] });
    bench.stores(AT, 800);
    bench.call("mlock", [addressOf(AT), addressOf(800)]);
    bench.run(runKswapd(bench.kernel));
    expect(bench.free()).toBe(0);
    expect(bench.thread.mm.resident).toMatchObject({ anon: 800, swap: 0 });
    // Some rounds over lists of 800 pages, and over as many entries, in all priorities.
    expect(bench.costs.pagesScanned).toBeLessThan(800 * 80);
    expect(bench.costs.entriesVisited).toBeLessThan(800 * 200);
  });

  test("who wants more than memory and swap have is killed, and the machine goes on", () => {
    const settings = ["geometry.memory=8M", "geometry.bootMemory=none", "geometry.swap=2M"];
    const design = [`design.reclaim=${reclaim}`, `design.reverseMap=${reverseMap}`];
    const machine = new Machine(applySettings(specOf("nonpae-3g"), [...settings, ...design]));
    const greedy = machine.spawn("greedy");
    const modest = machine.spawn("modest");
    const map = (thread: Thread, pages: number): number =>
      machine.call(thread, "mmap", [0, pages * PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_NORESERVE | 0x20, null, 0]);
    const small = map(modest.threads[0]!, 10);
    for (let page = 0; page < 10; page++) machine.access(modest.threads[0]!, small + page * PAGE_SIZE, STORE);

    const large = map(greedy.threads[0]!, 10_000);
    let touched = 0;
    const thread = greedy.threads[0]!;
    while (greedy.state === "alive" && touched < 10_000) machine.access(thread, large + touched++ * PAGE_SIZE, STORE);
    expect(greedy.state).toBe("killed");
    expect(touched).toBeGreaterThan(1700);
    expect(modest.state).toBe("alive");
    for (let page = 0; page < 10; page++) {
      expect(machine.access(modest.threads[0]!, small + page * PAGE_SIZE, STORE)).toBe(0);
    }
  });
});

test("one list for all zones is waded through: 2.4 looks at every highmem page for a page of lowmem, rmap15 at none", () => {
  const looks = strategies.map(([reclaim, reverseMap]) => {
    const bench = new Bench(reclaim, reverseMap, { frames: 2048, highmemFrom: 1024 });
    bench.cached(600);
    bench.free(WANT_KERNEL);
    return bench.costs.pagesScanned;
  });
  expect(looks[0]).toBeGreaterThanOrEqual(600);
  expect(looks[1]).toBe(0);
});

test("a file that was written, in highmem, pins lowmem until its own pages leave: buffer heads and tree nodes", () => {
  const settings = ["geometry.memory=128M", "geometry.lowmemBytes=32M", "geometry.bootMemory=none"];
  const machine = new Machine(applySettings(specOf("piii-4g"), settings));
  const { kernel } = machine;
  const thread = machine.spawn("writer").threads[0]!;
  const pages = 16_384;
  const file = kernel.files.create({ name: "f", kind: "regular", sizeBytes: 0 });
  const open = new OpenFile(file, "read-write");
  machine.call(thread, "pwrite", [open, pages * PAGE_SIZE, 0]);
  const heads = kernel.slabs.bufferHeads!;
  expect(heads.objects).toBe(pages);
  expect(heads.pages).toBeGreaterThanOrEqual((pages * 48) / PAGE_SIZE);
  const pinned = heads.pages + kernel.slabs.treeNodes.pages;

  // Whoever needs lowmem finds no page there that could go.
  machine.run(thread, kernel.reclaim.freePages(kernel, { order: 0, want: WANT_KERNEL }));
  expect(heads.objects).toBe(pages);
  const lowmem = (): number =>
    kernel.allocator.zones.filter(({ name }) => name !== "HighMem").reduce((sum, { free }) => sum + free, 0);
  const before = lowmem();
  machine.call(thread, "ftruncate", [open, 0]);
  expect(heads.objects).toBe(0);
  expect(lowmem() - before).toBe(pinned);
});

/** Pages of a file that all processes map, and pages that each has for itself, which have no swap to go to. */
const SHARED_PAGES = 32;
const OWN_PAGES = 8;

/** Entries visited to free all pages of a file that so many processes map. */
function entriesToFree(reclaim: ReclaimName, reverseMap: ReverseMapName, sharers: number): number {
  const bench = new Bench(reclaim, reverseMap, { frames: 2048 + sharers * (OWN_PAGES + 4) });
  const file = bench.cached(SHARED_PAGES);
  bench.map(AT, SHARED_PAGES, READ, MAP_SHARED, file);
  const threads = [bench.thread, ...Array.from({ length: sharers - 1 }, () => bench.fork() as Thread)];
  for (const thread of threads) {
    bench.runs(thread);
    for (let page = AT; page < AT + SHARED_PAGES; page++) bench.load(page, thread);
    bench.call("mmap", [addressOf(0x2000), addressOf(OWN_PAGES), READ_WRITE, 0x32, null, 0], thread);
    for (let page = 0x2000; page < 0x2000 + OWN_PAGES; page++) bench.store(page, thread);
  }
  for (let turns = 0; file.pages.count > 0 && turns < 100; turns++) bench.free();
  expect(file.pages.count).toBe(0);
  return bench.costs.entriesVisited;
}

describe("entries visited to free pages, as those who share them grow", () => {
  test.each(["pte-chain-e", "object-anon"] as const)("2.6 with %s: four for each that maps the page", (reverseMap) => {
    for (const sharers of [1, 100, 1000]) {
      expect(entriesToFree("linux-2.6", reverseMap, sharers)).toBe(4 * sharers * SHARED_PAGES);
    }
  });

  test("2.4: those of all address spaces, whatever they map, again and again", () => {
    const [one, hundred, thousand] = [1, 100, 1000].map((sharers) => entriesToFree("linux-2.4", "none", sharers));
    expect(hundred! / one!).toBeGreaterThan(80);
    expect(thousand! / hundred!).toBeGreaterThan(9);
    expect(thousand! / hundred!).toBeLessThan(12);
    // To forget their use takes a look at each entry of the system, to take them away another.
    expect(thousand!).toBeGreaterThan(2 * 1000 * (SHARED_PAGES + OWN_PAGES));
    expect(thousand!).toBeGreaterThan(5 * 4 * 1000 * SHARED_PAGES);
  });
});
