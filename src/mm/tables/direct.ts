/** Page tables are in lowmem: the kernel always has them mapped, and there is nothing to do. */

import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import { noPoolCosts } from "../kmap/slot-pool.ts";
import type { TableAccess } from "./access.ts";

const refuse = (table: Pfn): never => bug(`page table ${table} is in highmem, and the kernel has no window for it`);

export const directAccess = (): TableAccess => ({
  mode: "atomic",
  takesRoom: false,
  costs: noPoolCosts(),
  show: refuse,
  hide: refuse,
  again: () => {},
  takeRoom: () => undefined,
  giveRoom: () => {},
  pools: () => [],
});
