import { expect, test } from "vitest";
import { Chains, END } from "./chains.ts";
import { Rng } from "./rng.ts";

function valuesOf(chains: Chains, list: number): number[] {
  const values: number[] = [];
  for (let link = chains.first(list); link !== END; link = chains.after(link)) values.push(chains.at(link));
  return values;
}

test("a chain gives its values newest first, and lists do not mix", () => {
  const chains = new Chains(10);
  for (const value of [1, 2 ** 45, 3]) chains.push(4, value);
  chains.push(5, 9);
  expect(valuesOf(chains, 4)).toEqual([3, 2 ** 45, 1]);
  expect(valuesOf(chains, 5)).toEqual([9]);
  expect(valuesOf(chains, 6)).toEqual([]);
  expect(chains.isEmpty(6)).toBe(true);
});

test("a value is removed from the front, the middle and the end", () => {
  const chains = new Chains(1);
  for (const value of [1, 2, 3, 4]) chains.push(0, value);
  expect(chains.remove(0, 4)).toBe(true);
  expect(chains.remove(0, 2)).toBe(true);
  expect(chains.remove(0, 1)).toBe(true);
  expect(valuesOf(chains, 0)).toEqual([3]);
  expect(chains.remove(0, 1)).toBe(false);
});

test("the pool grows, and links that were freed are used again first", () => {
  const chains = new Chains(2);
  for (let value = 0; value < 5000; value++) chains.push(0, value);
  expect(chains.lengthOf(0)).toBe(5000);
  const hostBytes = chains.hostBytes;
  chains.clear(0);
  expect(chains.links).toBe(0);
  for (let value = 0; value < 5000; value++) chains.push(1, value);
  expect(chains.hostBytes).toBe(hostBytes);
  expect(chains.lengthOf(1)).toBe(5000);
});

test("a pool with a limit refuses and changes nothing", () => {
  const chains = new Chains(2, 3);
  expect([1, 2, 3].map((value) => chains.push(0, value))).toEqual([true, true, true]);
  expect(chains.push(1, 4)).toBe(false);
  expect(valuesOf(chains, 0)).toEqual([3, 2, 1]);
  chains.remove(0, 2);
  expect(chains.push(1, 4)).toBe(true);
});

test("random pushes and removes agree with plain arrays", () => {
  const rng = new Rng(42);
  const chains = new Chains(8);
  const plain: number[][] = Array.from({ length: 8 }, () => []);
  for (let step = 0; step < 3000; step++) {
    const list = rng.below(8);
    const value = rng.below(20);
    if (rng.chance(0.6)) {
      chains.push(list, value);
      plain[list].unshift(value);
    } else {
      const at = plain[list].indexOf(value);
      expect(chains.remove(list, value)).toBe(at >= 0);
      if (at >= 0) plain[list].splice(at, 1);
    }
  }
  for (let list = 0; list < 8; list++) expect(valuesOf(chains, list)).toEqual(plain[list]);
  expect(chains.links).toBe(plain.flat().length);
});
