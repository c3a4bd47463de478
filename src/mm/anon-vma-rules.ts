/** The rules of who shares an anon_vma, by the names that personalities use. */
import type { AnonVmaMemory, AnonVmas } from "./anon-vma.ts";
import { ChainedAnonVmas, MutuallyChainedAnonVmas } from "./anon-vma-chained.ts";
import { SimpleAnonVmas } from "./anon-vma-simple.ts";

export const anonVmaRules = {
  simple: (memory) => new SimpleAnonVmas(memory),
  chained: (memory) => new ChainedAnonVmas(memory),
  "mutually-chained": (memory) => new MutuallyChainedAnonVmas(memory),
} as const satisfies Record<string, (memory: AnonVmaMemory) => AnonVmas>;
