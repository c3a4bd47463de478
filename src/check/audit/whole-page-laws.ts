/** Laws of pages that come and go whole: a page as programs know it is a soft page, and has all of its entries or none. */
import type { PteSlot } from "../../base/units.ts";
import { PTE_ACCESSED, PTE_DIRTY } from "../../hw/pte.ts";
import { VM_RAW, type Vma } from "../../mm/vma.ts";
import type { Census } from "./census.ts";
import { chainsOf } from "./chain-laws.ts";
import type { Law } from "./law.ts";

const areasHoldWholePages: Law = {
  name: "areas-hold-whole-pages",
  statement: "An area begins and ends, and its index begins, at multiples of a page as programs know it.",
  check: ({ kernel }, report) => {
    const { userPages } = kernel.layout;
    for (const mm of kernel.spaces)
      for (const { start, end, fileIndex } of mm.vmas)
        for (const at of [start, end, fileIndex])
          if (at % userPages !== 0)
            report(`area 0x${start.toString(16)}..0x${end.toString(16)} of space ${mm.id}, index ${fileIndex}`);
  },
};

/** An entry of a page of 4 KiB: which part of what it names, and its rights. */
interface Part {
  readonly page: number;
  readonly names: number;
  readonly rights: number;
}

/** By the address space and the number of the whole page: its entries, those that map frames and those that name swap. */
function wholePages({ kernel, entries, swapEntries }: Census): Map<string, Part[]> {
  const { layout, zeroFrame, swap } = kernel;
  const pages = new Map<string, Part[]>();
  const add = (mm: { readonly id: number }, vma: Vma | null, part: Part): void => {
    if (vma === null || (vma.flags & VM_RAW) !== 0) return;
    const key = `${mm.id} 0x${(part.page - (part.page % layout.userPages)).toString(16)}`;
    const parts = pages.get(key);
    if (parts === undefined) pages.set(key, [part]);
    else parts.push(part);
  };
  for (const { mm, vma, page, frame, flags } of entries) {
    // The page of zeros has one part, which stands for all.
    const names = frame === zeroFrame ? page % layout.userPages : frame;
    add(mm, vma, { page, names, rights: flags & ~(PTE_ACCESSED | PTE_DIRTY) });
  }
  for (const { mm, vma, page, type, offset } of swapEntries) {
    const slot = swap.slotAt(type, Math.floor(offset / swap.slotPages));
    add(mm, vma, {
      page,
      names: -1 - (slot * swap.slotPages + (swap.slotPages - 1 - (offset % swap.slotPages))),
      rights: 0,
    });
  }
  return pages;
}

const wholePagesHaveAllEntries: Law = {
  name: "whole-pages-have-all-entries",
  statement:
    "The entries of a page as programs know it are all none, or all map the parts of one soft page, or name those of one swap slot, in order and with the same rights.",
  check: (census, report) => {
    const { userPages } = census.kernel.layout;
    if (userPages === 1) return;
    for (const [key, parts] of wholePages(census)) {
      const [first] = parts;
      if (parts.length !== userPages) report(`page ${key} has ${parts.length} entries`);
      for (const { page, names, rights } of parts) {
        const part = page % userPages;
        const isNext =
          names - first!.names === page - first!.page && ((names % userPages) + userPages) % userPages === part;
        if (!isNext) report(`page ${key}: part ${part} is another's`);
        if (rights !== first!.rights) report(`page ${key}: part ${part} has rights of its own`);
      }
    }
  },
};

const firstEntriesAreChained: Law = {
  name: "first-entries-are-chained",
  statement:
    "Where pages are mapped whole, a frame's chain has one entry for each mapping of its page: the first part's.",
  check: (census, report) => {
    const chains = chainsOf(census.kernel.reverseMap);
    if (chains === undefined || census.kernel.layout.userPages === 1) return;
    for (const [head, entries] of census.ownedFrames()) {
      const held: PteSlot[] = [];
      chains.forEach(head, (slot) => held.push(slot) > 0);
      const firsts = entries.filter(({ frame }) => frame === head).map(({ slot }) => slot);
      const missing = firsts.filter((slot) => !held.includes(slot));
      if (missing.length > 0) report(`frame ${head}: entry ${missing[0]} is not on its chain`);
      if (held.length !== firsts.length) report(`frame ${head}: ${held.length} links for ${firsts.length} mappings`);
    }
  },
};

export const wholePageLaws: readonly Law[] = [areasHoldWholePages, wholePagesHaveAllEntries, firstEntriesAreChained];
