/** Laws of transparent huge pages: what one is made of, who maps it whole, and what is kept in reserve to split it. */
import type { Pfn } from "../../base/units.ts";
import { PG_HEAD, PG_PART } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { type Census, placeOf } from "./census.ts";
import type { Law } from "./law.ts";

/** The heads of all huge pages of programs that somebody maps, or that wait to be split. */
function heads({ kernel, byFrame }: Census): Set<Pfn> {
  const found = new Set<Pfn>(kernel.transparent.pages.partly);
  for (const frame of byFrame.keys()) if (kernel.frames.has(frame, PG_PART)) found.add(kernel.frames.headOf(frame));
  return found;
}

/** The frames of a huge page. */
function* partsOf({ transparent }: Kernel, head: Pfn): Generator<Pfn> {
  for (let frame = head; frame < head + transparent.pages.pages; frame++) yield frame;
}

const partsAreWhole: Law = {
  name: "huge-pages-are-whole",
  statement:
    "A transparent huge page is as many aligned frames as it has, all marked as its parts and none free; one at least is in use.",
  check: (census, report) => {
    const { kernel } = census;
    const { frames, transparent } = kernel;
    const { pages } = transparent.pages;
    const found = heads(census);
    for (const head of found) {
      if (head % pages !== 0 || !frames.has(head, PG_HEAD | PG_PART)) report(`frame ${head} is not the head of one`);
      let idle = 0;
      for (const frame of partsOf(kernel, head)) {
        if (!frames.has(frame, PG_PART)) report(`frame ${frame} of huge page ${head} is not marked as its part`);
        if (frame !== head && frames.has(frame, PG_HEAD)) report(`frame ${frame} of huge page ${head} is a head`);
        if (census.isFree(frame)) report(`frame ${frame} of huge page ${head} is free`);
        if (frames.refs.read(frame) === 0) idle++;
      }
      if (idle !== transparent.pages.idleOf(head))
        report(`huge page ${head}: ${idle} frames are idle, ${transparent.pages.idleOf(head)} counted`);
      if (idle === pages) report(`huge page ${head} is nobody's`);
    }
    if (found.size !== transparent.pages.count)
      report(`${found.size} huge pages found, ${transparent.pages.count} counted`);
  },
};

const largeEntriesAreCounted: Law = {
  name: "large-entries-are-counted",
  statement:
    "A huge page counts the large entries that map it, and those that are mapped so are counted; large entries are aligned and lie in one anonymous area.",
  check: ({ kernel, hugeEntries }, report) => {
    const { frames, transparent } = kernel;
    const { pages, zeroHead, zeroMaps, mapped } = transparent.pages;
    const maps = new Map<Pfn, number>();
    let zeros = 0;
    for (const entry of hugeEntries) {
      const { frame, page, vma, level } = entry;
      const at = `${placeOf(entry)} -> ${frame}`;
      if (level !== 2 || page % pages !== 0 || frame % pages !== 0) report(`${at} is not aligned`);
      if (vma === null || vma.file !== null) report(`${at} is not of an anonymous area`);
      else if (page < vma.start || page + pages > vma.end) report(`${at} sticks out of its area`);
      if (frame === zeroHead) {
        zeros++;
        continue;
      }
      if (!frames.has(frame, PG_HEAD | PG_PART)) report(`${at} is not a huge page`);
      maps.set(frame, (maps.get(frame) ?? 0) + 1);
    }
    for (const [head, count] of maps) {
      if (frames.largeMaps.read(head) !== count)
        report(`huge page ${head}: count ${frames.largeMaps.read(head)}, ${count} large entries`);
    }
    if (zeros !== zeroMaps) report(`${zeros} entries map zeros, ${zeroMaps} counted`);
    if (maps.size !== mapped) report(`${maps.size} huge pages are mapped whole, ${mapped} counted`);
  },
};

const tablesAreInReserve: Law = {
  name: "large-entries-can-be-split",
  statement: "An address space has a leaf table in reserve for each of its large entries of transparent huge pages.",
  check: ({ kernel, hugeEntries }, report) => {
    for (const mm of kernel.spaces) {
      const entries = hugeEntries.filter((entry) => entry.mm === mm).length;
      const tables = mm.reservedLeaves.length;
      if (tables !== entries) report(`${mm.id}: ${tables} tables in reserve, ${entries} large entries`);
    }
  },
};

const largeEntriesAreFound: Law = {
  name: "large-entries-are-found",
  statement: "For each huge page the reverse map gives exactly the large entries that a scan of all page tables finds.",
  check: ({ kernel, hugeEntries }, report) => {
    const { transparent } = kernel;
    const expected = new Map<Pfn, Set<string>>();
    for (const entry of hugeEntries) {
      if (entry.frame === transparent.pages.zeroHead) continue;
      expected.set(entry.frame, (expected.get(entry.frame) ?? new Set()).add(placeOf(entry)));
    }
    for (const [head, places] of expected) {
      transparent.largeMap.forEachLarge(head, (mm, page) => {
        const place = placeOf({ mm, page });
        if (!places.delete(place)) report(`huge page ${head}: gives ${place} twice, or without reason`);
        return true;
      });
      if (places.size > 0) report(`huge page ${head}: misses ${[...places].join(", ")}`);
    }
  },
};

const touchedAreInUse: Law = {
  name: "touched-frames-are-of-huge-pages",
  statement:
    "What programs have touched is known of each transparent huge page and of no other, counted, and never of a frame that nobody has.",
  check: (census, report) => {
    const { kernel } = census;
    const { frames, transparent } = kernel;
    const { touched } = transparent.pages;
    const found = heads(census);
    let marked = 0;
    for (const head of touched.heads) {
      if (!found.delete(head)) report(`frame ${head} is no huge page`);
      for (const frame of partsOf(kernel, head)) {
        if (!touched.has(head, frame)) continue;
        marked++;
        if (frames.refs.read(frame) === 0) report(`frame ${frame} of huge page ${head} is touched, and nobody's`);
      }
    }
    for (const head of found) report(`nothing is known of huge page ${head}`);
    if (marked !== touched.count) report(`${marked} frames are touched, ${touched.count} counted`);
  },
};

export const thpLaws: readonly Law[] = [
  partsAreWhole,
  largeEntriesAreCounted,
  tablesAreInReserve,
  largeEntriesAreFound,
  touchedAreInUse,
];
