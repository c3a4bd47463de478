/**
 * A claim about interleavings, as something that can be run: the kernel as it is, which must hold, beside kernels with one
 * thing left out, which must break. Each variant's world is built anew for every run.
 */
import type { Build } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";

export interface Variant {
  readonly name: string;
  /** What is left out, or that nothing is. */
  readonly says: string;
  readonly expects: "holds" | "breaks";
  /** `lockGraph`: the orders that all runs of one search share. */
  readonly build: (lockGraph: LockGraph) => ReturnType<Build>;
}

export interface Scenario {
  readonly name: string;
  readonly claim: string;
  readonly variants: readonly Variant[];
}
