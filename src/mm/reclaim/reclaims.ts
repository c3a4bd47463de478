/** The strategies of reclaim by the names that the design space gives them. */
import type { Allocator } from "../allocator.ts";
import type { Frames } from "../frames.ts";
import { TwoLists } from "./linux-2.6.ts";
import type { Reclaim } from "./reclaim.ts";

/** What the strategies are made of. */
export interface ReclaimParts {
  readonly frames: Frames;
  /** Its zones are those that have lists. */
  readonly allocator: Allocator;
}

export const reclaims = {
  "linux-2.6": (parts) => new TwoLists(parts),
} as const satisfies Record<string, (parts: ReclaimParts) => Reclaim>;

export type ReclaimName = keyof typeof reclaims;
