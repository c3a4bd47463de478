import { describe, expect, test } from "vitest";
import { KernelComparison } from "./kernel-comparison.ts";
import { likenessOf } from "./kernel-versions.ts";
import { oracleSpec } from "./oracle-machine.ts";
import { type Program, parsePrograms } from "./program.ts";
import { ProgramRunner } from "./program-runner.ts";

const all = { frames: true };
/** 6.1 looks for the area first, 6.18 at the arguments. */
const badMove = parsePrograms(
  "prog bad-move\n0 brk 0x1000\n0 mremap 10000 0x3000 0x2000 3 11000\n0 stat\nend\n",
  "test",
)[0]!;
const answerOf = (kernel: string, program: Program) => new ProgramRunner(oracleSpec("x86-64", kernel)).run(program);

describe("the personality of a running kernel", () => {
  test("is that of its version, or the nearest", () => {
    expect(likenessOf("6.18.44-generic")).toMatchObject({ nearest: "linux-6.18", exact: true });
    expect(likenessOf("6.1.0-30-amd64")).toMatchObject({ nearest: "linux-6.1", exact: true });
    expect(likenessOf("6.5.0")).toMatchObject({ nearest: "linux-6.1", exact: false });
    expect(likenessOf("6.16-rc1")).toMatchObject({ nearest: "linux-6.18", exact: false });
    expect(likenessOf("2.6.11")).toMatchObject({ nearest: "linux-2.6.11", exact: true });
    expect(likenessOf("2.6.32")).toMatchObject({ nearest: "linux-2.6.11", exact: false });
  });
});

describe("a comparison", () => {
  const truncated = parsePrograms(
    "prog overlap\nfile 0 4096\n0 mmap 10000 0x1000 3 0x32 -1 0\n0 mmap - 0x2000 3 0x22 -1 0\n0 w 10010 5\n0 r 10010\nend\n",
    "test",
  )[0]!;

  test("of equal outcomes counts and says nothing", () => {
    const comparison = new KernelComparison(likenessOf("6.1"), all);
    comparison.compare(truncated, answerOf("linux-6.1", truncated));
    expect(comparison).toMatchObject({ compared: 1, disagreements: [] });
  });

  test("does not ask for frames that the kernel did not show", () => {
    const answer = answerOf("linux-6.1", truncated);
    const blind = { ...answer, lines: answer.lines.filter((line) => !line.includes(" pg ")) };
    const seeing = new KernelComparison(likenessOf("6.1"), all);
    seeing.compare(truncated, blind);
    expect(seeing.disagreements.length).toBe(1);
    const unseeing = new KernelComparison(likenessOf("6.1"), { frames: false });
    unseeing.compare(truncated, blind);
    expect(unseeing.disagreements).toEqual([]);
  });

  test("tells apart what a neighbouring version explains, by name, unless the version is exact", () => {
    const answer = answerOf("linux-6.18", badMove);
    expect(answer.lines).not.toEqual(answerOf("linux-6.1", badMove).lines);
    const between = new KernelComparison(likenessOf("6.5.0"), all);
    between.compare(badMove, answer);
    expect(between.disagreements).toEqual([]);
    expect([...between.explained.keys()].join()).toMatch(/^mremap: .*linux-6\.18/);
    const exact = new KernelComparison(likenessOf("6.1.0"), all);
    exact.compare(badMove, answer);
    expect(exact.explained.size).toBe(0);
    expect(exact.disagreements.length).toBe(1);
  });

  test("makes a difference small and shows both outcomes and the state", () => {
    const comparison = new KernelComparison(likenessOf("6.18"), all);
    // A kernel whose reads are all wrong.
    const strange = (program: Program) => {
      const answer = answerOf("linux-6.18", program);
      return { ...answer, lines: answer.lines.map((line) => line.replace(/ r 05/, " r 06")) };
    };
    comparison.compare(truncated, strange(truncated));
    const smallest = comparison.smallest(comparison.disagreements[0]!, strange);
    expect(smallest.program.operations.map(({ name }) => name)).toEqual(["mmap", "w", "r"]);
    expect(smallest.program.files).toEqual([]);
    const text = comparison.explain(smallest, "Linux 6.18");
    expect(text).toContain("The first difference, at 0 r 10010:");
    expect(text).toMatch(/Linux 6\.18 +2 P0 r 06\n +linux-6\.18 in bigmem +2 P0 r 05/);
    expect(text).toContain("PTE  0x40010 -> frame");
  });
});
