/**
 * Whole leaf tables made present at once, as many as one table above them has side by side, where a range of pages is
 * touched before anybody uses it: a file's pages that are all cached, in a few runs of consecutive frames, need no look at
 * each. What comes of it is what a fault for each page would leave behind, down to every counter, only that the host's
 * time follows what is different, and its memory too: such a table is a line of entries, or shares its words with the
 * other tables of the same pages; the table above them is a line of tables; the counts of the pages' frames are one
 * number until somebody asks.
 *
 * Where a fault draws memory for more than tables (chains), tables are made one by one, in the order of the faults.
 *
 * @models linux-6.1 mm/memory.c do_read_fault, do_shared_fault, for each page of a table
 * @differs the events of such tables' faults are one event, whose count is their pages
 */
import { bug } from "../base/errors.ts";
import { Runs } from "../base/owed-sums.ts";
import type { FileIndex, FrameRun, Pfn, Vpn } from "../base/units.ts";
import type { WordModel } from "../hw/physical-memory.ts";
import { PTE_DIRTY, PTE_PRESENT, PTE_WRITE } from "../hw/pte.ts";
import { WANT_KERNEL, WANT_USER } from "./allocator.ts";
import { EVENT_FAULT } from "./events.ts";
import type { FileObject } from "./file.ts";
import { setFrameDirty } from "./file-pages.ts";
import { PG_ANON, PG_DIRTY, PG_LOCKED, PG_SWAPBACKED, PG_UPTODATE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { entryFlags } from "./mapped-frame.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import type { Process } from "./process.ts";
import { tryLockTables, unlockTables } from "./table-lock.ts";
import { FAULT_MINOR, type Intent } from "./verdict.ts";
import { VM_NONLINEAR, VM_SHARED, VM_WRITE, type Vma } from "./vma.ts";

/** Memory that must be left over: beyond the tables, and what their pages' chains can take. */
const FRAMES_TO_SPARE = 256;
/** Pages that lie in more runs than this for each table are looked at one by one. */
const MOST_RUNS = 32;
/** More than the leaf tables that one table above them holds. */
const MOST_TABLES = 2 ** 11;

/** What so many tables look like that map a file from one index on, as long as the file has these pages. */
export interface TableModel {
  /** Of the file's pages. */
  readonly changes: number;
  readonly tables: number;
  readonly runs: Runs;
  /** By the flags of their entries: the model of their words. */
  readonly words: Map<number, WordModel>;
  /** What the flags' versions added up to when all pages were found ready; when all were dirty. */
  readyAt: number;
  dirtyAt: number;
}

/**
 * Maps all pages of leaf tables from `page` on, the first one that a table covers, and charges their faults: as many as
 * have the same table above them and end at `end`. Returns the page after the last; `page`, with nothing changed, if each
 * must be looked at. Requires: mmap_sem is held, the first table's whole span lies in the area, which may be touched so.
 */
export function tryPopulateTables(
  kernel: Kernel,
  payer: Process,
  vma: Vma,
  range: { readonly page: Vpn; readonly end: Vpn },
  intent: Intent,
): Vpn {
  const { page } = range;
  const flags = populatedFlags(kernel, vma, intent);
  // Each table may be there already, in another tree.
  if (kernel.tableSharing.sharesMappings || flags === 0 || !isUndisturbed(kernel, 1)) return page;
  const most = missingTables(kernel, vma, page, range.end);
  const tables = most > 1 && kernel.reverseMap.searchesFiles && isUndisturbed(kernel, most) ? most : Math.min(most, 1);
  const model = tables === 0 ? undefined : modelAt(kernel, vma.file!, vma.indexAt(page), tables);
  if (model === undefined || !areReady(kernel, model) || !tryLockTables(kernel, vma.mm)) return page;
  const isMapped = tables > 1 ? mapTables(kernel, vma, page, model, flags) : mapTable(kernel, vma, page, model, flags);
  unlockTables(kernel, vma.mm);
  if (!isMapped) return page;
  if (intent === "write") makeDirty(kernel, vma.file!, model);
  charge(kernel, payer, vma, page, model, intent);
  return page + tables * kernel.tables.span(LEAF);
}

/** The flags of entries that faults of that intent would make; 0 if they would not map the file's own pages, present. */
export function populatedFlags(kernel: Kernel, vma: Vma, intent: Intent): number {
  if (vma.file === null || vma.file.huge !== null || vma.file.raw !== null || (vma.flags & VM_NONLINEAR) !== 0)
    return 0;
  if (intent === "write" && (vma.flags & (VM_SHARED | VM_WRITE)) !== (VM_SHARED | VM_WRITE)) return 0;
  const flags = entryFlags(kernel, vma) | (intent === "write" ? PTE_DIRTY | PTE_WRITE : 0);
  return (flags & PTE_PRESENT) === 0 ? 0 : flags;
}

/** Whether each frame is a page, nobody looks on or runs meanwhile, and memory does not get short. */
export const isUndisturbed = (
  { tlbFlush, tables, allocator, frames: { softFrames, isWatched } }: Kernel,
  frames: number,
): boolean =>
  softFrames === 1 &&
  !isWatched &&
  tlbFlush.interrupts === null &&
  !tables.takesRoom &&
  allocator.canSpare(FRAMES_TO_SPARE + frames, WANT_KERNEL) &&
  allocator.canSpare(FRAMES_TO_SPARE + frames, WANT_USER);

/** How many leaf tables are missing from `page` on, in whole spans before `end`, below the same table. */
function missingTables({ tables }: Kernel, { mm }: Vma, page: Vpn, end: Vpn): number {
  const span = tables.span(LEAF);
  const stop = tables.endOf(page, LEAF + 1, end);
  const whole = stop - (stop % span);
  const above = tables.tableAt(mm, page, LEAF + 1);
  return ((above === NO_TABLE ? whole : tables.nextUsed(above, LEAF + 1, page, whole)) - page) / span;
}

/** Where the file's pages are that tables map from `index` on; undefined if they are not all there, or far apart. */
export function modelAt(kernel: Kernel, file: FileObject, index: FileIndex, tables: number): TableModel | undefined {
  const key = index * MOST_TABLES + tables;
  const known = file.tableModels.get(key);
  if (known !== undefined && known.changes === file.pages.changes) return known;
  const end = index + tables * kernel.tables.span(LEAF);
  if (end > file.endIndex) return undefined;
  const found: { first: Pfn; end: Pfn }[] = [];
  let last: { first: Pfn; end: Pfn } | undefined;
  let next = index;
  file.pages.forEach(index, end, (at, frame) => {
    if (at !== next || found.length > MOST_RUNS * tables) return false;
    next++;
    if (last !== undefined && last.end === frame) last.end++;
    else {
      last = { first: frame, end: frame + 1 };
      found.push(last);
    }
    return true;
  });
  if (next < end || found.length > MOST_RUNS * tables) return undefined;
  for (const run of found) layFlags(kernel, run);
  const runs = new Runs(found);
  const words = new Map<number, WordModel>();
  const model = { changes: file.pages.changes, tables, runs, words, readyAt: Number.NaN, dirtyAt: Number.NaN };
  file.tableModels.set(key, model);
  return model;
}

/** The flags of frames that are looked at for each table that maps them lie in lines from now on, as far as they can. */
function layFlags({ frames }: Kernel, { first, end }: FrameRun): void {
  const { flags } = frames;
  for (let at = first; at < end; ) {
    const stop = flags.endOf(flags.read(at), at, end);
    flags.lay(at, stop, flags.read(at));
    at = stop;
  }
}

/** Whether all pages hold what the file has, and nobody is busy with one. */
function areReady(kernel: Kernel, model: TableModel): boolean {
  const version = kernel.frames.flags.versionOf(model.runs);
  if (model.readyAt === version) return true;
  const { flags } = kernel.frames;
  const { firsts, ends, count } = model.runs;
  for (let run = 0; run < count; run++) {
    for (let at = firsts[run]!; at < ends[run]!; ) {
      const state = flags.read(at);
      if ((state & (PG_UPTODATE | PG_LOCKED | PG_ANON)) !== PG_UPTODATE) return false;
      at = flags.endOf(state, at, ends[run]!);
    }
  }
  model.readyAt = version;
  return true;
}

/** One table, and what its entries need. */
function mapTable(kernel: Kernel, vma: Vma, page: Vpn, model: TableModel, flags: number): boolean {
  const { tables, entries, frames, reverseMap, personality } = kernel;
  if (tables.tryEnsure(vma.mm, page, personality.pages.firstTables) === NO_TABLE) return false;
  const leaf = tables.tryEnsureLeaf(vma.mm, page);
  if (leaf === NO_TABLE) return false;
  const table = tables.open(leaf);
  writeEntries(kernel, { first: leaf, end: leaf + 1 }, model, 0, flags);
  let slot = entries.slotOf(table, 0);
  const { firsts, ends, count } = model.runs;
  for (let run = 0; run < count; run++) {
    const [first, end] = [firsts[run]!, ends[run]!];
    reverseMap.addRun(first, end, slot, vma);
    frames.refs.addAll(first, end, 1);
    slot += end - first;
  }
  countResident(kernel, vma, model);
  tables.close(table);
  return true;
}

/** The same for as many as the model has, which need nothing but their tables. Requires: memory for them cannot run out. */
function mapTables(kernel: Kernel, vma: Vma, page: Vpn, model: TableModel, flags: number): boolean {
  const { tables, frames, reverseMap } = kernel;
  if (tables.tryEnsure(vma.mm, page, LEAF + 1) === NO_TABLE) return false;
  for (let at = 0; at < model.tables; ) {
    const first = page + at * tables.span(LEAF);
    const leaves = tables.tryHangLeaves(vma.mm, first, model.tables - at) ?? oneLeaf(kernel, vma, first);
    writeEntries(kernel, leaves, model, at, flags);
    at += leaves.end - leaves.first;
  }
  reverseMap.addSearched(model.runs);
  frames.refs.addLater(model.runs, 1);
  countResident(kernel, vma, model);
  return true;
}

function oneLeaf({ tables }: Kernel, { mm }: Vma, page: Vpn): FrameRun {
  const leaf = tables.tryEnsureLeaf(mm, page);
  if (leaf === NO_TABLE) bug("memory ends while tables are made that there was room for");
  return { first: leaf, end: leaf + 1 };
}

function countResident({ frames }: Kernel, { mm }: Vma, { runs }: TableModel): void {
  if (frames.has(runs.firsts[0]!, PG_SWAPBACKED)) mm.resident.shmem += runs.length;
  else mm.resident.file += runs.length;
}

/** The pages are newer than their file. */
function makeDirty(kernel: Kernel, file: FileObject, model: TableModel): void {
  const { flags } = kernel.frames;
  if (model.dirtyAt === flags.versionOf(model.runs)) return;
  const { firsts, ends, count } = model.runs;
  for (let run = 0; run < count; run++) {
    for (let at = firsts[run]!; at < ends[run]!; ) {
      const state = flags.read(at);
      const stop = flags.endOf(state, at, ends[run]!);
      if ((state & PG_DIRTY) === 0) for (let frame = at; frame < stop; frame++) setFrameDirty(kernel, file, frame);
      at = stop;
    }
  }
  model.dirtyAt = flags.versionOf(model.runs);
}

/** The entries of the leaf tables are those of the model's, from its table `at` on. */
function writeEntries({ entries }: Kernel, leaves: FrameRun, model: TableModel, at: number, flags: number): void {
  const { runs, tables, words } = model;
  if (runs.count === 1) {
    entries.setAll(leaves.first, leaves.end, runs.firsts[0]! + at * (runs.length / tables), flags);
    return;
  }
  let known = words.get(flags);
  if (known === undefined) {
    known = entries.tablesLike(tables, runs, flags);
    words.set(flags, known);
  }
  entries.setAllLike(leaves.first, leaves.end, known, at);
}

/** Counts what the faults of the tables' pages count: each write, and one read in each window of fault-around. */
function charge(kernel: Kernel, payer: Process, vma: Vma, page: Vpn, model: TableModel, intent: Intent): void {
  const { tables, counters, personality, tunables } = kernel;
  const span = tables.span(LEAF);
  const around = intent === "read" ? personality.pages.faultAroundPages(tunables) : 1;
  const window = Math.min(Math.max(1, around), span);
  const faults = (model.tables * span) / window;
  const pages = model.tables * span;
  counters.minorFaults += faults;
  payer.minorFaults += faults;
  if (intent === "read") counters.fileReadFaults += faults;
  else counters.sharedWriteFaults += faults;
  counters.faultAroundPages += pages - faults;
  counters.pagesPopulated += pages;
  lookAgain(kernel, vma, page, model.tables, faults / model.tables);
  kernel.events.record(EVENT_FAULT, vma.mm.id, page, pages, -1, FAULT_MINOR, intent === "write" ? 1 : 0);
}

/**
 * Each table is looked at by who populates, before and after, by each fault, and to map; without a table nobody looks
 * before; and one of several has not been opened yet.
 */
function lookAgain({ tables, frames }: Kernel, { mm }: Vma, page: Vpn, count: number, faults: number): void {
  const span = tables.span(LEAF);
  const looks = LOOKS_OF_FAULT * faults - LOOKS_OF_FIRST + (span - faults);
  if (count === 1) {
    tables.reopened(tables.tableAt(mm, page, LEAF), looks - 1);
    return;
  }
  if (!tables.isHigh(frames.count - 1)) return;
  for (let at = page; at < page + count * span; at += span) {
    const table = tables.open(tables.tableAt(mm, at, LEAF));
    tables.close(table);
    tables.reopened(table, looks - 1);
  }
}

/** Times that a fault of a page that is populated opens its leaf table; so many fewer for the first, which makes it. */
const LOOKS_OF_FAULT = 4;
const LOOKS_OF_FIRST = 2;
