/** The pools of windows by the names of the design space. */
import { GlobalPool } from "./global-pool.ts";
import type { Kmap, KmapParts } from "./kmap.ts";
import { PerTaskPools } from "./per-task.ts";

export const kmaps = {
  global: (parts: KmapParts): Kmap => new GlobalPool(parts),
  "per-task": (parts: KmapParts): Kmap => new PerTaskPools(parts),
} as const;

export type KmapName = keyof typeof kmaps;
