/** How many pages of a shared segment are made present a second: by the first process, which fills holes, and by others. */
import { Sharers } from "../src/lab/memory/sharers.ts";
import { Machine } from "../src/machine.ts";
import { specOf } from "../src/presets.ts";
import type { Measurement, Size } from "./all.ts";

const SIZES: Record<Size, number> = { small: 2 ** 26, full: 2 ** 31 };

/** Pages that the first process fills a second. */
export function benchFillHoles(now: () => number, size: Size): Measurement {
  const sharers = segment(size);
  const thread = sharers.join();
  const began = now();
  sharers.fill(thread);
  return { value: (sharers.pages * 1000) / (now() - began), unit: "pages/s" };
}

/** Pages that each of the others maps a second, whole directories at a time. */
export function benchMapTables(now: () => number, size: Size): Measurement {
  const sharers = segment(size);
  sharers.fill(sharers.join());
  const others = size === "full" ? 500 : 2;
  const threads = Array.from({ length: others }, () => sharers.join());
  const began = now();
  for (const thread of threads) sharers.fill(thread);
  return { value: (others * sharers.pages * 1000) / Math.max(1e-3, now() - began), unit: "pages/s" };
}

const segment = (size: Size): Sharers => new Sharers(new Machine(specOf("epyc-6t")), SIZES[size]);
