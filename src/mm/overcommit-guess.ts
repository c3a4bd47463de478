/** When a single request for memory is obviously too much (vm.overcommit_memory = 0): two ways to guess. */
import type { Allocator } from "./allocator.ts";
import type { Privilege } from "./limits.ts";
import type { Swap } from "./swap/swap.ts";
import { OWNER_PAGE_CACHE } from "./zone.ts";

/** Whether a request of `pages` is refused. */
export type OvercommitGuess = (pages: number) => boolean;

/** What is looked at. */
export interface GuessSource {
  readonly allocator: Allocator;
  readonly swap: Swap;
  readonly privilege: Privilege;
}

/** An ordinary user may not have the last thirty-second of what is counted. */
const USER_SHARE = 31 / 32;

export const overcommitGuesses = {
  /** @models linux-6.1 mm/util.c __vm_enough_memory */
  "total-memory":
    ({ allocator, swap }: GuessSource): OvercommitGuess =>
    (pages) =>
      pages > allocator.managedPages + swap.totalPages,

  /**
   * @models linux-2.6.11 mm/mmap.c __vm_enough_memory
   * @differs no slab is counted as reclaimable
   */
  "free-and-cached": ({ allocator, swap, privilege }: GuessSource): OvercommitGuess => {
    const share = privilege === "root" ? 1 : USER_SHARE;
    return (pages) => {
      const cached = Math.floor((allocator.ownedBy(OWNER_PAGE_CACHE) + swap.freePages) * share);
      return pages >= cached && pages >= cached + Math.floor(allocator.freePages * share);
    };
  },
} as const;

export type OvercommitGuessName = keyof typeof overcommitGuesses;
