import { describe, expect, test } from "vitest";
import { impliedRules } from "./implied-rules.ts";

const choices = { a: ["1", "2"], b: ["1", "2"], c: ["1", "2", "3"] };

describe("rules imply", () => {
  test("what they rule out together, whatever is chosen on an axis", () => {
    const rules = [
      { a: "1", b: "1" },
      { a: "2", c: "1" },
    ];
    expect(impliedRules(rules, choices)).toEqual([...rules, { b: "1", c: "1" }]);
  });

  test("what follows from what they imply", () => {
    const rules = [{ a: "1", b: "1" }, { a: "2", c: "1" }, { b: "2" }];
    expect(impliedRules(rules, choices)).toContainEqual({ c: "1" });
  });

  test("more where there is less to choose from", () => {
    const rules = [{ a: "1", b: "1" }];
    expect(impliedRules(rules, choices)).toEqual(rules);
    expect(impliedRules(rules, { ...choices, a: ["1"] })).toContainEqual({ b: "1" });
  });
});
