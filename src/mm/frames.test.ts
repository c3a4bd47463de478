import { expect, test } from "vitest";
import { Frames, PG_ACTIVE, PG_DIRTY, PG_LRU } from "./frames.ts";

test("the last reference says that it was the last", () => {
  const frames = new Frames(64);
  frames.refs.write(5, 1);
  frames.addReference(5);
  expect(frames.dropReference(5)).toBe(false);
  expect(frames.dropReference(5)).toBe(true);
});

test("a free frame can be neither referenced nor dropped", () => {
  const frames = new Frames(64);
  expect(() => frames.addReference(5)).toThrow("free");
  expect(() => new Frames(64).dropReference(5)).toThrow("once too often");
});

test("flags are set and cleared one by one", () => {
  const frames = new Frames(64);
  frames.setFlag(5, PG_LRU | PG_ACTIVE);
  frames.setFlag(5, PG_DIRTY);
  frames.clearFlag(5, PG_ACTIVE);
  expect(frames.has(5, PG_LRU | PG_DIRTY)).toBe(true);
  expect(frames.has(5, PG_LRU | PG_ACTIVE)).toBe(false);
  expect(frames.flags.read(6)).toBe(0);
});

test("a terabyte of frames is a few MiB of host memory", () => {
  expect(new Frames(2 ** 28).hostBytes).toBeLessThan(4 * 2 ** 20);
});
