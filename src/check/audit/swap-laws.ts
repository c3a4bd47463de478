/** Laws of swap: who uses its slots, and that what is not in memory is there. */

import type { Pfn, SwapSlot } from "../../base/units.ts";
import { WORDS_PER_FRAME } from "../../hw/physical-memory.ts";
import { PTE_DIRTY } from "../../hw/pte.ts";
import { PG_ANON, PG_DIRTY, PG_LOCKED, PG_SWAPBACKED, PG_SWAPCACHE, PG_UPTODATE } from "../../mm/frames.ts";
import { NOT_CACHED } from "../../mm/page-cache.ts";
import { SATURATED } from "../../mm/swap/swap.ts";
import type { Census } from "./census.ts";
import { placeOf } from "./census.ts";
import type { Law } from "./law.ts";

const slotsCountTheirUsers: Law = {
  name: "slots-count-their-users",
  statement:
    "A swap slot's count is the number of entries that name it, and of places in shared memory, and one more if the swap cache has its page.",
  check: (census, report) => {
    const { swap } = census.kernel;
    let used = 0;
    swap.areas.forEach((area, type) => {
      for (let offset = 1; offset < area.slots; offset++) {
        const slot = swap.slotAt(type, offset);
        const users = census.swapUsers.get(slot) ?? 0;
        const cached = swap.find(slot) === NOT_CACHED ? 0 : 1;
        const count = area.count(offset);
        if (count > 0) used++;
        if (count !== users + cached && count !== SATURATED)
          report(`slot ${type}:${offset}: count ${count}, ${users} users${cached > 0 ? " and the cache" : ""}`);
      }
    });
    const counted = (swap.totalPages - swap.freePages) / swap.slotPages;
    if (counted !== used) report(`${counted} slots used, found ${used}`);
  },
};

const swapEntriesNameSlots: Law = {
  name: "swap-entries-name-slots",
  statement: "Every swap entry lies in an area and names a slot of a swap area that is there, and not its header.",
  check: ({ kernel, swapEntries }, report) => {
    for (const { mm, vma, page, type, offset } of swapEntries) {
      if (vma === null) report(`${placeOf({ mm, page })} -> swap ${type}:${offset} lies in no area`);
      const slots = kernel.swap.areas[type]?.slots ?? 0;
      const slot = Math.floor(offset / kernel.swap.slotPages);
      if (slot < 1 || slot >= slots) report(`${placeOf({ mm, page })} -> swap ${type}:${offset}`);
    }
  },
};

const swapCacheIsTwoWays: Law = {
  name: "swap-cache-is-two-ways",
  statement:
    "A frame marked as being in the swap cache is the one that the cache has for the frame's slot; the cache has no other, none that is free, and none that a file caches too.",
  check: (census, report) => {
    const { kernel } = census;
    const { frames, swap, files } = kernel;
    let marked = 0;
    for (const frame of census.swapCached) {
      marked++;
      const slot = frames.swapSlot.read(frame);
      const found = swap.find(slot);
      if (found !== frame) report(`frame ${frame} names slot ${slot}, for which the cache has ${found}`);
      if (census.isFree(frame)) report(`frame ${frame} of slot ${slot} is free`);
    }
    const cached = swap.cachedPages / swap.slotPages;
    if (cached !== marked) report(`${cached} pages in the cache, ${marked} frames marked`);
    for (const file of files.all()) {
      file.pages.forEach(0, Number.POSITIVE_INFINITY, (index, frame) => {
        if (frames.has(frame, PG_SWAPCACHE)) report(`frame ${frame} is page ${index} of ${file.name}, too`);
        return true;
      });
    }
  },
};

const swappedPagesAreSafe: Law = {
  name: "swapped-pages-are-safe",
  statement:
    "What a used swap slot should hold is in the slot, or in the swap cache: and a cached page that differs from its slot, where somebody has it, is marked dirty, or some entry that holds it is.",
  check: (census, report) => {
    const { frames, swap } = census.kernel;
    swap.areas.forEach((area, type) => {
      for (let offset = 1; offset < area.slots; offset++) {
        const slot = swap.slotAt(type, offset);
        const frame = swap.find(slot);
        if (area.count(offset) > 0 && frame === NOT_CACHED && !swap.contents.has(slot))
          report(`slot ${type}:${offset} is used, and nothing was written there`);
        if (frame === NOT_CACHED || isDirty(census, frame)) continue;
        if (!frames.has(frame, PG_UPTODATE) || frames.has(frame, PG_LOCKED)) continue;
        const word = firstDifference(census, slot, frame);
        if (word >= 0) report(`slot ${type}:${offset}, frame ${frame}: word ${word} differs, and nobody says dirty`);
      }
    });
  },
};

function isDirty({ kernel, byFrame }: Census, frame: number): boolean {
  if (kernel.frames.has(frame, PG_DIRTY)) return true;
  return byFrame.get(frame)?.some(({ flags }) => (flags & PTE_DIRTY) !== 0) === true;
}

function firstDifference(census: Census, slot: SwapSlot, frame: Pfn): number {
  const { kernel } = census;
  const { contents } = kernel.swap;
  for (let part = 0; part < kernel.swap.slotPages; part++)
    for (let word = 0; word < WORDS_PER_FRAME; word++)
      if (contents.word(slot, part, word) !== kernel.memory.read(frame + part, word)) {
        if (isPartHad(census, slot, frame, part)) return word;
        break;
      }
  return -1;
}

/** Whether somebody has that part of the page or of its slot: nobody does once all have unmapped it, whatever they wrote to it. */
function isPartHad({ kernel, byFrame, swapEntries }: Census, slot: SwapSlot, head: Pfn, part: number): boolean {
  const { frames, swap } = kernel;
  if (!frames.has(head, PG_ANON)) return true;
  const isMapped = byFrame.get(head)?.some(({ frame }) => frame === head + part) === true;
  return (
    isMapped ||
    swapEntries.some(
      ({ type, offset }) =>
        offset % swap.slotPages === part && swap.slotAt(type, Math.floor(offset / swap.slotPages)) === slot,
    )
  );
}

const swapCacheIsSwapBacked: Law = {
  name: "swap-cache-is-swap-backed",
  statement: "Every frame of the swap cache is marked as backed by swap: none of them may be dropped without a word.",
  check: ({ kernel, swapCached }, report) => {
    for (const frame of swapCached) if (!kernel.frames.has(frame, PG_SWAPBACKED)) report(`frame ${frame}`);
  },
};

export const swapLaws: readonly Law[] = [
  slotsCountTheirUsers,
  swapEntriesNameSlots,
  swapCacheIsTwoWays,
  swappedPagesAreSafe,
  swapCacheIsSwapBacked,
];
