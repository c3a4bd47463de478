import { describe, expect, test } from "vitest";
import { Moves } from "./moves.ts";

const PAGE = 4096;

describe("moves of an address space", () => {
  test("follow what is mapped and unmapped", () => {
    const moves = new Moves();
    moves.set(10, 20, 110);
    expect([9, 10, 19, 20].map((page) => moves.page(page))).toEqual([1, 110, 119, 1]);

    // A library's segment is mapped over a part of its reservation.
    moves.set(14, 16, 114);
    moves.remove(18, 20);
    expect([13, 14, 15, 16, 17, 18].map((page) => moves.page(page))).toEqual([113, 114, 115, 116, 117, 1]);
  });

  test("a place that is used again leads elsewhere", () => {
    const moves = new Moves();
    moves.set(10, 20, 110);
    const { version } = moves;
    moves.remove(10, 20);
    moves.set(10, 12, 500);
    expect(moves.page(11)).toBe(501);
    expect(moves.page(12)).toBe(1);
    expect(moves.version).not.toBe(version);
  });

  test("a range comes in as many parts as it has become", () => {
    const moves = new Moves();
    moves.set(10, 12, 110);
    moves.set(12, 14, 112);
    moves.set(14, 15, 40);
    expect(moves.parts(10 * PAGE + 5, 4 * PAGE)).toEqual([
      { address: 110 * PAGE + 5, lengthBytes: 4 * PAGE - 5 },
      { address: 40 * PAGE, lengthBytes: 5 },
    ]);
  });

  test("a child's copy goes its own way", () => {
    const parent = new Moves();
    parent.set(10, 20, 110);
    const child = parent.copy();
    child.set(10, 20, 300);
    expect([parent.page(10), child.page(10)]).toEqual([110, 300]);
  });

  test("a null pointer stays one", () => {
    expect(new Moves().address(0)).toBe(0);
  });
});
