import { expect, test } from "vitest";
import { Rng } from "./rng.ts";

const draw = (rng: Rng, count: number) => Array.from({ length: count }, () => rng.next());

test("one seed always gives one sequence; another seed another", () => {
  expect(draw(new Rng(1), 8)).toEqual(draw(new Rng(1), 8));
  expect(draw(new Rng(1), 8)).not.toEqual(draw(new Rng(2), 8));
  expect(draw(new Rng(1), 8)).not.toEqual(draw(new Rng(1 + 2 ** 32), 8));
});

test("the sequence of seed 0 stays what it is: recorded runs depend on it", () => {
  expect(draw(new Rng(0), 4)).toMatchInlineSnapshot(`
    [
      1789933344,
      44971166,
      2521387044,
      3848737593,
    ]
  `);
});

test("below(n) reaches every number below n, about as often", () => {
  const rng = new Rng(7);
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) counts[rng.below(10)]++;
  for (const count of counts) expect(Math.abs(count - 1000)).toBeLessThan(150);
});

test("below(n) reaches beyond 32 bits", () => {
  const rng = new Rng(3);
  const numbers = Array.from({ length: 50 }, () => rng.below(2 ** 45));
  expect(numbers.every((number) => Number.isInteger(number) && number >= 0 && number < 2 ** 45)).toBe(true);
  expect(Math.max(...numbers)).toBeGreaterThan(2 ** 44);
  expect(numbers.some((number) => number % 2 === 1)).toBe(true);
});

test("chance(p) is true about p of the time", () => {
  const rng = new Rng(11);
  let hits = 0;
  for (let i = 0; i < 10_000; i++) if (rng.chance(0.25)) hits++;
  expect(Math.abs(hits - 2500)).toBeLessThan(200);
  expect(rng.chance(0)).toBe(false);
  expect(rng.chance(1)).toBe(true);
});

test("pick gives every element in turn, and refuses an empty list", () => {
  const rng = new Rng(5);
  const seen = new Set(Array.from({ length: 100 }, () => rng.pick(["a", "b", "c"])));
  expect([...seen].sort()).toEqual(["a", "b", "c"]);
  expect(() => rng.pick([])).toThrow("a random number below 0");
});
