import { describe, expect, test } from "vitest";
import { type Choices, coveringCells, everyChoice, isLegal, nameOfCell } from "./cells.ts";
import { cellsBy, LegalCells } from "./legal-cells.ts";

/** Every cell of the product. */
function product(choices: Choices): Record<string, string>[] {
  let cells: Record<string, string>[] = [{}];
  for (const [axis, options] of Object.entries(choices)) {
    cells = cells.flatMap((cell) => options.map((option) => ({ ...cell, [axis]: option })));
  }
  return cells;
}

/** The design's axes that have rules, and the paging format that decides which rules hold. */
const few = ["paging", "pageTablePlacement", "pageTableAccess", "pageTableCache", "kmap"];
const someChoices = Object.fromEntries(few.map((axis) => [axis, everyChoice[axis]!]));

const groups = (cell: Record<string, string>, size: number): string[] => {
  const words = Object.entries(cell).map((pair) => pair.join("="));
  const from = (at: number, left: number): string[] =>
    left === 0
      ? [""]
      : words.slice(at).flatMap((word, skip) => from(at + skip + 1, left - 1).map((rest) => `${word} ${rest}`));
  return from(0, size);
};

describe("the cells that tests run on", () => {
  test.each([2, 3])("let any %d choices meet that a legal cell can have, and are legal", (size) => {
    const legal = product(someChoices).filter(isLegal);
    const cells = coveringCells(someChoices, size);
    expect(new Set(cells.flatMap((cell) => groups(cell, size)))).toEqual(
      new Set(legal.flatMap((cell) => groups(cell, size))),
    );
    expect(cells.every(isLegal)).toBe(true);
    expect(cells.length).toBeLessThan(legal.length);
  });

  test("have every option of every axis", () => {
    const cells = coveringCells();
    const options = Object.entries(everyChoice).flatMap(([axis, names]) => names.map((name) => `${axis}=${name}`));
    expect(new Set(cells.flatMap((cell) => groups(cell, 1).map((word) => word.trim())))).toEqual(new Set(options));
  });

  test("are the same in each run, and no two are alike", () => {
    const names = coveringCells().map(nameOfCell);
    expect(coveringCells().map(nameOfCell)).toEqual(names);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe("all legal cells", () => {
  const legal = new LegalCells(someChoices);

  test("are as many as the product has, each with a number", () => {
    const expected = product(someChoices).filter(isLegal).map(nameOfCell);
    const found = Array.from({ length: Number(legal.count) }, (_, number) => nameOfCell(legal.at(BigInt(number))));
    expect(found).toEqual(expected);
    expect(() => legal.at(legal.count)).toThrow("there is no legal cell");
  });

  test("are walked far apart, none twice, and all in the end", () => {
    const all = [...legal.spread(1e6)].map(nameOfCell);
    expect(new Set(all).size).toBe(Number(legal.count));
    expect([...legal.spread(7)].map(nameOfCell)).toEqual(all.slice(0, 7));
  });

  test("of the whole space are legal wherever they are", () => {
    const cells = cellsBy("--designs", "1000");
    expect(cells.every(isLegal)).toBe(true);
    expect(new Set(cells.map(nameOfCell)).size).toBe(1000);
    const options = Object.entries(everyChoice).flatMap(([axis, names]) => names.map((name) => `${axis}=${name}`));
    expect(new Set(cells.flatMap((cell) => groups(cell, 1).map((word) => word.trim())))).toEqual(new Set(options));
  });

  test("go by a word", () => {
    expect(() => cellsBy("--designs", "some")).toThrow("--designs some: expected pairs, triples, or how many");
    expect(cellsBy("--designs", "pairs")).toEqual(coveringCells());
  });
});
