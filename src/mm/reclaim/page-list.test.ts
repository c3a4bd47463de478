import { describe, expect, test } from "vitest";
import { Rng } from "../../base/rng.ts";
import type { Pfn } from "../../base/units.ts";
import { Frames, NO_FRAME } from "../frames.ts";
import { PageList } from "./page-list.ts";

/** The list from its tail on, and the same read from its head. */
function contents(list: PageList, frames: Frames): Pfn[] {
  const fromTail = [...list];
  const fromHead: Pfn[] = [];
  for (let frame = list.head; frame !== NO_FRAME; frame = frames.next.read(frame)) fromHead.push(frame);
  expect(fromHead.reverse()).toEqual(fromTail);
  expect(list.count).toBe(fromTail.length);
  return fromTail;
}

describe("a list of frames", () => {
  test("is what an array would be, whatever is added and removed, one by one or in runs", () => {
    const rng = new Rng(5);
    const frames = new Frames(64);
    const list = new PageList("test", frames);
    let model: Pfn[] = [];
    for (let step = 0; step < 3000; step++) {
      const first = rng.below(64);
      const end = Math.min(64, first + 1 + rng.below(12));
      const run = Array.from({ length: end - first }, (_, at) => first + at);
      const isOn = (frame: Pfn) => model.includes(frame);
      if (rng.below(3) > 0) {
        for (const frame of run.filter((each) => !isOn(each))) {
          if (rng.below(8) === 0) {
            list.addTail(frame);
            model.unshift(frame);
          } else {
            list.addHead(frame);
            model.push(frame);
          }
        }
      } else if (run.every(isOn)) {
        list.removeRun(first, end);
        model = model.filter((frame) => frame < first || frame >= end);
      } else if (isOn(first)) {
        list.remove(first);
        model = model.filter((frame) => frame !== first);
      }
      expect(contents(list, frames)).toEqual(model);
    }
  });

  test("may lose the frame that a walk is shown", () => {
    const list = new PageList("test", new Frames(8));
    for (const frame of [1, 2, 3, 4]) list.addHead(frame);
    for (const frame of list) if (frame % 2 === 0) list.remove(frame);
    expect([...list]).toEqual([1, 3]);
  });
});
