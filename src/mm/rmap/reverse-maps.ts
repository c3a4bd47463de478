/** The reverse maps by the names that the design space gives them. */
import { WANT_KERNEL, WANT_USER, type Want } from "../allocator.ts";
import type { Slabs } from "../slab.ts";
import { OWNER_REVERSE_MAP } from "../zone.ts";
import { AnonMms, anonMmBytes } from "./anonmm.ts";
import { type BlockWindows, ChainMemory } from "./chain-memory.ts";
import { ChainedMap } from "./chained-map.ts";
import { type ChainShape, type Chains, slotsPerLine } from "./chains.ts";
import { FirstPartMap } from "./first-part-map.ts";
import { NoReverseMap } from "./none.ts";
import { ObjectAnon } from "./object-anon.ts";
import { ObjectChainConvert } from "./object-chain-convert.ts";
import { ObjectChainIncremental } from "./object-chain-incremental.ts";
import { LinkChains, linkBytes } from "./pte-chain-a.ts";
import { SearchedChains } from "./pte-chain-b.ts";
import { IndexedChains } from "./pte-chain-e.ts";
import { RadiusMap } from "./radius-map.ts";
import type { ChainsFor, MappedWorld, ReverseMap, ReverseMapCosts } from "./reverse-map.ts";

/** Which zone the blocks of chains come from. */
const reverseMapPlacements = {
  lowmem: WANT_KERNEL,
  highmem: WANT_USER,
} as const satisfies Record<string, Want>;

export type ReverseMapPlacement = keyof typeof reverseMapPlacements;

/** What the strategies are made of. */
export interface ReverseMapParts extends MappedWorld {
  readonly slabs: Slabs;
  /** 32 on P6, 64 on K7 and K8, 128 on P4. */
  readonly lineBytes: number;
  readonly wordBytes: 4 | 8;
  /** Where the page tables are that chains name entries of. */
  readonly tablePlacement: ReverseMapPlacement;
  /** Where the blocks of chains are. */
  readonly placement: ReverseMapPlacement;
  readonly windows: BlockWindows;
  readonly chainedParts: ChainedParts;
  readonly cpus: number;
  /** Which CPU runs. */
  readonly where: { readonly here: number };
}

/** A place in highmem has no address, only a physical one: with PAE that takes two words. */
export function chainShape(
  parts: Pick<ReverseMapParts, "entries" | "lineBytes" | "wordBytes" | "tablePlacement" | "placement">,
): ChainShape {
  const { lineBytes, wordBytes, entries } = parts;
  const { entryBytes } = entries.format;
  const bytesOf = { lowmem: wordBytes, highmem: entryBytes } as const;
  return { lineBytes, pointerBytes: bytesOf[parts.placement], slotBytes: bytesOf[parts.tablePlacement] };
}

type Generation = new (frames: number, width: number, memory: ChainMemory, costs: ReverseMapCosts) => Chains;

/** Chains of blocks of that size. */
const chainsOf =
  (parts: ReverseMapParts, generation: Generation, blockBytes: number, width: number): ChainsFor =>
  (costs) => {
    const { slabs, placement, windows, cpus, where, frames } = parts;
    const want = reverseMapPlacements[placement];
    const slab = slabs.create("pte_chain", blockBytes, OWNER_REVERSE_MAP, "unreclaimable", want);
    return new generation(frames.count, width, new ChainMemory({ slab, cpus, where, windows }), costs);
  };

/** Chains of cache lines. */
function lineChains(parts: ReverseMapParts, generation: Generation): ChainsFor {
  const shape = chainShape(parts);
  return chainsOf(parts, generation, shape.lineBytes, slotsPerLine(shape));
}

const linkChains = (parts: ReverseMapParts): ChainsFor => chainsOf(parts, LinkChains, linkBytes(chainShape(parts)), 1);

/** What a chain holds of entries that map parts of one soft page side by side. */
const chainedMaps = { each: ChainedMap, "blast-radius": RadiusMap, "first-part": FirstPartMap } as const;

export type ChainedParts = keyof typeof chainedMaps;

export const reverseMaps = {
  none: (parts) => new NoReverseMap(parts),
  "pte-chain-a": (parts) => new chainedMaps[parts.chainedParts](parts, linkChains(parts)),
  "pte-chain-b": (parts) => new chainedMaps[parts.chainedParts](parts, lineChains(parts, SearchedChains)),
  "pte-chain-e": (parts) => new chainedMaps[parts.chainedParts](parts, lineChains(parts, IndexedChains)),
  "object-chain-convert": (parts) => new ObjectChainConvert(parts, lineChains(parts, IndexedChains)),
  "object-chain-incremental": (parts) => new ObjectChainIncremental(parts, lineChains(parts, IndexedChains)),
  "object-anon": (parts) => new ObjectAnon(parts),
  anonmm: (parts) => new AnonMms(parts, parts.slabs.create("anonmm", anonMmBytes(parts.wordBytes), OWNER_REVERSE_MAP)),
} as const satisfies Record<string, (parts: ReverseMapParts) => ReverseMap>;

export type ReverseMapName = keyof typeof reverseMaps;
