import { describe, expect, test } from "vitest";
import { NO_SWAP_SLOT, SATURATED, SwapArea } from "./swap-area.ts";

const take = (area: SwapArea, slots: number): number[] => Array.from({ length: slots }, () => area.allocate());

describe("swap areas", () => {
  test("the first slot is the header: an area of 4 slots holds 3 pages", () => {
    const area = new SwapArea(4);
    expect([area.usable, ...take(area, 4), area.free]).toEqual([3, 1, 2, 3, NO_SWAP_SLOT, 0]);
  });

  test("slots are given out upwards, over those that were freed meanwhile", () => {
    const area = new SwapArea(600);
    take(area, 10);
    area.release(3);
    expect(take(area, 2)).toEqual([11, 12]);
  });

  test("after 256 slots the next empty stretch is used, from its first slot", () => {
    //  1 ........ 256 | 257 ... 299 used | 300 ...      a stretch of 256 starts at 300 only
    const area = new SwapArea(1000);
    take(area, 256 + 43);
    for (let slot = 1; slot <= 255; slot++) area.release(slot);
    take(area, 256 - 43);
    expect(area.allocate()).toBe(513);
    area.release(256);
    // The second cluster ends at 768; slots 1 to 256 are empty again by then.
    take(area, 255);
    expect(area.allocate()).toBe(1);
  });

  test("without an empty stretch the first free slot is used", () => {
    const area = new SwapArea(300);
    take(area, 256);
    for (const slot of [40, 41, 200]) area.release(slot);
    expect(take(area, 4)).toEqual([40, 41, 200, 257]);
  });

  test("a full area gives nothing until a slot is freed", () => {
    const area = new SwapArea(300);
    take(area, 299);
    expect(area.allocate()).toBe(NO_SWAP_SLOT);
    area.release(299);
    expect(take(area, 2)).toEqual([299, NO_SWAP_SLOT]);
  });

  test("each slot is given out once, in any order of taking and freeing", () => {
    const area = new SwapArea(700);
    const used = new Set<number>();
    let random = 1;
    for (let step = 0; step < 20_000; step++) {
      random = (random * 1103515245 + 12345) % 2 ** 31;
      if (random % 5 < 3) {
        const slot = area.allocate();
        if (slot === NO_SWAP_SLOT) expect(used.size).toBe(699);
        else {
          expect(used.has(slot)).toBe(false);
          used.add(slot);
        }
      } else {
        const slot = [...used][random % Math.max(1, used.size)];
        if (slot === undefined) continue;
        expect(area.release(slot)).toBe(0);
        used.delete(slot);
      }
      expect(area.free).toBe(699 - used.size);
    }
  });

  test("users are counted, and the last one frees the slot", () => {
    const area = new SwapArea(10);
    const slot = area.allocate();
    area.duplicate(slot);
    expect([area.release(slot), area.count(slot), area.release(slot), area.count(slot)]).toEqual([1, 1, 0, 0]);
    expect(() => area.release(slot)).toThrow("freed twice");
    expect(() => area.duplicate(slot)).toThrow("second user");
  });

  test("a count that has come to 0x7fff stays there, and its slot is never free", () => {
    const area = new SwapArea(10);
    const slot = area.allocate();
    for (let users = 1; users < SATURATED + 5; users++) area.duplicate(slot);
    expect(area.count(slot)).toBe(0x7fff);
    for (let users = 0; users < SATURATED + 5; users++) expect(area.release(slot)).toBe(0x7fff);
    expect(area.free).toBe(8);
  });
});
