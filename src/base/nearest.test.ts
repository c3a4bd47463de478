import { expect, test } from "vitest";
import { didYouMean, nearest } from "./nearest.ts";

const axes = ["reverseMap", "tlbFlush", "nonlinear"];

test.each([
  ["reversMap", "reverseMap"],
  ["reverse-map", "reverseMap"],
  ["tblflush", "tlbFlush"],
  ["NonLinear", "nonlinear"],
  ["nonlinaer", "nonlinear"],
  ["revMap", "reverseMap"],
  ["tlb", "tlbFlush"],
])("%s is nearest to %s", (word, expected) => {
  expect(nearest(word, axes)).toBe(expected);
});

test("a word that is like none of them has no nearest", () => {
  expect(nearest("placement", axes)).toBeUndefined();
  expect(nearest("x", ["y"])).toBeUndefined();
  expect(didYouMean("placement", axes)).toBe("");
});

test("the suggestion is written to follow the error", () => {
  expect(didYouMean("tlbFlsh", axes)).toBe(' (did you mean "tlbFlush"?)');
});
