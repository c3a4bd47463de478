/** How many machines a second come up, and what the largest takes of the host. */
import { Machine } from "../src/machine.ts";
import { specOf } from "../src/presets.ts";
import type { Measurement } from "./all.ts";

/** So many starts are measured together: one is shorter than a tick of the clock. */
const STARTS = 20;

/** Starts of the machine a second. */
export function benchStart(machine: string, now: () => number): Measurement {
  const spec = specOf(machine);
  const began = now();
  for (let start = 0; start < STARTS; start++) {
    const started = new Machine(spec);
    if (started.kernel.allocator.freePages === 0) throw new Error(`${machine} starts with no free memory`);
  }
  return { value: (STARTS * 1000) / (now() - began), unit: "starts/s" };
}
