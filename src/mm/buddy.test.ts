import { describe, expect, test } from "vitest";
import { Rng } from "../base/rng.ts";
import { Buddy } from "./buddy.ts";
import { Frames, NO_FRAME } from "./frames.ts";

function buddyOf(end: number, orders = 11, first = 0): Buddy {
  const buddy = new Buddy(new Frames(end), first, end, orders);
  buddy.add(first, end);
  return buddy;
}

/** Free blocks by order: /proc/buddyinfo. */
const buddyInfo = (buddy: Buddy) => Array.from({ length: buddy.orders }, (_, order) => buddy.freeBlocks(order));

/** Every free frame, ascending. */
const freeFrames = (buddy: Buddy) =>
  [...buddy.freeRanges()]
    .flatMap(({ first, end }) => Array.from({ length: end - first }, (_, at) => first + at))
    .sort((a, b) => a - b);

describe("splitting and merging, in a zone of 16 frames with orders 0 to 3", () => {
  test("a single frame splits a block down, lower halves first", () => {
    //  0.......8.......      one largest block each
    //  x.--....8.......      after one frame: 1 of order 0, 1 of order 1, 1 of order 2
    const buddy = buddyOf(16, 4);
    expect(buddyInfo(buddy)).toEqual([0, 0, 0, 2]);
    expect(buddy.take(0)).toBe(0);
    expect(buddyInfo(buddy)).toEqual([1, 1, 1, 1]);
    expect(buddy.freePages).toBe(15);
  });

  test("the smallest block that is large enough is taken", () => {
    const buddy = buddyOf(16, 4);
    buddy.take(0);
    expect(buddy.take(1)).toBe(2);
    expect(buddy.take(0)).toBe(1);
    expect(buddyInfo(buddy)).toEqual([0, 0, 1, 1]);
  });

  test("giving all back restores the largest blocks, in any order", () => {
    const buddy = buddyOf(16, 4);
    const taken = [0, 1, 0, 2, 0].map((order) => ({ order, block: buddy.take(order) }));
    for (const { order, block } of taken.reverse()) buddy.give(block, order);
    expect(buddyInfo(buddy)).toEqual([0, 0, 0, 2]);
    expect(buddy.freePages).toBe(16);
  });

  test("a block does not merge while its buddy is in use or split", () => {
    const buddy = buddyOf(16, 4);
    const [a, b, c] = [buddy.take(0), buddy.take(0), buddy.take(0)];
    expect([a, b, c]).toEqual([0, 1, 2]);
    buddy.give(a, 0);
    expect(buddyInfo(buddy)).toEqual([2, 0, 1, 1]); // 0 and 3 are no buddies
    buddy.give(b, 0);
    expect(buddyInfo(buddy)).toEqual([1, 1, 1, 1]);
    buddy.give(c, 0);
    expect(buddyInfo(buddy)).toEqual([0, 0, 0, 2]);
  });

  test("when nothing is left, nothing is given", () => {
    const buddy = buddyOf(16, 4);
    expect([buddy.take(3), buddy.take(3), buddy.take(0)]).toEqual([0, 8, NO_FRAME]);
    expect(buddy.holds(0)).toBe(false);
  });

  test("memory may be there and no block large enough", () => {
    const buddy = buddyOf(16, 4);
    const taken = Array.from({ length: 16 }, () => buddy.take(0));
    for (const frame of taken) if (frame % 2 === 0) buddy.give(frame, 0);
    expect(buddy.freePages).toBe(8);
    expect(buddy.take(1)).toBe(NO_FRAME);
    expect(buddy.holds(1)).toBe(false);
    expect(buddy.holds(0)).toBe(true);
  });
});

describe("zones of any shape", () => {
  test("an unaligned zone is listed in the largest aligned blocks", () => {
    //  5 | 6 7 | 8 9 10 11 | 12
    const buddy = buddyOf(13, 4, 5);
    expect(buddyInfo(buddy)).toEqual([2, 1, 1, 0]);
    expect(freeFrames(buddy)).toEqual([5, 6, 7, 8, 9, 10, 11, 12]);
  });

  test("blocks do not merge with what is beyond the zone or was never given", () => {
    const buddy = new Buddy(new Frames(32), 4, 28, 5);
    buddy.add(4, 12);
    buddy.add(16, 28);
    const frames = Array.from({ length: 20 }, () => buddy.take(0));
    expect(frames).not.toContain(NO_FRAME);
    expect(buddy.take(0)).toBe(NO_FRAME);
    for (const frame of frames) buddy.give(frame, 0);
    expect(freeFrames(buddy)).toEqual([...range(4, 12), ...range(16, 28)]);
    expect(buddyInfo(buddy)).toEqual([0, 0, 3, 1, 0]);
  });

  test("a terabyte costs nothing until it is used", () => {
    const buddy = buddyOf(2 ** 28);
    expect(buddy.freeBlocks(10)).toBe(2 ** 18);
    expect(buddy.take(0)).toBe(0);
    expect(buddy.freeBlocks(10)).toBe(2 ** 18 - 1);
    expect(buddy.hostBytes).toBeLessThan(2 ** 20);
  });
});

describe("a block that is given back wrongly", () => {
  test("twice", () => {
    const buddy = buddyOf(16, 4);
    const frame = buddy.take(0);
    buddy.give(frame, 0);
    expect(() => buddy.give(frame, 0)).toThrow("free already");
    const [, second] = [buddy.take(0), buddy.take(0)];
    buddy.give(frame, 0);
    buddy.give(second, 0);
    expect(() => buddy.give(second, 0)).toThrow("not the start of a block"); // merged away
  });

  test("in part, or as more than it is", () => {
    const buddy = buddyOf(16, 4);
    const block = buddy.take(2);
    expect(() => buddy.give(block, 0)).toThrow("taken with order 2");
    expect(() => buddy.give(block, 3)).toThrow("taken with order 2");
    expect(() => buddy.give(block + 1, 0)).toThrow("not the start of a block");
  });

  test("without ever having been taken", () => {
    expect(() => buddyOf(16, 4).give(8, 3)).toThrow("given back");
  });
});

test("random use: no frame is ever given twice, none is lost, and all merges back", () => {
  const rng = new Rng(2024);
  const buddy = buddyOf(3000, 11, 100);
  const atBoot = buddyInfo(buddy);
  const held = new Set<number>();
  const blocks: { block: number; order: number }[] = [];
  for (let step = 0; step < 4000; step++) {
    if (rng.chance(0.55)) {
      const order = rng.below(rng.chance(0.2) ? 8 : 2);
      const block = buddy.take(order);
      if (block === NO_FRAME) continue;
      expect(block % (1 << order)).toBe(0);
      for (let frame = block; frame < block + (1 << order); frame++) {
        expect(held.has(frame)).toBe(false);
        held.add(frame);
      }
      blocks.push({ block, order });
    } else if (blocks.length > 0) {
      const [{ block, order }] = blocks.splice(rng.below(blocks.length), 1);
      buddy.give(block, order);
      for (let frame = block; frame < block + (1 << order); frame++) held.delete(frame);
    }
    const counted = buddyInfo(buddy).reduce((sum, blocks, order) => sum + blocks * (1 << order), 0);
    expect(counted).toBe(buddy.freePages);
    expect(buddy.freePages).toBe(2900 - held.size);
  }
  for (const { block, order } of blocks) buddy.give(block, order);
  expect(buddyInfo(buddy)).toEqual(atBoot);
  expect(freeFrames(buddy)).toEqual(range(100, 3000));
});

const range = (first: number, end: number) => Array.from({ length: end - first }, (_, at) => first + at);

describe("a run of single frames", () => {
  test("given together leaves the lists as giving one after the other does, in every order", () => {
    const rng = new Rng(5);
    for (let round = 0; round < 300; round++) {
      const first = rng.below(5);
      const end = first + 1 + rng.below(60);
      const buddies = [buddyOf(end, 5, first), buddyOf(end, 5, first)] as const;
      const owned = new Set<number>();
      for (const buddy of buddies) for (let frame = first; frame < end; frame++) owned.add(buddy.take(0));
      for (let step = 0; step < 8; step++) {
        const from = first + rng.below(end - first);
        let to = from;
        while (to < end && owned.has(to) && !rng.chance(0.1)) owned.delete(to++);
        for (let frame = from; frame < to; frame++) buddies[0].give(frame, 0);
        buddies[1].giveRun(from, to);
        expect([...buddies[1].freeRanges()]).toEqual([...buddies[0].freeRanges()]);
        expect(buddies[1].freePages).toBe(buddies[0].freePages);
        const taken = buddies[0].take(0);
        expect(buddies[1].take(0)).toBe(taken);
        if (taken !== NO_FRAME) owned.add(taken);
      }
    }
  });

  test("is refused whole when one of them is free", () => {
    const buddy = buddyOf(16, 4);
    for (let frame = 0; frame < 16; frame++) buddy.take(0);
    buddy.give(5, 0);
    expect(() => buddy.giveRun(2, 8)).toThrow("frame 5 is given back with order 0, and is free already");
    expect(buddy.freePages).toBe(1);
  });
});
