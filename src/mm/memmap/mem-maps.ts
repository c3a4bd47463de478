/** The layouts of mem_map by the names of the design space. */
import { DiscontigMap, planDiscontig } from "./discontig.ts";
import { FlatMap, planFlat } from "./flat.ts";
import { endOfMemory, type MapPlan, type MemoryShape, type PlacedPart } from "./map-plan.ts";
import type { MemMap } from "./mem-map.ts";
import { planSparse, SparseMap } from "./sparse.ts";
import { planWindowed, WindowedMap } from "./windowed.ts";

export interface MapLayout {
  plan(shape: MemoryShape): MapPlan;
  create(shape: MemoryShape, parts: readonly PlacedPart[]): MemMap;
}

export const mapLayouts = {
  flat: { plan: planFlat, create: (shape, parts) => new FlatMap(shape, parts) },
  discontig: { plan: planDiscontig, create: (shape, parts) => new DiscontigMap(shape, parts) },
  sparse: { plan: planSparse, create: (shape, parts) => new SparseMap(shape, parts) },
  "per-task-window": {
    plan: planWindowed,
    create: (shape, parts) =>
      shape.lowmemEnd < endOfMemory(shape) ? new WindowedMap(shape, parts) : new FlatMap(shape, parts),
  },
} as const satisfies Readonly<Record<string, MapLayout>>;

export type MapLayoutName = keyof typeof mapLayouts;
