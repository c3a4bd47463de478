/** A machine whose kernel has all memory mapped: there is nothing to make a window for. */
import { bug } from "../../base/errors.ts";
import type { Kmap } from "./kmap.ts";
import { noPoolCosts } from "./slot-pool.ts";

export const noHighmem = (): Kmap => ({
  costs: noPoolCosts(),
  tryMap: (frame) => bug(`frame ${frame} is not in highmem`),
  // biome-ignore lint/correctness/useYield: nothing is ever waited for here
  *map(frame) {
    bug(`frame ${frame} is not in highmem`);
  },
  unmap: (frame) => bug(`frame ${frame} is not in highmem`),
  shows: (frame) => bug(`frame ${frame} is not in highmem`),
  unsettled: () => undefined,
  forget: () => {},
  pools: () => [],
});
