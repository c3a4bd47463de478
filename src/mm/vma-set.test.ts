import { describe, expect, test } from "vitest";
import { Rng } from "../base/rng.ts";
import { AddressSpace } from "./address-space.ts";
import { Limits } from "./limits.ts";
import { Vma } from "./vma.ts";
import { NO_GAP, VmaSet } from "./vma-set.ts";

const PAGES = 4000;

function newVma(start: number, end: number): Vma {
  return new Vma(new AddressSpace(1, 0, new Limits()), start, end, 0, null, start);
}

/** The same set as one bit a page and a sorted array: slow and plain. */
class Naive {
  readonly vmas: Vma[] = [];

  find(page: number): Vma | null {
    return this.vmas.find((vma) => vma.end > page) ?? null;
  }

  isFree(first: number, end: number): boolean {
    return this.vmas.every((vma) => vma.end <= first || vma.start >= end);
  }

  highestGapEnd(low: number, high: number, pages: number): number {
    for (let end = high; end - pages >= low; end--) if (this.isFree(end - pages, end)) return end;
    return NO_GAP;
  }

  lowestGapStart(low: number, high: number, pages: number): number {
    for (let start = low; start + pages <= high; start++) if (this.isFree(start, start + pages)) return start;
    return NO_GAP;
  }
}

describe("VmaSet", () => {
  test("finds areas, neighbours and gaps as a plain list does, through growth, shrinking and removal", () => {
    const rng = new Rng(7);
    const set = new VmaSet();
    const naive = new Naive();
    for (let step = 0; step < 3000; step++) {
      const page = rng.below(PAGES);
      const action = rng.below(4);
      const hit = naive.find(page);
      if (action < 2) {
        const end = page + 1 + rng.below(4);
        if (naive.isFree(page, end)) {
          const vma = newVma(page, end);
          set.insert(vma);
          naive.vmas.push(vma);
          naive.vmas.sort((a, b) => a.start - b.start);
        }
      } else if (hit !== null && action === 2 && naive.vmas.length > 400) {
        set.remove(hit);
        naive.vmas.splice(naive.vmas.indexOf(hit), 1);
      } else if (hit !== null && action === 3 && hit.pages > 1) {
        if (rng.chance(0.5)) set.resize(hit, hit.start + 1, hit.end);
        else set.resize(hit, hit.start, hit.end - 1);
      }
      const low = rng.below(PAGES / 2);
      const high = low + rng.below(PAGES / 2);
      const pages = 1 + rng.below(12);
      expect(set.find(page)).toBe(naive.find(page));
      expect(set.highestGapEnd(low, high, pages)).toBe(naive.highestGapEnd(low, high, pages));
      expect(set.lowestGapStart(low, high, pages)).toBe(naive.lowestGapStart(low, high, pages));
    }
    expect(set.count).toBeGreaterThan(300);
    expect([...set]).toEqual(naive.vmas);
    naive.vmas.forEach((vma, at) => {
      expect(set.previous(vma)).toBe(naive.vmas[at - 1] ?? null);
      expect(set.next(vma)).toBe(naive.vmas[at + 1] ?? null);
    });
  });

  test("the last hit is forgotten when its area goes or shrinks", () => {
    const set = new VmaSet();
    const low = newVma(10, 20);
    const high = newVma(30, 40);
    set.insert(high);
    set.insert(low);
    expect(set.find(15)).toBe(low);
    set.resize(low, 10, 15);
    expect(set.find(15)).toBe(high);
    expect(set.containing(15)).toBe(null);
    expect(set.find(12)).toBe(low);
    set.remove(low);
    expect(set.find(12)).toBe(high);
    expect(set.before(12)).toBe(null);
    expect(set.before(50)).toBe(high);
  });

  test("a boundary moves between two areas that touch, and no further", () => {
    const set = new VmaSet();
    const low = newVma(10, 20);
    const high = newVma(20, 30);
    set.insert(low);
    set.insert(high);
    set.moveBoundary(low, high, 25);
    expect([low.start, low.end, high.start, high.end]).toEqual([10, 25, 25, 30]);
    expect(set.find(24)).toBe(low);
    expect(() => set.moveBoundary(low, high, 30)).toThrow("boundary");
  });

  test("areas cannot overlap", () => {
    const set = new VmaSet();
    set.insert(newVma(10, 20));
    expect(() => set.insert(newVma(19, 21))).toThrow("overlaps");
    expect(() => set.insert(newVma(5, 11))).toThrow("overlaps");
    expect(set.count).toBe(1);
  });

  test("65,536 areas with one gap: it is found from either end", () => {
    const set = new VmaSet();
    for (let at = 0; at < 65_536; at++) set.insert(newVma(at * 3 + 1, at * 3 + 3));
    const hole = set.containing(30_001)!;
    set.remove(hole);
    expect(set.highestGapEnd(0, 200_000, 4)).toBe(200_000);
    expect(set.highestGapEnd(0, 190_000, 4)).toBe(30_004);
    expect(set.lowestGapStart(0, 190_000, 4)).toBe(30_000);
    expect(set.lowestGapStart(0, 190_000, 5)).toBe(NO_GAP);
  });
});
