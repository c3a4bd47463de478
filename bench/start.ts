/** How many machines a second come up, and what the largest takes of the host. */
import { Machine } from "../src/machine.ts";
import { specOf } from "../src/presets.ts";
import type { Measurement } from "./all.ts";

/** Starts of the machine a second. */
export function benchStart(machine: string, now: () => number): Measurement {
  const spec = specOf(machine);
  const began = now();
  const started = new Machine(spec);
  const value = 1000 / (now() - began);
  if (started.kernel.allocator.freePages === 0) throw new Error(`${machine} starts with no free memory`);
  return { value, unit: "starts/s" };
}
