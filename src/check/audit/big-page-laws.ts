/** Laws of big pages: their pools, who holds them, and the entries that map them. */
import { PAGE_SIZE, type Pfn } from "../../base/units.ts";
import type { HugePool } from "../../mm/bigpages/huge-pool.ts";
import { MagicPages } from "../../mm/bigpages/magic.ts";
import { PG_HEAD } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { NOT_CACHED } from "../../mm/page-cache.ts";
import { VM_BIG, VM_MAGIC, VM_MAYSHARE, type Vma } from "../../mm/vma.ts";
import { OWNER_HUGE } from "../../mm/zone.ts";
import { type Census, placeOf } from "./census.ts";
import type { Law } from "./law.ts";

/** By head: the places of files, and the indices of map_large_page, that a big page is kept for. */
function keepers({ files, bigPages }: Kernel): Map<Pfn, number> {
  const kept = new Map<Pfn, number>();
  const keep = (head: Pfn) => kept.set(head, (kept.get(head) ?? 0) + 1);
  for (const { huge } of files.all()) {
    huge?.pages.forEach(0, Number.POSITIVE_INFINITY, (_at, head) => {
      keep(head);
      return true;
    });
  }
  if (bigPages instanceof MagicPages) for (const head of bigPages.indexed()) keep(head);
  return kept;
}

const poolsAddUp: Law = {
  name: "pools-add-up",
  statement:
    "A pool's huge pages are free or in use; no more are promised than are free, and no more surplus than there are; all pools together hold the frames charged to them.",
  check: (census, report) => {
    const { kernel } = census;
    const { bigPages, frames, allocator } = kernel;
    const kept = keepers(kernel);
    const inUse = new Set([...kept.keys(), ...census.bigByHead.keys()]);
    let pages = 0;
    for (const pool of bigPages.pools) {
      const size = `pool of ${pool.pages} pages`;
      const used = [...inUse].filter((head) => frames.orderOf(head) === pool.order).length;
      if (pool.free + used !== pool.total) report(`${size}: ${pool.free} free, ${used} in use, ${pool.total} in all`);
      if (pool.reserved > pool.free) report(`${size}: ${pool.reserved} promised, ${pool.free} free`);
      if (pool.surplus > pool.total) report(`${size}: ${pool.surplus} surplus, ${pool.total} in all`);
      for (const head of pool.freePages()) {
        if (inUse.has(head)) report(`${size}: ${head} is free and in use`);
        if (frames.refs.read(head) !== 0) report(`${size}: ${head} is free and has references`);
      }
      pages += pool.total * pool.pages;
    }
    const charged = allocator.ownedBy(OWNER_HUGE);
    if (charged !== pages) report(`${charged} frames are charged to pools, which hold ${pages}`);
  },
};

/** How many huge pages areas and files have been promised, by pool. */
function promises({ kernel }: Census): Map<HugePool, number> {
  const found = new Map<HugePool, number>();
  const add = (pool: HugePool, count: number) => found.set(pool, (found.get(pool) ?? 0) + count);
  for (const { huge } of kernel.files.all()) {
    if (huge === null) continue;
    for (const at of huge.promised) if (huge.pages.find(at) === NOT_CACHED) add(huge.pool, 1);
  }
  for (const mm of kernel.spaces) for (const vma of mm.vmas) promisedTo(vma, add);
  return found;
}

function promisedTo(vma: Vma, add: (pool: HugePool, count: number) => void): void {
  if (vma.privatePromise === null) return;
  const { pool } = vma.file!.huge!;
  for (let page = vma.start; page < vma.end; page += pool.pages) {
    if (!vma.privatePromise.used.has(vma.indexAt(page) / pool.pages)) add(pool, 1);
  }
}

const promisesAreKept: Law = {
  name: "huge-promises-are-counted",
  statement:
    "A pool has promised one page for each place of a shared file and of a private area that was promised one and has not had it.",
  check: (census, report) => {
    const found = promises(census);
    for (const pool of census.kernel.bigPages.pools) {
      const promised = found.get(pool) ?? 0;
      if (promised !== pool.reserved)
        report(`pool of ${pool.pages} pages: ${pool.reserved} promised, found ${promised}`);
    }
  },
};

const countsAreEntries: Law = {
  name: "big-pages-are-counted",
  statement:
    "A big page's head has a map count of the entries that hold it, and a reference for each of them and for each place that keeps it.",
  check: ({ kernel, bigByHead }, report) => {
    const { frames } = kernel;
    const kept = keepers(kernel);
    for (const head of new Set([...kept.keys(), ...bigByHead.keys()])) {
      const maps = bigByHead.get(head)?.length ?? 0;
      const count = frames.mapCount.read(head);
      if (count !== maps) report(`big page ${head}: count ${count}, ${maps} entries`);
      const uses = maps + (kept.get(head) ?? 0);
      const refs = frames.refs.read(head);
      if (refs !== uses) report(`big page ${head}: ${refs} references, ${uses} uses`);
      if (!frames.has(head, PG_HEAD)) report(`big page ${head} is not marked as the head of one`);
    }
  },
};

const entriesFit: Law = {
  name: "big-entries-fit",
  statement:
    "An area of big pages has entries for whole big pages alone, aligned in the address space and in memory, each for the page that belongs there; and what maps a big page lies in such an area.",
  check: ({ kernel, bigByHead, byFrame }, report) => {
    const { frames } = kernel;
    for (const [head, entries] of bigByHead) {
      const pages = 2 ** frames.orderOf(head);
      for (const entry of entries) {
        const vma = entry.vma!;
        const at = `${placeOf(entry)} -> big page ${head}`;
        if (entry.level === 1 || kernel.format.entrySpan(entry.level) !== pages)
          report(`${at}: of ${pages} pages, at level ${entry.level}`);
        if (entry.page % pages !== 0 || head % pages !== 0) report(`${at} is not aligned`);
        if (vma.start > entry.page || vma.end < entry.page + pages) report(`${at} sticks out of its area`);
        if ((vma.flags & VM_MAGIC) === 0) checkPlace(kernel, vma, entry.page, head, (what) => report(`${at}: ${what}`));
      }
    }
    for (const [frame, entries] of byFrame) {
      if (frames.owner.read(frames.headOf(frame)) === OWNER_HUGE)
        report(`${placeOf(entries[0]!)} maps frame ${frame}, a pool's`);
    }
  },
};

function checkPlace({ frames }: Kernel, vma: Vma, page: number, head: Pfn, report: (what: string) => void): void {
  const { huge } = vma.file!;
  const at = vma.indexAt(page) / huge!.pool.pages;
  const isFiles = huge!.pages.find(at) === head;
  const isPrivate = frames.mapping.read(head) === 0;
  if ((vma.flags & VM_MAYSHARE) !== 0 && !isFiles) report(`is not page ${at} of its file`);
  if (!isFiles && !isPrivate) report("is the page of another place");
}

const areasAreWhole: Law = {
  name: "big-areas-are-whole",
  statement: "An area of big pages begins and ends between big pages, and so does what it maps of its file.",
  check: ({ kernel }, report) => {
    for (const mm of kernel.spaces) {
      for (const vma of mm.vmas) {
        if ((vma.flags & VM_BIG) === 0) continue;
        const pages = (vma.file?.huge?.pool ?? kernel.bigPages.pools[0]!).pages;
        const name = `${mm.id}: ${vma.start}..${vma.end}`;
        if (vma.start % pages !== 0 || vma.end % pages !== 0) report(`${name} cuts a big page`);
        if (vma.file !== null && vma.fileIndex % pages !== 0) report(`${name} starts within page ${vma.fileIndex}`);
      }
    }
  },
};

const tablesInCommonAreCounted: Law = {
  name: "shared-huge-tables-are-counted",
  statement:
    "The tables above the leaves that hang in more than one tree are those that mappings of huge pages share, and are counted, or a file's own.",
  check: ({ kernel, tableFrames, leafTables }, report) => {
    const leaves = new Set(leafTables.map(({ frame }) => frame));
    let more = 0;
    for (const [frame, trees] of tableFrames) {
      if (!leaves.has(frame) && kernel.tables.shared.find(frame) === undefined) more += trees - 1;
    }
    const counted = kernel.bigPages.tablesInCommon;
    if (more !== counted) report(`${more} trees more than tables, ${counted} counted`);
  },
};

const structPagesAreThere: Law = {
  name: "struct-pages-are-there",
  statement:
    "As many pages of struct pages are given back as the huge pages of pools can do without that were folded; all other frames have theirs.",
  check: ({ kernel, bigByHead }, report) => {
    const { bigPages, frames, vmemmap } = kernel;
    const inUse = new Set([...keepers(kernel).keys(), ...bigByHead.keys()]);
    let saved = 0;
    for (const pool of bigPages.pools) {
      const own = [...inUse].filter((head) => frames.orderOf(head) === pool.order);
      const folded = [...pool.freePages(), ...own].filter((head) => vmemmap.isFolded(head));
      saved += folded.length * pool.optimisableEachBytes;
    }
    const freed = vmemmap.freedPages * PAGE_SIZE;
    if (saved !== freed) report(`${freed} bytes of struct pages are given back, and ${saved} can be done without`);
  },
};

export const bigPageLaws: readonly Law[] = [
  poolsAddUp,
  promisesAreKept,
  countsAreEntries,
  entriesFit,
  areasAreWhole,
  tablesInCommonAreCounted,
  structPagesAreThere,
];
