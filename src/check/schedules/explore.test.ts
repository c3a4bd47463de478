import { describe, expect, test } from "vitest";
import { Rng } from "../../base/rng.ts";
import { replay, searchAtRandom } from "../../sync/search.ts";
import { LockGraph } from "../../sync/validator.ts";
import { explore, formatExplored, scenarioOf, scenarios } from "./explore.ts";

const cases = scenarios.flatMap(({ name, variants }) => variants.map((variant) => ({ name, variant })));

describe.each(cases)("$name, $variant.name", ({ variant }) => {
  test(`${variant.expects} when every interleaving is searched: ${variant.says}`, () => {
    const { searched, asExpected } = explore(variant, { how: "exhaustive" });
    expect(asExpected, searched.failure?.reason).toBe(true);
    if (variant.expects === "holds") expect(searched.complete).toBe(true);
  }, 60_000);
});

const variantOf = (scenario: string, name: string) => scenarioOf(scenario).variants.find((one) => one.name === name)!;

test("a failure can be replayed from its choices alone", () => {
  const variant = variantOf("kmap-exhaustion", "two-slots");
  const { failure } = explore(variant, { how: "exhaustive" }).searched;
  const again = replay(() => variant.build(new LockGraph()), failure!.choices).failure;
  expect(again).toEqual(failure);
  expect(again?.reason).toMatch(/^deadlock: copier 0 waits for a slot of kmap; copier 1 waits for a slot of kmap$/);
});

test("random runs of one seed are the same runs", () => {
  const variant = variantOf("two-faults", "looks-before-lock");
  const run = (seed: number) => searchAtRandom(() => variant.build(new LockGraph()), new Rng(seed), { runs: 40 });
  expect(run(7)).toEqual(run(7));
  expect(run(7).failure?.reason).toMatch(/map-counts-are-entries/);
});

test("what breaks is printed step by step, with the CPU, the locks, and the state at the end", () => {
  const text = formatExplored(explore(variantOf("two-faults", "looks-before-lock"), { how: "exhaustive" }));
  expect(text).toContain("CPU 0  program 1  comes to page_table_lock of 1   [holds mmap_sem of 1]");
  expect(text).toContain("=> map-counts-are-entries");
  expect(text).toMatch(/PTE {2}0x10000 -> frame \d+ rw-/);
});

test("an unknown scenario is told the nearest one", () => {
  expect(() => scenarioOf("two-fault")).toThrow('did you mean "two-faults"?');
});
