import { expect, test } from "vitest";
import { NOPFN_SIGBUS, RawMemory, SegmentFile } from "./segments.ts";

test("frames are handed out in one piece or scattered, and come back whole", () => {
  const segments = new RawMemory(
    [
      { first: 100, end: 108 },
      { first: 200, end: 204 },
    ],
    [],
  );
  expect(segments.take(6, "in one piece")).toEqual([{ first: 100, end: 106 }]);
  expect(segments.take(5, "in one piece")).toBeNull();
  const scattered = segments.take(5, "scattered")!;
  expect(scattered.map(({ first }) => first)).toEqual([203, 202, 201, 200, 107]);
  expect(segments.take(2, "scattered")).toBeNull();
  expect(segments.freeFrames).toBe(1);
  segments.give(scattered);
  segments.give([{ first: 100, end: 106 }]);
  expect(segments.freeFrames).toBe(12);
  expect(segments.take(8, "in one piece")).toEqual([{ first: 100, end: 108 }]);
  expect(() => segments.give([{ first: 203, end: 204 }])).toThrow("twice");
});

test("a file knows its frames, and which follow one another", () => {
  const file = new SegmentFile("xip", [
    { first: 10, end: 13 },
    { first: 50, end: 52 },
  ]);
  expect(Array.from({ length: 6 }, (_, index) => file.frameOf(index))).toEqual([10, 11, 12, 50, 51, NOPFN_SIGBUS]);
  expect(file.frameOf(-1)).toBe(NOPFN_SIGBUS);
  expect([
    file.isConsecutive(0, 3),
    file.isConsecutive(2, 4),
    file.isConsecutive(3, 9),
    file.isConsecutive(7, 9),
  ]).toEqual([true, false, true, true]);
});
