/** The reverse maps by the names that the design space gives them. */
import type { Slabs } from "../slab.ts";
import { OWNER_REVERSE_MAP } from "../zone.ts";
import { NoReverseMap } from "./none.ts";
import { ObjectAnon } from "./object-anon.ts";
import { type ChainShape, PteChainE } from "./pte-chain-e.ts";
import type { MappedWorld, ReverseMap } from "./reverse-map.ts";

/** What the strategies are made of. */
export interface ReverseMapParts extends MappedWorld {
  readonly slabs: Slabs;
  readonly chains: ChainShape;
}

export const reverseMaps = {
  none: (parts) => new NoReverseMap(parts),
  "pte-chain-e": (parts) =>
    new PteChainE(
      parts.frames,
      parts.slabs.create("pte_chain", parts.chains.lineBytes, OWNER_REVERSE_MAP),
      parts.chains,
    ),
  "object-anon": (parts) => new ObjectAnon(parts),
} as const satisfies Record<string, (parts: ReverseMapParts) => ReverseMap>;

export type ReverseMapName = keyof typeof reverseMaps;
