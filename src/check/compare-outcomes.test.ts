import { describe, expect, test } from "vitest";
import { compareOutcomes, formatOutcome, kindOf, parseOutcomes } from "./compare-outcomes.ts";

const text = `prog a
0 P0 mmap W+1000 mf=2,0
1 P0 mlockall 0
2 P0 x exec-ok
P0 vma W+1000 W+2000 rw-p off=0 anon sd=4 [rd wr sd]
F0 size=1 blocks=8 40
end
`;
const outcome = parseOutcomes(text).get("a")!;
const changed = (at: number, line: string) => ({ ...outcome, lines: outcome.lines.with(at, line) });

describe("comparing outcomes", () => {
  test("an outcome's text is read and written alike", () => {
    expect(formatOutcome(outcome)).toBe(text);
  });

  test("finds every line that differs, in order", () => {
    const found = { ...outcome, lines: ["0 P0 mmap W+1000", ...outcome.lines.slice(1, 4)] };
    expect(compareOutcomes(outcome, found, "x86-64")).toEqual([
      { at: 0, expected: "0 P0 mmap W+1000 mf=2,0", found: "0 P0 mmap W+1000" },
      { at: 4, expected: "F0 size=1 blocks=8 40", found: undefined },
    ]);
  });

  test.each([
    ["mlockall's fault counts", 1, "1 P0 mlockall 0 mf=9,0"],
    ["the soft-dirty flag", 3, "P0 vma W+1000 W+2000 rw-p off=0 anon sd=4 [rd wr]"],
    ["a file's blocks", 4, "F0 size=1 blocks=16 40"],
  ])("sets aside %s", (_what, at, line) => {
    expect(compareOutcomes(outcome, changed(at, line), "x86-64")).toEqual([]);
  });

  test.each([
    ["shared dirty pages", 3, "P0 vma W+1000 W+2000 rw-p off=0 anon sd=8 [rd wr sd]"],
    ["another call's fault counts", 0, "0 P0 mmap W+1000 mf=1,0"],
    ["a file's contents", 4, "F0 size=1 blocks=8 41"],
  ])("does not set aside %s", (_what, at, line) => {
    expect(compareOutcomes(outcome, changed(at, line), "x86-64")).toHaveLength(1);
  });

  test("sets aside what an execution gave where the recorder did not enforce NX", () => {
    const found = changed(2, "2 P0 x SEGV code=2 addr=W+1000 err=15");
    expect(compareOutcomes(outcome, found, "pae")).toEqual([]);
    expect(compareOutcomes(outcome, found, "x86-64")).toHaveLength(1);
  });

  test("names the kind of a line", () => {
    expect(outcome.lines.map(kindOf)).toEqual(["mmap", "mlockall", "x", "vma", "file"]);
  });
});
