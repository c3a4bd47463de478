/** Laws of the page lists: which frames are on them, and that they hang together. */
import type { Pfn } from "../../base/units.ts";
import {
  NO_FRAME,
  PG_ACTIVE,
  PG_ANON,
  PG_HEAD,
  PG_LRU,
  PG_MLOCKED,
  PG_ORPHAN,
  PG_PART,
  PG_RESERVED,
  PG_SLAB,
  PG_TABLE,
} from "../../mm/frames.ts";
import type { PageList } from "../../mm/reclaim/page-list.ts";
import { OWNER_PAGE_CACHE, OWNER_USER } from "../../mm/zone.ts";
import type { Census } from "./census.ts";
import type { Law } from "./law.ts";

/** Calls `visit` for each frame of a list, from its head on; says where the links are wrong. */
function walkList({ kernel }: Census, list: PageList, visit: (frame: Pfn) => void, report: (what: string) => void) {
  const { next, previous, count } = kernel.frames;
  let before = NO_FRAME;
  let found = 0;
  let pages = 0;
  for (let frame = list.head; frame !== NO_FRAME; frame = next.read(frame)) {
    if (previous.read(frame) !== before) report(`frame ${frame} does not lead back to ${before}`);
    if (++found > count) return report("it is a circle");
    pages += kernel.frames.has(frame, PG_HEAD) ? 2 ** kernel.frames.orderOf(frame) : 1;
    visit(frame);
    before = frame;
  }
  if (list.tail !== before) report(`its tail is ${list.tail}, its last frame ${before}`);
  if (list.count !== pages) report(`it counts ${list.count} frames, and has ${pages}`);
}

const listsHangTogether: Law = {
  name: "lists-hang-together",
  statement:
    "The frames marked as being on a page list are those on the lists of their zone, each once, on an active list if so marked; links go both ways and counts are right.",
  check: (census, report) => {
    const { frames, reclaim, allocator } = census.kernel;
    const listed = new Set<Pfn>();
    const zones = allocator.zones.map((zone) => ({ zone, lists: reclaim.listsOf(zone) }));
    const shared = zones.slice(1).every(({ lists }) => lists.length === 0);
    for (const { zone, lists } of zones) {
      for (const list of lists) {
        const wrong = (what: string) => report(`the ${list.name} list of ${zone.name}: ${what}`);
        const visit = (frame: Pfn) => {
          if (listed.has(frame)) wrong(`frame ${frame} is on a list twice`);
          listed.add(frame);
          if (!frames.has(frame, PG_LRU)) wrong(`frame ${frame} is not marked as being on one`);
          if (frames.has(frame, PG_ACTIVE) !== list.name.startsWith("active"))
            wrong(`frame ${frame} is ${frames.has(frame, PG_ACTIVE) ? "" : "not "}marked active`);
          if (!shared && (frame < zone.first || frame >= zone.end)) wrong(`frame ${frame} is in another zone`);
        };
        walkList(census, list, visit, wrong);
      }
    }
    for (const frame of census.taken) {
      if (frames.has(frame, PG_LRU) && !listed.has(frame)) report(`frame ${frame} is marked, and on no list`);
    }
  },
};

/** What no list may have: these marks. */
const NEVER_LISTED = [
  [PG_TABLE, "a page table"],
  [PG_SLAB, "a slab"],
  [PG_RESERVED, "reserved"],
] as const;

const listsHoldPages: Law = {
  name: "lists-hold-pages",
  statement: "On page lists are pages of programs and of files: no free frame, no table, no slab, no reserved frame.",
  check: (census, report) => {
    const { frames, reclaim, allocator } = census.kernel;
    for (const list of allocator.zones.flatMap((zone) => reclaim.listsOf(zone))) {
      walkList(
        census,
        list,
        (frame) => {
          if (census.isFree(frame)) report(`frame ${frame} is free, and ${list.name}`);
          for (const [bit, word] of NEVER_LISTED)
            if (frames.has(frame, bit)) report(`frame ${frame} is ${word}, and ${list.name}`);
          const owner = frames.owner.read(frame);
          if (owner !== OWNER_USER && owner !== OWNER_PAGE_CACHE)
            report(`frame ${frame} is nobody's page, and ${list.name}`);
        },
        () => {},
      );
    }
  },
};

/** A huge page that has lost its head is on the list of those that are split first when memory is short. */
function isListedByHead({ kernel }: Census, frame: Pfn): boolean {
  const { frames, transparent } = kernel;
  if (!frames.has(frame, PG_PART)) return false;
  const head = frames.headOf(frame);
  return frames.has(head, PG_LRU) || (frames.refs.read(head) === 0 && transparent.pages.idleOf(head) > 0);
}

const pagesAreListed: Law = {
  name: "pages-are-listed",
  statement:
    "Every page of a program or of a file is on a page list, by its head if it is part of a huge page, unless it is locked in memory, has left its file while it was mapped, or is part of a huge page that waits to be split: else nobody could ever reclaim it.",
  check: (census, report) => {
    const { frames } = census.kernel;
    for (const frame of census.taken) {
      const owner = frames.owner.read(frame);
      if ((owner !== OWNER_USER && owner !== OWNER_PAGE_CACHE) || frames.refs.read(frame) === 0) continue;
      const flags = frames.flags.read(frame);
      if ((flags & (PG_LRU | PG_MLOCKED | PG_ORPHAN)) !== 0 || isListedByHead(census, frame)) continue;
      report(`frame ${frame}, ${frames.has(frame, PG_ANON) ? "anonymous" : "of a file"}, is on no list`);
    }
  },
};

export const listLaws: readonly Law[] = [listsHangTogether, listsHoldPages, pagesAreListed];
