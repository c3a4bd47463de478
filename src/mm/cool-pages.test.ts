import { describe, expect, test } from "vitest";
import { addressOf } from "../base/units.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "./test-kernel.ts";

const AT = 0x40000;
const MADV_FREE = 8;
const MADV_COLD = 20;
const MADV_PAGEOUT = 21;

const advise = (machine: TestKernel, pages: number, advice: number): void => {
  expect(machine.call("madvise", [addressOf(AT), addressOf(pages), advice])).toBe(0);
};

test("MADV_COLD makes pages old, and nothing else", () => {
  const machine = new TestKernel();
  machine.map(AT, 2, READ_WRITE, MAP_PRIVATE);
  machine.store(AT);
  machine.load(AT + 1);
  advise(machine, 2, MADV_COLD);
  expect(machine.picture(AT, 2)).toBe("wd! Z");
});

test("a page that somebody else maps is left alone", () => {
  const machine = new TestKernel();
  machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
  machine.store(AT);
  machine.fork();
  advise(machine, 1, MADV_COLD);
  expect(machine.picture(AT, 1)).toBe("rad");
});

describe("MADV_PAGEOUT, without swap", () => {
  test("keeps anonymous memory", () => {
    const machine = new TestKernel();
    machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    advise(machine, 1, MADV_PAGEOUT);
    expect(machine.picture(AT, 1)).toBe("wd!");
  });

  test("takes back what MADV_FREE gave up, unless it was written since", () => {
    const machine = new TestKernel();
    machine.map(AT, 2, READ_WRITE, MAP_PRIVATE);
    machine.store(AT);
    machine.store(AT + 1);
    advise(machine, 2, MADV_FREE);
    expect(machine.picture(AT, 2)).toBe("w! w!");
    machine.store(AT + 1);
    advise(machine, 2, MADV_PAGEOUT);
    expect(machine.picture(AT, 2)).toBe(". wd!");
    expect(machine.thread.mm.resident.anon).toBe(1);
  });

  test("unmaps pages of files, and drops the clean ones from the cache", () => {
    const machine = new TestKernel();
    const file = machine.file(2, "regular");
    machine.map(AT, 2, READ_WRITE, MAP_SHARED, file);
    machine.load(AT);
    machine.store(AT + 1);
    advise(machine, 2, MADV_PAGEOUT);
    expect(machine.picture(AT, 2)).toBe(". .");
    expect(machine.thread.mm.resident.file).toBe(0);
    expect([file.pages.find(0) >= 0, file.pages.find(1) >= 0]).toEqual([false, true]);
  });
});

describe("MADV_PAGEOUT, with swap", () => {
  test("swaps anonymous memory out, and a load brings it back", () => {
    const machine = new TestKernel({ swap: [64] });
    const { kernel } = machine;
    machine.map(AT, 3, READ_WRITE, MAP_PRIVATE);
    for (const page of [AT, AT + 1]) machine.store(page);
    kernel.memory.write(machine.entry(AT).frame, 5, 77);
    advise(machine, 3, MADV_PAGEOUT);
    expect(machine.thread.mm.resident).toMatchObject({ anon: 0, swap: 2 });
    expect(kernel.counters.pagesReclaimed).toBe(2);
    expect(kernel.swap.costs.pagesOut).toBe(2);
    machine.load(AT);
    expect(kernel.memory.read(machine.entry(AT).frame, 5)).toBe(77);
    expect(machine.thread.mm.resident).toMatchObject({ anon: 1, swap: 1 });
  });

  test("leaves what others map, and keeps on its list what cannot go", () => {
    const machine = new TestKernel({ swap: [2] });
    const { reclaim, allocator } = machine.kernel;
    machine.map(AT, 3, READ_WRITE, MAP_PRIVATE);
    for (const page of [AT, AT + 1, AT + 2]) machine.store(page);
    advise(machine, 3, MADV_PAGEOUT);
    // There is one slot.
    expect(machine.thread.mm.resident).toMatchObject({ anon: 2, swap: 1 });
    const [active, inactive] = reclaim.listsOf(allocator.zones[0]!);
    expect([active!.count, inactive!.count]).toEqual([0, 2]);

    machine.load(AT);
    machine.fork();
    advise(machine, 3, MADV_PAGEOUT);
    expect(machine.thread.mm.resident).toMatchObject({ anon: 3, swap: 0 });
  });
});
