import { expect, test } from "vitest";
import { costEvents, costPresets, estimateCycles } from "./cost.ts";

test("the estimate is the sum of counts times cycles; what was not counted costs nothing", () => {
  const table = costPresets.modern;
  expect(estimateCycles(table, {})).toBe(0);
  expect(estimateCycles(table, { access: 1000, walkStep: 3, fault: 2 })).toBe(
    1000 * table.cycles.access + 3 * table.cycles.walkStep + 2 * table.cycles.fault,
  );
});

test("a table of one's own takes the preset's place", () => {
  const own = { ...costPresets.p6, name: "own", cycles: { ...costPresets.p6.cycles, ipi: 7 } };
  expect(estimateCycles(own, { ipi: 3 })).toBe(21);
});

test("every preset prices every event and says what it rests on", () => {
  for (const [name, table] of Object.entries(costPresets)) {
    expect(table.name).toBe(name);
    expect(table.rests).not.toBe("");
    expect(Object.keys(table.cycles).sort()).toEqual(Object.keys(costEvents).sort());
  }
});
