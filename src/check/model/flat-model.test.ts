import { describe, expect, test } from "vitest";
import { BREAK_HOLE_BYTES, WINDOW_BYTES } from "../executor.ts";
import { parsePrograms } from "../program.ts";
import { FlatModel, type FlatRules } from "./flat-model.ts";

const WORLD = { breakStart: 0x60_0000, windowBytes: WINDOW_BYTES, holeBytes: BREAK_HOLE_BYTES };

const today: FlatRules = {
  noExecute: true,
  personality: "linux-6.1",
  nonlinear: "emulated",
  pfnMappings: "special-bit",
  userPages: 1,
  hugePages: 512,
};

/** Follows a program whose lines are `operation | what was printed`; the first thing that is wrong. */
function follow(lines: string[], rules = today): string | undefined {
  const operations = lines.map((line) => line.split(" | ")[0]!);
  const files = operations.filter((line) => line.startsWith("file"));
  const rest = lines.filter((line) => !line.startsWith("file"));
  const text = ["prog p", ...files, ...rest.map((line) => line.split(" | ")[0]!), "end"].join("\n");
  const [program] = parsePrograms(text, "test");
  const model = new FlatModel(program!, rules, WORLD);
  for (const [at, operation] of program!.operations.entries()) {
    const wrong = model.step(operation, rest[at]!.split(" | ")[1]!);
    if (wrong !== undefined) return wrong;
  }
  return undefined;
}

const MAPPED = "0 mmap 1000 0x2000 3 0x32 -1 0 | W+1000";

describe("the flat model", () => {
  test("accepts what is right", () => {
    expect(follow([MAPPED, "0 w 1010 7 | ok mf=1,0", "0 r 1010 | 07", "0 r 2010 | 00 mf=1,0"])).toBeUndefined();
  });

  test.each([
    ["another byte", [MAPPED, "0 w 1010 7 | ok", "0 r 1010 | 08"], "reads 08, expected 07"],
    ["no signal where nothing is mapped", ["0 w 1010 7 | ok"], "no signal, and nothing is mapped at 40001010"],
    ["a signal where all is well", [MAPPED, "0 r 1010 | SEGV code=1 addr=W+1010 err=4"], "SEGV 1, expected no signal"],
    [
      "a mapping over another",
      [MAPPED, "0 mmap - 0x1000 3 0x22 -1 0 | W+2000"],
      "mapped at page 262146, where something was",
    ],
    [
      "a mapping elsewhere than asked for",
      ["0 mmap 1000 0x1000 3 0x32 -1 0 | W+2000"],
      "mapped at page 262146, asked for 262145",
    ],
    ["another errno", ["0 munmap 800 0x1000 | ENOMEM"], "ENOMEM, expected EINVAL"],
  ])("notices %s", (_what, lines, expected) => {
    expect(follow(lines)).toBe(expected);
  });

  test("copies deeply when a process forks", () => {
    const lines = [MAPPED, "0 w 1010 1 | ok", "0 fork 1 | ok", "1 w 1010 2 | ok", "0 r 1010 | 01", "1 r 1010 | 02"];
    expect(follow(lines)).toBeUndefined();
    expect(follow([...lines, "0 r 1010 | 02"])).toBe("reads 02, expected 01");
  });

  test("knows that executing needs a right only where the CPU can refuse it", () => {
    const lines = [MAPPED, "0 x 1800 | exec-ok"];
    expect(follow(lines)).toBe("no signal, expected SEGV 2");
    expect(follow(lines, { ...today, noExecute: false })).toBeUndefined();
  });

  test("knows what 2.6.11 did otherwise", () => {
    const lines = ["0 mmap 1000 0 3 0x32 -1 0 | W+1000"];
    expect(follow(lines)).toBe("address 40001000, expected EINVAL");
    expect(follow(lines, { ...today, personality: "linux-2.6.11" })).toBeUndefined();
  });
});
