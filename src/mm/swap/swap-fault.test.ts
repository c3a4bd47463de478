import { describe, expect, test } from "vitest";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import type { PagingFormatName } from "../../hw/paging-format.ts";
import { PG_EXCLUSIVE } from "../frames.ts";
import type { PersonalityName } from "../personality.ts";
import { readRemote } from "../remote.ts";
import {
  MAP_ANONYMOUS,
  MAP_PRIVATE,
  PROT_NONE,
  READ,
  READ_WRITE,
  TestKernel,
  type TestMachine,
} from "../test-kernel.ts";
import { evict, get, put, slotAt, swapOut } from "./test-swap.ts";

const AREA = 0x1000;

const machines: readonly [PersonalityName, PagingFormatName][] = [
  ["linux-2.6.11", "i386"],
  ["linux-2.6.11", "pae"],
  ["linux-6.1", "pae"],
  ["linux-6.1", "x86-64"],
];

describe.each(machines)("%s, %s", (kernel, format) => {
  const machine = (more: TestMachine = {}): TestKernel => {
    const made = new TestKernel({ kernel, format, swap: [64, 64], ...more });
    made.map(AREA, 32, READ_WRITE, MAP_PRIVATE);
    return made;
  };
  const usersAt = (made: TestKernel, page: number): number => made.kernel.swap.usersOf(slotAt(made, page));

  test("a page comes back from disk as it was, by a major fault", () => {
    const made = machine();
    put(made, AREA, 4711);
    evict(made, swapOut(made, AREA));
    const { resident } = made.thread.mm;
    expect([made.picture(AREA, 1), resident.anon, resident.swap, usersAt(made, AREA)]).toEqual(["S", 0, 1, 1]);
    expect(get(made, AREA)).toBe(4711);
    const { process } = made.thread;
    expect([resident.anon, resident.swap, process.majorFaults]).toEqual([1, 0, 1]);
    expect(made.kernel.swap.cachedPages).toBe(1);
  });

  test("a page that is still in the swap cache comes back by a minor fault, in the same frame", () => {
    const made = machine();
    put(made, AREA, 4711);
    const frame = swapOut(made, AREA);
    expect(usersAt(made, AREA)).toBe(2);
    expect([get(made, AREA), made.entry(AREA).frame]).toEqual([4711, frame]);
    expect(made.thread.process.majorFaults).toBe(0);
    expect(made.kernel.swap.costs.pagesIn).toBe(0);
  });

  test("a write to a page that is nobody else's needs no copy", () => {
    const made = machine();
    put(made, AREA, 4711);
    evict(made, swapOut(made, AREA));
    const { pagesCopied } = made.kernel.counters;
    expect(made.store(AREA)).toBe(0);
    expect(made.kernel.memory.read(made.entry(AREA).frame, 0)).toBe(4711);
    expect(made.kernel.counters.pagesCopied).toBe(pagesCopied);
    expect(made.picture(AREA, 1)).toBe(kernel === "linux-6.1" ? "wad!" : "wad");
  });

  test("what is written after a swap-in is what comes back after the next swap-out", () => {
    const made = machine();
    put(made, AREA, 1);
    evict(made, swapOut(made, AREA));
    put(made, AREA, 2);
    evict(made, swapOut(made, AREA));
    expect(get(made, AREA)).toBe(2);
  });

  test("fork makes the child a user of the slot; its exit ends that", () => {
    const made = machine();
    put(made, AREA, 4711);
    evict(made, swapOut(made, AREA));
    const child = made.fork()!;
    expect([usersAt(made, AREA), child.mm.resident.swap, made.picture(AREA, 1, child)]).toEqual([2, 1, "S"]);
    made.exit(child);
    expect(usersAt(made, AREA)).toBe(1);
    expect(get(made, AREA)).toBe(4711);
  });

  test("parent and child each find a shared page's contents, and who writes gets a copy", () => {
    const made = machine();
    put(made, AREA, 4711);
    evict(made, swapOut(made, AREA));
    const child = made.fork()!;
    put(made, AREA, 1, child);
    expect([get(made, AREA), get(made, AREA, child)]).toEqual([4711, 1]);
    put(made, AREA, 2);
    expect([get(made, AREA), get(made, AREA, child)]).toEqual([2, 1]);
    expect(made.kernel.swap.costs.pagesIn).toBe(1);
  });

  test("a page in swap that was forked and is alone again is nobody else's at the next write", () => {
    const made = machine();
    put(made, AREA, 4711);
    evict(made, swapOut(made, AREA));
    made.exit(made.fork()!);
    const { pagesCopied } = made.kernel.counters;
    put(made, AREA, 1);
    expect(made.kernel.counters.pagesCopied).toBe(pagesCopied);
    expect(made.kernel.frames.has(made.entry(AREA).frame, PG_EXCLUSIVE)).toBe(kernel === "linux-6.1");
  });

  test("munmap, MADV_DONTNEED and exit free slots", () => {
    const made = machine();
    const { swap } = made.kernel;
    const outs = Array.from({ length: 12 }, (_, at) => {
      put(made, AREA + at, at);
      return swapOut(made, AREA + at);
    });
    // Every other one is in the swap cache still.
    for (const [at, frame] of outs.entries()) if (at % 2 === 0) evict(made, frame);
    expect(swap.freePages).toBe(126 - 12);
    made.call("munmap", [addressOf(AREA), addressOf(4)]);
    expect([swap.freePages, swap.cachedPages]).toEqual([126 - 8, 4]);
    made.call("madvise", [addressOf(AREA + 4), addressOf(4), 4]);
    expect([swap.freePages, swap.cachedPages, made.thread.mm.resident.swap]).toEqual([126 - 4, 2, 4]);
    made.exit(made.thread);
    expect([swap.freePages, swap.cachedPages]).toEqual([126, 0]);
  });

  test("unmapping a page that was brought in frees its slot", () => {
    const made = machine();
    put(made, AREA, 1);
    evict(made, swapOut(made, AREA));
    expect(made.load(AREA)).toBe(0);
    made.call("munmap", [addressOf(AREA), addressOf(1)]);
    expect([made.kernel.swap.freePages, made.kernel.swap.cachedPages]).toEqual([126, 0]);
  });

  test("mremap moves what names a slot, and its users stay as many", () => {
    const made = machine();
    put(made, AREA + 1, 4711);
    evict(made, swapOut(made, AREA + 1));
    const slot = slotAt(made, AREA + 1);
    const moved = made.call("mremap", [addressOf(AREA), addressOf(4), addressOf(4), 3, addressOf(0x3000)]);
    expect(moved).toBe(addressOf(0x3000));
    expect([slotAt(made, 0x3001), made.kernel.swap.usersOf(slot)]).toEqual([slot, 1]);
    expect(get(made, 0x3001)).toBe(4711);
  });

  test("mprotect leaves what names a slot alone; the page comes back with the rights of then", () => {
    const made = machine();
    put(made, AREA, 4711);
    evict(made, swapOut(made, AREA));
    made.call("mprotect", [addressOf(AREA), addressOf(1), PROT_NONE]);
    expect(made.picture(AREA, 1)).toBe("S");
    expect(made.load(AREA)).not.toBe(0);
    made.call("mprotect", [addressOf(AREA), addressOf(1), READ]);
    expect(get(made, AREA)).toBe(4711);
    expect(made.store(AREA)).not.toBe(0);
  });

  test("a page that leaves a PROT_NONE area for swap comes back when its rights do", () => {
    const made = machine();
    put(made, AREA, 4711);
    made.call("mprotect", [addressOf(AREA), addressOf(1), PROT_NONE]);
    evict(made, swapOut(made, AREA));
    expect(made.picture(AREA, 1)).toBe("S");
    made.call("mprotect", [addressOf(AREA), addressOf(1), READ_WRITE]);
    expect(get(made, AREA)).toBe(4711);
  });

  test("the aligned block around a slot is read with it, and its pages are minor faults then", () => {
    const made = machine();
    for (let at = 0; at < 24; at++) put(made, AREA + at, at);
    for (let at = 0; at < 24; at++) evict(made, swapOut(made, AREA + at));
    // Page n is in slot n + 1: slots 8 to 15 hold pages 7 to 14.
    expect(get(made, AREA + 9)).toBe(9);
    const { costs } = made.kernel.swap;
    expect([costs.pagesIn, costs.readRequests, made.kernel.swap.cachedPages]).toEqual([8, 1, 8]);
    for (let at = 7; at < 15; at++) expect(get(made, AREA + at)).toBe(at);
    expect([costs.pagesIn, made.thread.process.majorFaults]).toEqual([8, 1]);
    expect(get(made, AREA + 15)).toBe(15);
    expect(costs.pagesIn).toBe(16);
  });

  test("a block is read up to its first free slot, and the page that is wanted in any case", () => {
    const made = machine();
    for (let at = 0; at < 24; at++) put(made, AREA + at, at);
    for (let at = 0; at < 24; at++) evict(made, swapOut(made, AREA + at));
    made.call("munmap", [addressOf(AREA + 9), addressOf(1)]);
    expect(get(made, AREA + 12)).toBe(12);
    // Slots 8 and 9 (pages 7 and 8), and slot 13.
    expect([made.kernel.swap.costs.pagesIn, made.kernel.swap.costs.readRequests]).toEqual([3, 2]);
  });

  test("page_cluster 0 reads one page at a time", () => {
    const made = machine({ tunables: { pageCluster: 0 } });
    for (let at = 0; at < 8; at++) put(made, AREA + at, at);
    for (let at = 0; at < 8; at++) evict(made, swapOut(made, AREA + at));
    expect(get(made, AREA + 3)).toBe(3);
    expect(made.kernel.swap.costs.pagesIn).toBe(1);
  });

  test("when swap is more than half full a page that comes in gives its slot back", () => {
    const made = machine({ swap: [12] });
    for (let at = 0; at < 8; at++) put(made, AREA + at, at);
    for (let at = 0; at < 8; at++) evict(made, swapOut(made, AREA + at));
    expect(made.kernel.swap.isFull).toBe(true);
    expect(get(made, AREA)).toBe(0);
    expect(made.kernel.swap.freePages).toBe(11 - 7);
  });

  test("without a free slot a page stays in memory", () => {
    const made = machine({ swap: [2] });
    put(made, AREA, 1);
    put(made, AREA + 1, 2);
    swapOut(made, AREA);
    expect(() => swapOut(made, AREA + 1)).toThrow();
    expect(get(made, AREA + 1)).toBe(2);
  });

  test("a page can be looked at from outside while it is in swap", () => {
    const made = machine();
    put(made, AREA, 0x2a);
    evict(made, swapOut(made, AREA));
    const { process } = made.thread;
    expect(made.run(readRemote(made.kernel, made.thread, process, AREA * PAGE_SIZE))).toBe(0x2a);
  });

  test("mlock brings pages in, and they are there without a fault", () => {
    const made = machine();
    for (const at of [0, 1, 2]) put(made, AREA + at, at + 10);
    for (const at of [0, 1, 2]) evict(made, swapOut(made, AREA + at));
    expect(made.call("mlock", [addressOf(AREA), addressOf(3)])).toBe(0);
    expect(made.picture(AREA, 3)).not.toContain("S");
    expect([0, 1, 2].map((at) => get(made, AREA + at))).toEqual([10, 11, 12]);
  });
});

describe("linux-6.1", () => {
  test("mincore reports what the swap cache has, and not what is on disk alone", () => {
    const made = new TestKernel({ swap: [64] });
    made.map(AREA, 3, READ_WRITE, MAP_PRIVATE);
    for (const at of [0, 1, 2]) put(made, AREA + at, at + 1);
    evict(made, swapOut(made, AREA + 1));
    swapOut(made, AREA + 2);
    const vector = new Uint8Array(3);
    expect(made.call("mincore", [addressOf(AREA), addressOf(3), vector])).toBe(0);
    expect([...vector]).toEqual([1, 0, 1]);
  });

  test("MADV_WILLNEED brings what is in swap into the swap cache, and maps nothing", () => {
    const made = new TestKernel({ swap: [64], tunables: { pageCluster: 0 } });
    made.map(AREA, 3, READ_WRITE, MAP_PRIVATE);
    for (const at of [0, 1, 2]) put(made, AREA + at, at + 1);
    for (const at of [0, 2]) evict(made, swapOut(made, AREA + at));
    expect(made.call("madvise", [addressOf(AREA), addressOf(3), 3])).toBe(0);
    expect([made.picture(AREA, 3), made.kernel.swap.cachedPages]).toEqual(["S wad! S", 2]);
    expect([get(made, AREA), get(made, AREA + 2), made.thread.process.majorFaults]).toEqual([1, 3, 0]);
  });

  test("MADV_FREE forgets what is in swap", () => {
    const made = new TestKernel({ swap: [64] });
    made.map(AREA, 2, READ_WRITE, MAP_PRIVATE);
    for (const at of [0, 1]) put(made, AREA + at, at + 1);
    evict(made, swapOut(made, AREA));
    expect(made.call("madvise", [addressOf(AREA), addressOf(2), 8])).toBe(0);
    expect([made.kernel.swap.freePages, made.thread.mm.resident.swap, get(made, AREA)]).toEqual([63, 0, 0]);
  });

  test("an entry of x86-64 remembers that its page was exclusive, until a fork", () => {
    const made = new TestKernel({ swap: [64] });
    made.map(AREA, 1, READ_WRITE, MAP_PRIVATE | MAP_ANONYMOUS);
    put(made, AREA, 1);
    evict(made, swapOut(made, AREA));
    expect(made.load(AREA)).toBe(0);
    // Still in the swap cache, and yet alone: the entry said so.
    expect([made.picture(AREA, 1), made.kernel.swap.cachedPages]).toEqual(["ra!", 1]);
    evict(made, swapOut(made, AREA));
    const child = made.fork()!;
    expect(made.load(AREA)).toBe(0);
    expect([made.picture(AREA, 1), made.picture(AREA, 1, child)]).toEqual(["ra", "S"]);
  });
});
