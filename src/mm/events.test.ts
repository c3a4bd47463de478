import { expect, test } from "vitest";
import { EVENT_FAULT, EVENT_ZAP, Events } from "./events.ts";

test("an event comes back as it was recorded, however high its page", () => {
  const events = new Events(4);
  const page = 2 ** 44 + 12345;
  events.record(EVENT_FAULT, 7, page, 1, 99, 0, 1);
  expect(events.at(0)).toEqual({ kind: EVENT_FAULT, space: 7, page, count: 1, frame: 99, result: 0, detail: 1 });
});

test("the ring forgets the oldest and keeps the numbers", () => {
  const events = new Events(4);
  for (let n = 0; n < 6; n++) events.record(EVENT_ZAP, 1, n, 1, -1, 0, 0);
  expect(events.recorded).toBe(6);
  expect([...events.since(0)].map((event) => event.page)).toEqual([2, 3, 4, 5]);
  expect([...events.since(5)].map((event) => event.page)).toEqual([5]);
});
