/** Laws of frames: each is free or has an owner, and is referenced as often as it is mapped and cached. */
import { PG_ANON, PG_RESERVED, PG_SWAPCACHE, PG_TABLE } from "../../mm/frames.ts";
import { NOT_CACHED } from "../../mm/page-cache.ts";
import {
  OWNER_PAGE_CACHE,
  OWNER_PAGE_TABLES,
  OWNER_QUICKLISTS,
  OWNER_STACKS,
  OWNER_USER,
  ownerNames,
} from "../../mm/zone.ts";
import type { Census } from "./census.ts";
import { placeOf } from "./census.ts";
import type { Law } from "./law.ts";

const framesAreConserved: Law = {
  name: "frames-are-conserved",
  statement:
    "In each zone the free frames, those on the lists of CPUs and the frames of all owners add up to the frames present.",
  check: ({ kernel, freeRanges }, report) => {
    for (const zone of kernel.allocator.zones) {
      const inside = freeRanges.filter(({ first }) => first >= zone.first && first < zone.end);
      const free = inside.reduce((sum, { first, end }) => sum + end - first, 0);
      const owned = ownerNames.reduce((sum, _, owner) => sum + zone.ownedBy(owner), 0);
      if (free + owned !== zone.present) report(`${zone.name}: ${free} free, ${owned} owned, ${zone.present} present`);
      const counted = zone.free + zone.listed;
      if (free !== counted) report(`${zone.name}: the free lists hold ${free} frames, its counters say ${counted}`);
    }
  },
};

const freeRangesAreApart: Law = {
  name: "free-ranges-are-apart",
  statement: "No frame is in two free blocks, and no free block leaves its zone.",
  check: ({ kernel, freeRanges }, report) => {
    freeRanges.forEach(({ first, end }, at) => {
      const next = freeRanges[at + 1];
      if (next !== undefined && next.first < end) report(`${first}..${end} overlaps ${next.first}..${next.end}`);
      const inside = kernel.allocator.zones.some((zone) => first >= zone.first && end <= zone.end);
      if (!inside) report(`${first}..${end} is in no zone`);
    });
  },
};

const freeFramesAreUnused: Law = {
  name: "free-frames-are-unused",
  statement: "A free frame is in no page table, is no page table, and is in no page cache.",
  check: (census, report) => {
    const { kernel } = census;
    const isFree = (frame: number) => census.isFree(frame);
    for (const [frame, entries] of census.byFrame)
      if (isFree(frame)) report(`frame ${frame}, mapped at ${placeOf(entries[0]!)}`);
    for (const frame of census.tableFrames.keys()) if (isFree(frame)) report(`frame ${frame}, a page table`);
    for (const file of kernel.files.all()) {
      file.pages.forEach(0, Number.POSITIVE_INFINITY, (index, frame) => {
        if (isFree(frame)) report(`frame ${frame}, page ${index} of ${file.name}`);
        return true;
      });
    }
  },
};

const mapCountsAreEntries: Law = {
  name: "map-counts-are-entries",
  statement: "A frame's map count is the number of page-table entries that hold it, those without rights included.",
  check: (census, report) => {
    const { frames } = census.kernel;
    for (const [frame, entries] of census.ownedFrames()) {
      if (frames.has(frame, PG_RESERVED)) continue;
      const count = frames.mapCount.read(frame);
      if (count !== entries.length) report(`frame ${frame}: count ${count}, ${entries.length} entries`);
    }
    for (const frame of census.taken) {
      const count = frames.mapCount.read(frame);
      const isMapped = census.byFrame.has(frame) || census.bigByHead.has(frame);
      if (count !== 0 && !isMapped) report(`frame ${frame}: count ${count}, no entry`);
    }
  },
};

/** Whether a frame is the page of the file that it names. */
function inCache({ kernel }: Census, frame: number): boolean {
  const { frames, files } = kernel;
  const id = frames.mapping.read(frame);
  if (id === 0 || frames.has(frame, PG_ANON)) return false;
  const index = frames.index.read(frame);
  return files.byId(id).pages.find(index) === frame;
}

const referencesAreUses: Law = {
  name: "references-are-uses",
  statement:
    "A page of a program or of a file has one reference for each entry that holds it, one if its file caches it, and one if the swap cache does; between operations nobody else has any.",
  check: (census, report) => {
    const { frames } = census.kernel;
    for (const frame of census.taken) {
      const owner = frames.owner.read(frame);
      if (owner !== OWNER_USER && owner !== OWNER_PAGE_CACHE) continue;
      const maps = census.byFrame.get(frame)?.length ?? 0;
      const swapped = frames.has(frame, PG_SWAPCACHE) ? 1 : 0;
      const uses = maps + swapped + (inCache(census, frame) ? 1 : 0);
      const refs = frames.refs.read(frame);
      if (refs !== uses) report(`frame ${frame}: ${refs} references, ${uses} uses`);
    }
  },
};

const nothingLeaks: Law = {
  name: "nothing-leaks",
  statement: "Every frame that programs own is mapped or in swap's cache, and every frame that files own is cached.",
  check: (census, report) => {
    const { frames } = census.kernel;
    for (const frame of census.taken) {
      if (frames.refs.read(frame) === 0) continue;
      const owner = frames.owner.read(frame);
      const kept = census.byFrame.has(frame) || frames.has(frame, PG_SWAPCACHE);
      if (owner === OWNER_USER && !kept) report(`frame ${frame} is a program's, and no entry holds it`);
      if (owner === OWNER_PAGE_CACHE && !kept && !inCache(census, frame)) {
        report(`frame ${frame} is a file's, and no cache holds it`);
      }
      if (owner === OWNER_PAGE_TABLES && !census.tableFrames.has(frame))
        report(`frame ${frame} is a table, and in no tree`);
    }
  },
};

const ownersMatchUses: Law = {
  name: "owners-match-uses",
  statement:
    "The frames charged to page tables, to programs and to files are those found in trees or kept in reserve, in entries, the swap cache and huge pages of which others are in use, and in files' caches.",
  check: (census, report) => {
    const { kernel } = census;
    const { allocator, frames } = kernel;
    const compare = (what: string, owner: number, found: number) => {
      const charged = allocator.ownedBy(owner);
      if (charged !== found) report(`${what}: ${charged} frames charged, ${found} found`);
    };
    compare("page tables", OWNER_PAGE_TABLES, census.tableFrames.size + allocator.idleBlocksOf(OWNER_PAGE_TABLES));
    compare("idle tables", OWNER_QUICKLISTS, kernel.tables.idle);
    let anonymous = 0;
    for (const [frame] of census.ownedFrames()) {
      if (frames.has(frame, PG_ANON) && !frames.has(frame, PG_SWAPCACHE)) anonymous++;
    }
    anonymous += census.swapCached.length + kernel.transparent.pages.idleFrames;
    compare("programs", OWNER_USER, anonymous * frames.softFrames);
    let cached = 0;
    for (const file of kernel.files.all()) {
      file.pages.forEach(0, Number.POSITIVE_INFINITY, () => {
        cached++;
        return true;
      });
    }
    compare("files", OWNER_PAGE_CACHE, cached * frames.softFrames);
  },
};

const tasksHaveStacks: Law = {
  name: "tasks-have-stacks",
  statement:
    "Each thread that lives and costs memory has one kernel stack and one task_struct of its own; no other stacks are charged but those of the kernel's threads.",
  check: ({ kernel, processes }, report) => {
    const { allocator, frames, slabs, stacks } = kernel;
    const found = new Set<number>();
    let living = 0;
    for (const { memory, name } of processes.flatMap(({ threads }) => threads)) {
      if (memory === null) continue;
      living++;
      for (const block of memory.stack) {
        if (frames.owner.read(block) !== OWNER_STACKS) report(`frame ${block}, a stack of ${name}, is no stack`);
        if (found.has(block)) report(`frame ${block} is a stack of ${name} and of another`);
        found.add(block);
      }
    }
    if (slabs.tasks.objects !== living) report(`${living} threads, ${slabs.tasks.objects} task_structs`);
    if (stacks.count < living) report(`${living} threads, ${stacks.count} stacks`);
    const charged = allocator.ownedBy(OWNER_STACKS);
    const idle = allocator.idleBlocksOf(OWNER_STACKS);
    const wanted = stacks.count * stacks.framesCharged + idle;
    if (charged !== wanted) report(`${stacks.count} stacks, ${charged} frames charged, ${idle} of them idle`);
  },
};

const tablesAreTables: Law = {
  name: "tables-are-tables",
  statement:
    "Each page-table frame hangs in one place, or in one of each tree of those that share it; it is marked as a table, and no entry maps it.",
  check: (census, report) => {
    const { frames, bigPages, tables } = census.kernel;
    for (const [frame, uses] of census.tableFrames) {
      const places = tables.shared.find(frame)?.places ?? bigPages.treesOf(frame);
      if (uses !== places) report(`frame ${frame} hangs in ${uses} places`);
      if (!frames.has(frame, PG_TABLE)) report(`frame ${frame} is not marked`);
      if (census.byFrame.has(frame)) report(`frame ${frame} is mapped too`);
    }
  },
};

const cachedPagesKnowTheirPlace: Law = {
  name: "cached-pages-know-their-place",
  statement: "A cached frame names its file and its index in it, and is not anonymous.",
  check: ({ kernel }, report) => {
    const { frames, files } = kernel;
    for (const file of files.all()) {
      let pages = 0;
      file.pages.forEach(0, Number.POSITIVE_INFINITY, (index, frame) => {
        pages++;
        const right = frames.mapping.read(frame) === file.id && frames.index.read(frame) === index;
        if (!right || frames.has(frame, PG_ANON)) report(`page ${index} of ${file.name}, frame ${frame}`);
        if (file.pages.find(index) !== frame) report(`page ${index} of ${file.name} is not found`);
        return true;
      });
      if (pages !== file.pages.count) report(`${file.name}: ${pages} pages, its count says ${file.pages.count}`);
      // A shmem file may have reserved pages beyond its end (FALLOC_FL_KEEP_SIZE).
      if (
        file.kind === "regular" &&
        file.pages.find(Math.ceil(file.endIndex / frames.softFrames) * frames.softFrames) !== NOT_CACHED
      ) {
        report(`${file.name} has a page beyond its end`);
      }
    }
  },
};

const leafTablesKnowTheirPlace: Law = {
  name: "leaf-tables-know-their-place",
  statement:
    "The frame of a leaf table names the address space that it belongs to, and the first page that it covers there; of several, the first of its list.",
  check: ({ kernel, leafTables }, report) => {
    const { frames, tables } = kernel;
    for (const { mm, frame, page } of leafTables) {
      const shared = tables.shared.find(frame);
      if (shared !== undefined && shared.placeOf(mm, page) !== 0) continue;
      const named = `${frames.mapping.read(frame)}:0x${frames.index.read(frame).toString(16)}`;
      if (named !== placeOf({ mm, page }))
        report(`frame ${frame}, a table of ${placeOf({ mm, page })}, names ${named}`);
    }
  },
};

export const memoryLaws: readonly Law[] = [
  framesAreConserved,
  freeRangesAreApart,
  freeFramesAreUnused,
  mapCountsAreEntries,
  referencesAreUses,
  nothingLeaks,
  ownersMatchUses,
  tasksHaveStacks,
  tablesAreTables,
  leafTablesKnowTheirPlace,
  cachedPagesKnowTheirPlace,
];
