/** Laws of soft pages: the kernel's own pages, of one hardware frame or of several. */
import { PG_ANON } from "../../mm/frames.ts";
import { OWNER_PAGE_CACHE, OWNER_USER } from "../../mm/zone.ts";
import type { Census } from "./census.ts";
import { placeOf } from "./census.ts";
import type { Law } from "./law.ts";

/** The frames behind the first one of each soft page that programs or files have. */
function* tailsOf({ kernel, taken }: Census): Generator<number> {
  const { frames } = kernel;
  for (const head of taken) {
    const owner = frames.owner.read(head);
    if (owner !== OWNER_USER && owner !== OWNER_PAGE_CACHE) continue;
    for (let part = 1; part < frames.softFrames; part++) yield head - (head % frames.softFrames) + part;
  }
}

const partsHaveNothing: Law = {
  name: "parts-have-nothing",
  statement:
    "Of a soft page that a program or a file has, the first frame alone has references, map counts, flags and a place.",
  check: (census, report) => {
    if (census.kernel.frames.softFrames === 1) return;
    const { refs, mapCount, flags, mapping } = census.kernel.frames;
    for (const frame of tailsOf(census)) {
      for (const [word, value] of Object.entries({ refs, mapCount, flags, mapping })) {
        if (value.read(frame) !== 0)
          report(`frame ${frame}, behind the first of its page, has ${word} ${value.read(frame)}`);
      }
    }
  },
};

const partsLieByIndex: Law = {
  name: "parts-lie-by-index",
  statement:
    "The index of a soft page's first part is a multiple of its parts, and an anonymous page lies in the part that the low bits of its index say.",
  check: (census, report) => {
    const { frames } = census.kernel;
    for (const [head, entries] of census.ownedFrames()) {
      if (frames.mapping.read(head) !== 0 && frames.index.read(head) % frames.softFrames !== 0)
        report(`frame ${head} begins at index ${frames.index.read(head)}`);
      if (!frames.has(head, PG_ANON)) continue;
      for (const { vma, page, frame, mm } of entries) {
        if (vma !== null && frame - head !== vma.indexAt(page) % frames.softFrames)
          report(
            `${placeOf({ mm, page })} -> part ${frame - head} of frame ${head}, its index is ${vma.indexAt(page)}`,
          );
      }
    }
  },
};

const swappedPartsLieByIndex: Law = {
  name: "swapped-parts-lie-by-index",
  statement: "A swap entry names the part of its slot that the low bits of its page's index say.",
  check: ({ kernel, swapEntries }, report) => {
    const { slotPages } = kernel.swap;
    for (const { mm, vma, page, offset } of swapEntries) {
      if (vma !== null && offset % slotPages !== vma.indexAt(page) % slotPages)
        report(`${placeOf({ mm, page })} -> part ${offset % slotPages}, its index is ${vma.indexAt(page)}`);
    }
  },
};

const freeBlocksAreWhole: Law = {
  name: "free-blocks-are-whole",
  statement: "Free memory begins and ends where soft pages do: nothing smaller is ever handed out.",
  check: ({ kernel, freeRanges }, report) => {
    const { softFrames } = kernel.frames;
    for (const { first, end } of freeRanges)
      if (first % softFrames !== 0 || end % softFrames !== 0) report(`frames ${first}..${end} are free`);
  },
};

export const softPageLaws: readonly Law[] = [
  partsHaveNothing,
  partsLieByIndex,
  swappedPartsLieByIndex,
  freeBlocksAreWhole,
];
