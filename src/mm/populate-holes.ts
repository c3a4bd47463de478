/**
 * Holes of a file in memory, filled many at a time where a range of pages is touched before anybody uses it. A fault for
 * each page draws its frame, and now and then a node of the file's tree, a slab of such nodes, and a table. Between those,
 * a run of pages needs nothing but frames, which the buddy system gives side by side: they are taken, told to the file,
 * put on a page list and mapped together, and all is as the faults would have left it.
 *
 * What was filled so is looked through once more, a whole table of tables at a time, and kept as runs (`settleTables`).
 *
 * @models linux-6.1 mm/shmem.c shmem_fault, for each page of a run
 * @differs the events of the run's faults are one event, whose count is its pages
 */
import type { Runs } from "../base/owed-sums.ts";
import { SECTION_LENGTH } from "../base/sparse-array.ts";
import type { FrameRun, Pfn, Vpn } from "../base/units.ts";
import { PTE_DIRTY } from "../hw/pte.ts";
import { WANT_USER } from "./allocator.ts";
import { EVENT_FAULT } from "./events.ts";
import { setDirty } from "./file-pages.ts";
import { PG_SWAPBACKED, PG_UPTODATE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { NOT_CACHED } from "./page-cache.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { placeToFill } from "./populate-shared.ts";
import { isUndisturbed, modelAt, populatedFlags } from "./populate-tables.ts";
import type { Process } from "./process.ts";
import { tryLockTables, unlockTables } from "./table-lock.ts";
import type { HostedPlace } from "./tables/sharing/table-sharing.ts";
import { FAULT_MINOR, type Intent } from "./verdict.ts";
import type { Vma } from "./vma.ts";
import { OWNER_PAGE_CACHE } from "./zone.ts";

/** Fewer holes than this are left to faults. */
const FEWEST = 8;

/**
 * Fills and maps holes from `page` on, and charges their faults: how many; 0, with nothing changed, if the next one must be
 * looked at. Requires: mmap_sem is held, the area reaches to `end` and may be touched so.
 */
export function tryPopulateHoles(
  kernel: Kernel,
  payer: Process,
  vma: Vma,
  range: { readonly page: Vpn; readonly end: Vpn },
  intent: Intent,
): number {
  const { file } = vma;
  if (file?.kind !== "shmem" || file.swapped.count > 0 || !kernel.reverseMap.searchesFiles) return 0;
  const place = placeToFill(kernel, vma, range.page);
  if (place === null) return 0;
  const holes = holesAt(kernel, place.vma, place.page, place.page + (range.end - range.page), intent);
  if (holes < FEWEST || !isUndisturbed(kernel, holes)) return 0;
  const pages = fillAndMap(kernel, place, holes, intent);
  if (pages > 0) charge(kernel, payer, vma, range.page, pages, intent);
  return pages;
}

/** Fills and maps as many of the holes as there are frames for side by side: how many. */
function fillAndMap(kernel: Kernel, { vma, page }: HostedPlace, holes: number, intent: Intent): number {
  const flags = populatedFlags(kernel, vma, intent);
  if (flags === 0 || !tryLockTables(kernel, vma.mm)) return 0;
  const run = fill(kernel, vma, page, holes);
  if (run !== null) map(kernel, vma, page, run, flags);
  unlockTables(kernel, vma.mm);
  return run === null ? 0 : run.end - run.first;
}

/**
 * How many pages from `page` on need nothing but a frame: they have a table and nothing in it, a node of the file's tree and
 * nothing in it, and a fault on one would map none but those before it.
 */
function holesAt(kernel: Kernel, vma: Vma, page: Vpn, end: Vpn, intent: Intent): number {
  const { tables, entries } = kernel;
  const file = vma.file!;
  const index = vma.indexAt(page);
  const room = Math.min(file.pages.roomAt(index), file.endIndex - index, tables.endOf(page, LEAF, end) - page);
  if (room < FEWEST) return 0;
  const leaf = tables.tableAt(vma.mm, page, LEAF);
  if (leaf === NO_TABLE || tables.isHigh(leaf)) return 0;
  const stop = tables.nextUsed(leaf, LEAF, page, page + room);
  const window = intent === "read" ? kernel.personality.pages.faultAroundPages(kernel.tunables) : 1;
  if (window <= 1) return stop - page;
  const table = tables.open(leaf);
  const isAlone = (from: Vpn, to: Vpn): boolean => {
    for (let at = Math.max(from, vma.start); at < Math.min(to, vma.end, tables.endOf(page, LEAF, vma.end)); at++) {
      const isCached = file.pages.find(vma.indexAt(at)) !== NOT_CACHED;
      if (isCached && entries.flags(table, tables.indexAt(at, LEAF)) === 0) return false;
    }
    return true;
  };
  const lastWindow = stop - (stop % window);
  const start = Math.max(page - (page % window), page - tables.indexAt(page, LEAF));
  let alone = 0;
  if (isAlone(start, page))
    alone = isAlone(stop, lastWindow === stop ? stop : lastWindow + window) ? stop - page : lastWindow - page;
  tables.close(table);
  return alone;
}

/** Frames for as many of the pages as lie side by side, zeroed, in the file and on a page list; null if there are none. */
function fill(kernel: Kernel, vma: Vma, page: Vpn, holes: number): FrameRun | null {
  const { allocator, frames, contents, commitment, reclaim } = kernel;
  const file = vma.file!;
  const charged = file.promise === "pages";
  if (charged && commitment.charge(holes, null) < 0) return null;
  const run = allocator.tryAllocateRun(holes, WANT_USER, OWNER_PAGE_CACHE);
  const pages = run === null ? 0 : run.end - run.first;
  if (charged) commitment.uncharge(holes - pages);
  if (run === null) return null;
  const { first, end } = run;
  const index = vma.indexAt(page);
  file.pages.insertRun(index, run);
  frames.mapping.put(first, end, file.id);
  frames.index.put(first, end, index, 1);
  frames.flags.put(first, end, PG_SWAPBACKED | PG_UPTODATE);
  contents.zeroRun(first, end);
  for (let frame = first; frame < end; frame++) reclaim.adopt(frame);
  return run;
}

function map(kernel: Kernel, vma: Vma, page: Vpn, { first, end }: FrameRun, flags: number): void {
  const { tables, entries, frames, reverseMap } = kernel;
  const table = tables.openLeaf(vma.mm, page);
  if (table === NO_TABLE) return;
  const index = tables.indexAt(page, LEAF);
  reverseMap.addRun(first, end, entries.slotOf(table, index), vma);
  frames.refs.addEach(first, end, 1);
  for (let frame = first; frame < end; frame++) entries.set(table, index + frame - first, frame, flags);
  vma.mm.resident.shmem += end - first;
  tables.close(table);
  if ((flags & PTE_DIRTY) === 0) return;
  for (let frame = first; frame < end; frame++) setDirty(kernel, vma.file!, frames.index.read(frame), frame);
}

/** Counts what the faults of the pages count. Their tables are in lowmem, where looking at one leaves no trace. */
function charge(kernel: Kernel, payer: Process, vma: Vma, page: Vpn, pages: number, intent: Intent): void {
  const { counters } = kernel;
  counters.minorFaults += pages;
  payer.minorFaults += pages;
  if (intent === "read") counters.fileReadFaults += pages;
  else counters.sharedWriteFaults += pages;
  counters.pagesPopulated += pages;
  kernel.events.record(EVENT_FAULT, vma.mm.id, page, pages, -1, FAULT_MINOR, intent === "write" ? 1 : 0);
}

/** Fewer tables than this are not worth the look. */
const FEWEST_TO_SETTLE = 16;

/**
 * The pages of the range, below one table of tables, have been made present, hole by hole. That is to stay, so the host
 * keeps it as runs: what frames are, and the tables, whose words those of other processes will be too.
 */
export function settleTables(
  kernel: Kernel,
  vma: Vma,
  range: { readonly page: Vpn; readonly end: Vpn },
  intent: Intent,
): void {
  const { tables, allocator, memory, entries } = kernel;
  const span = tables.span(LEAF);
  const first = Math.ceil(Math.max(range.page, vma.start) / span) * span;
  const count = Math.floor((range.end - first) / span);
  if (count < FEWEST_TO_SETTLE) return;
  const flags = populatedFlags(kernel, placeToFill(kernel, vma, first)?.vma ?? vma, intent);
  if (flags === 0) return;
  const model = modelAt(kernel, vma.file!, vma.indexAt(first), count);
  if (model === undefined) return;
  const [from, to] = settled(model.runs);
  if (from < to) {
    allocator.compact(from, to);
    memory.compact(from, to);
  }
  if (model.runs.count === 1) return;
  const words = model.words.get(flags) ?? entries.tablesLike(count, model.runs, flags);
  model.words.set(flags, words);
  for (let at = 0; at < count; at++) {
    const leaf = tables.tableAt(vma.mm, first + at * span, LEAF);
    if (leaf !== NO_TABLE) memory.shareLike(leaf, words, at);
  }
}

/** The sections of frames that the runs lie in, but for the last: there frames are still handed out, and written one by one. */
function settled({ firsts, ends }: Runs): [Pfn, Pfn] {
  const last = ends.reduce((most, end) => Math.max(most, end), 0);
  return [firsts.reduce((least, first) => Math.min(least, first), last), last - (last % SECTION_LENGTH)];
}
