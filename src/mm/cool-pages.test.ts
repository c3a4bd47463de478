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
