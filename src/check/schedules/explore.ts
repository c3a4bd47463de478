/** Runs the searches of a scenario, and says what came out: the shortest schedule that breaks, or how many were searched. */
import { UsageError } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import { Rng } from "../../base/rng.ts";
import { type Failure, type Searched, searchAll, searchAtRandom, shortestFailure } from "../../sync/search.ts";
import { LockGraph } from "../../sync/validator.ts";
import { areas } from "./areas.ts";
import { discarding } from "./discarding.ts";
import { emptying } from "./emptying.ts";
import { faults } from "./faults.ts";
import { files } from "./files.ts";
import { hosting } from "./hosting.ts";
import { hugeCollapse } from "./huge-collapse.ts";
import { hugeFaults } from "./huge-faults.ts";
import { hugeFiles } from "./huge-files.ts";
import { hugeMoves } from "./huge-moves.ts";
import { hugeTables } from "./huge-tables.ts";
import { orders } from "./orders.ts";
import { pools } from "./pools.ts";
import { reclaiming } from "./reclaiming.ts";
import type { Scenario, Variant } from "./scenario.ts";
import { sharing } from "./sharing.ts";
import { shootdowns } from "./shootdowns.ts";
import { swapping } from "./swapping.ts";
import { truncation } from "./truncation.ts";
import { unsharing } from "./unsharing.ts";
import { windows } from "./windows.ts";

/** Every scenario that has a name. */
export const scenarios: readonly Scenario[] = [
  ...shootdowns,
  ...faults,
  ...files,
  ...truncation,
  ...swapping,
  ...reclaiming,
  ...orders,
  ...windows,
  ...emptying,
  ...sharing,
  ...unsharing,
  ...hosting,
  ...areas,
  ...discarding,
  ...hugeFiles,
  ...pools,
  ...hugeTables,
  ...hugeFaults,
  ...hugeCollapse,
  ...hugeMoves,
];

export type Search =
  | { readonly how: "exhaustive" }
  | { readonly how: "random"; readonly seed: number; readonly runs: number };

/** Runs after which an exhaustive search gives up. */
const MOST_RUNS = 200_000;
/** Runs spent on making a failure shorter. */
const SHORTENING_RUNS = 5_000;

export interface Explored {
  readonly variant: Variant;
  readonly searched: Searched;
  /** The orders of locks that its runs have shown. */
  readonly lockOrders: readonly string[];
  /** Whether it came out as the scenario says. */
  readonly asExpected: boolean;
}

export function scenarioOf(name: string): Scenario {
  const found = scenarios.find((scenario) => scenario.name === name);
  if (found !== undefined) return found;
  const names = scenarios.map((scenario) => scenario.name);
  throw new UsageError(`there is no scenario "${name}"${didYouMean(name, names)}; there are ${names.join(", ")}`);
}

export function explore(variant: Variant, search: Search): Explored {
  const graph = new LockGraph();
  const build = () => variant.build(graph);
  let searched =
    search.how === "random"
      ? searchAtRandom(build, new Rng(search.seed), { runs: search.runs })
      : searchAll(build, { runs: MOST_RUNS });
  if (searched.failure !== undefined) {
    searched = { ...searched, failure: shortestFailure(build, searched.failure, { runs: SHORTENING_RUNS }) };
  }
  const broke = searched.failure !== undefined;
  // Random runs need not find what there is to be found.
  const mustBreak = variant.expects === "breaks" && search.how === "exhaustive";
  const asExpected = broke
    ? variant.expects === "breaks"
    : !mustBreak && (search.how === "random" || searched.complete);
  return { variant, searched, lockOrders: graph.orders, asExpected };
}

/** The outcome in words, with a newline at the end. */
export function formatExplored({ variant, searched, lockOrders, asExpected }: Explored): string {
  const lines = [`${variant.name}: ${variant.says}`];
  const { runs, pruned, complete, failure } = searched;
  if (failure !== undefined)
    lines.push(`  BREAKS in interleaving ${runs}; the shortest schedule found:`, ...formatFailure(failure));
  else if (complete)
    lines.push(`  holds in all ${runs} interleavings (${pruned} more pruned: they differ only in steps that commute)`);
  else lines.push(`  holds in the ${runs} interleavings that were run`);
  if (lockOrders.length > 0) lines.push(`  lock orders: ${lockOrders.join(", ")}`);
  if (!asExpected) lines.push(`  THIS IS NOT WHAT THE CLAIM SAYS: it ${variant.expects}`);
  return `${lines.join("\n")}\n`;
}

function formatFailure({ steps, reason, state, choices }: Failure): string[] {
  const width = Math.max(...steps.map(({ who }) => who.length));
  const rows = steps.map(({ cpu, who, then, held }) => {
    const locks = held.length === 0 ? "" : `   [holds ${held.join(", ")}]`;
    return `    CPU ${cpu}  ${who.padEnd(width)}  ${then}${locks}`;
  });
  const notation = state.trimEnd().split("\n");
  return [...rows, `  => ${reason}`, `  schedule: ${choices.join(" ")}`, ...notation.map((line) => `    ${line}`)];
}
