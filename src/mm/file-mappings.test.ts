import { describe, expect, test } from "vitest";
import { Rng } from "../base/rng.ts";
import { AddressSpace } from "./address-space.ts";
import { FileMappings } from "./file-mappings.ts";
import { Limits } from "./limits.ts";
import { VM_SHARED, Vma } from "./vma.ts";

const mm = new AddressSpace(1, 0, new Limits());

/** An area that maps pages `[first, end)` of a file. */
const area = (first: number, end: number): Vma => new Vma(mm, 1000 + first, 1000 + end, VM_SHARED, null, first);

const ranges = (areas: readonly Vma[]): string[] =>
  areas.map((vma) => `${vma.fileIndex}..${vma.fileIndex + vma.pages}`);

describe("the areas that map a file", () => {
  test("are found by the pages that they map", () => {
    //   page   0123456789
    //          aaaa
    //            bbbb
    //                 cc
    const mappings = new FileMappings();
    for (const vma of [area(2, 6), area(7, 9), area(0, 4)]) mappings.insert(vma);
    expect(ranges(mappings.overlapping(3, 4))).toEqual(["0..4", "2..6"]);
    expect(ranges(mappings.overlapping(6, 7))).toEqual([]);
    expect(ranges(mappings.overlapping(5, 8))).toEqual(["2..6", "7..9"]);
    expect(ranges(mappings.overlapping(0, Number.POSITIVE_INFINITY))).toEqual(["0..4", "2..6", "7..9"]);
  });

  test("with equal ranges are all found, in the order in which they came", () => {
    const mappings = new FileMappings();
    const areas = [area(0, 8), area(0, 8), area(0, 8)];
    for (const vma of areas) mappings.insert(vma);
    mappings.remove(areas[1]!);
    expect(mappings.overlapping(7, 8)).toEqual([areas[0], areas[2]]);
    expect(mappings.count).toBe(2);
  });

  test("are visited until the visitor has enough", () => {
    const mappings = new FileMappings();
    for (let at = 0; at < 10; at++) mappings.insert(area(at, 20));
    let seen = 0;
    mappings.forEach(15, 16, () => ++seen < 3);
    expect(seen).toBe(3);
  });

  test("that are not linked as they are now cannot be unlinked", () => {
    const mappings = new FileMappings();
    const vma = area(0, 4);
    mappings.insert(vma);
    vma.end++;
    expect(() => mappings.remove(vma)).toThrow(/not linked/);
  });

  test("are those that a search through all of them finds, whatever is linked and unlinked", () => {
    const rng = new Rng(7);
    const mappings = new FileMappings();
    const linked: Vma[] = [];
    for (let step = 0; step < 3000; step++) {
      if (linked.length > 0 && rng.below(5) < 2) {
        const [vma] = linked.splice(rng.below(linked.length), 1);
        mappings.remove(vma!);
      } else {
        const first = rng.below(200);
        const vma = area(first, first + 1 + rng.below(rng.chance(0.1) ? 200 : 12));
        mappings.insert(vma);
        linked.push(vma);
      }
      const from = rng.below(220);
      const to = from + 1 + rng.below(10);
      const expected = linked.filter((vma) => vma.fileIndex < to && vma.fileIndex + vma.pages > from);
      const found = new Set(mappings.overlapping(from, to));
      expect([found.size, expected.every((vma) => found.has(vma))]).toEqual([expected.length, true]);
      expect(mappings.count).toBe(linked.length);
    }
  });

  test("cost a few steps each to link and find when there are thousands of ranges", () => {
    const mappings = new FileMappings();
    for (let at = 0; at < 50_000; at++) mappings.insert(area(at * 4, at * 4 + 4));
    let found = 0;
    for (let at = 0; at < 50_000; at++) {
      mappings.forEach(at * 4 + 1, at * 4 + 2, () => {
        found++;
        return true;
      });
    }
    expect(found).toBe(50_000);
  });
});
