/** What locks do to the reverse map, by the names that the design space gives them. */
import { bug } from "../../base/errors.ts";
import type { ChainingMap, MappedWorld, ReverseMap } from "../rmap/reverse-map.ts";
import { ChainedLocks } from "./chained.ts";
import { CountedLocks, type PageLists } from "./counted.ts";
import type { Mlock } from "./mlock.ts";

/** What the strategies are made of. */
export interface MlockParts {
  /** The reverse map of entries that are not locked. */
  readonly reverseMap: ReverseMap;
  readonly world: MappedWorld;
  readonly lists: PageLists;
}

/** A strategy, and the reverse map as it makes it. */
export interface LockedMap {
  readonly reverseMap: ReverseMap;
  readonly mlock: Mlock;
}

export const mlocks = {
  chained: ({ reverseMap }) => ({ reverseMap, mlock: new ChainedLocks() }),
  counted: ({ reverseMap, world, lists }) => {
    const counted = new CountedLocks(chaining(reverseMap), world, lists);
    return { reverseMap: counted, mlock: counted };
  },
} as const satisfies Record<string, (parts: MlockParts) => LockedMap>;

export type MlockName = keyof typeof mlocks;

function chaining(reverseMap: ReverseMap): ChainingMap {
  if (!("isChained" in reverseMap)) bug("only chains can be left out");
  return reverseMap as ChainingMap;
}
