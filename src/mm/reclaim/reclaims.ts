/** The strategies of reclaim by the names that the design space gives them. */
import type { Allocator } from "../allocator.ts";
import type { Frames } from "../frames.ts";
import { GlobalLists } from "./linux-2.4.ts";
import { TwoLists } from "./linux-2.6.ts";
import type { Reclaim } from "./reclaim.ts";
import { AgeingLists } from "./rmap15.ts";

/** What the strategies are made of. */
export interface ReclaimParts {
  readonly frames: Frames;
  /** Its zones are those that have lists. */
  readonly allocator: Allocator;
}

export const reclaims = {
  "linux-2.4": (parts) => new GlobalLists(parts),
  rmap15: (parts) => new AgeingLists(parts),
  "linux-2.6": (parts) => new TwoLists(parts),
} as const satisfies Record<string, (parts: ReclaimParts) => Reclaim>;

export type ReclaimName = keyof typeof reclaims;
