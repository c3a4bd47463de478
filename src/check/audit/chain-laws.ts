/** Laws of what reverse maps keep: chains, and the counts of locked entries that stand for chains. */
import type { Pfn, PteSlot } from "../../base/units.ts";
import { PG_LRU, PG_MLOCKED } from "../../mm/frames.ts";
import { COUNT_SLOT } from "../../mm/rmap/chains.ts";
import type { ReverseMap } from "../../mm/rmap/reverse-map.ts";
import { VM_LOCKED } from "../../mm/vma.ts";
import type { Law } from "./law.ts";

/** A free slot of a block. */
const FREE = -1;

/** Chains that can show how the entries of a frame lie, block by block. */
interface Shown {
  picture(frame: Pfn): readonly (readonly number[])[];
  forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void;
}

/** The chains behind a reverse map, however wrapped; undefined if it has none. */
export function chainsOf(map: object): Shown | undefined {
  if ("picture" in map) return map as Shown;
  return "chains" in map && typeof map.chains === "object" && map.chains !== null ? chainsOf(map.chains) : undefined;
}

/** The reverse map of entries that are not counted, if some are. */
const uncounted = (map: ReverseMap): ReverseMap | undefined =>
  "chains" in map && !("picture" in (map.chains as object)) && "countOf" in map
    ? (map.chains as ReverseMap)
    : undefined;

const chainsArePacked: Law = {
  name: "chains-are-packed",
  statement:
    "In a frame's chain only the first block has free slots, and they are its first ones; no entry is there twice, and every one maps the frame, but for the place that holds a count.",
  check: (census, report) => {
    const chains = chainsOf(census.kernel.reverseMap);
    if (chains === undefined) return;
    for (const [frame, entries] of census.ownedFrames()) {
      const blocks = chains.picture(frame);
      const held = blocks.flat().filter((slot) => slot !== FREE && slot !== COUNT_SLOT);
      blocks.forEach((block, at) => {
        const firstUsed = block.findIndex((slot) => slot !== FREE);
        if (firstUsed < 0) report(`frame ${frame}: block ${at} is empty`);
        else if (block.indexOf(FREE, firstUsed) >= 0) report(`frame ${frame}: block ${at} has a hole`);
        else if (at > 0 && firstUsed > 0) report(`frame ${frame}: block ${at} is not full, and not the first`);
      });
      if (new Set(held).size !== held.length) report(`frame ${frame}: an entry twice`);
      const mapped = new Set(entries.map(({ slot }) => slot));
      for (const slot of held) if (!mapped.has(slot)) report(`frame ${frame}: entry ${slot} does not map it`);
    }
  },
};

const lockedEntriesAreCounted: Law = {
  name: "locked-entries-are-counted",
  statement:
    "Where locks are counted, a frame that is marked as locked counts the entries that are on no chain: at least one, each in a locked area, and the frame is on no page list.",
  check: (census, report) => {
    const { frames, reverseMap } = census.kernel;
    const chained = uncounted(reverseMap);
    if (chained === undefined) return;
    for (const [frame, entries] of census.ownedFrames()) {
      const found = new Set<PteSlot>();
      chained.forEach(frame, (slot) => {
        found.add(slot);
        return true;
      });
      const others = entries.filter(({ slot }) => !found.has(slot));
      const count = frames.has(frame, PG_MLOCKED) ? frames.next.read(frame) : 0;
      if (count !== others.length) report(`frame ${frame}: counts ${count}, found ${others.length}`);
      if (!frames.has(frame, PG_MLOCKED)) continue;
      if (count === 0) report(`frame ${frame} is marked, and nothing is counted`);
      if (frames.has(frame, PG_LRU)) report(`frame ${frame} is on a page list`);
      for (const { vma, page } of others)
        if (((vma?.flags ?? 0) & VM_LOCKED) === 0) report(`frame ${frame}: page 0x${page.toString(16)} is not locked`);
    }
  },
};

export const chainLaws: readonly Law[] = [chainsArePacked, lockedEntriesAreCounted];
