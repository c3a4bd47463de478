/**
 * Whole leaf tables made present at once, where a range of pages is touched before anybody uses it: a file's pages that
 * are all cached, in a few runs of consecutive frames, need no look at each. What comes of it is what a fault for each
 * page would leave behind, down to every counter, only that the host's time follows tables and its memory what is
 * different: such a table is a line of entries, or shares its words with the other tables of the same pages; the counts
 * of its frames are lines, and their chains are alike.
 *
 * @models linux-6.1 mm/memory.c do_read_fault, do_shared_fault, for each page of a table
 * @differs the events of a table's faults are one event, whose count is its pages
 */
import type { FileIndex, Pfn, Vpn } from "../base/units.ts";
import { type FrameRun, type OpenTable, PTE_DIRTY, PTE_PRESENT, PTE_WRITE } from "../hw/pte.ts";
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

/** Memory that must be left over: beyond what the tables of one table's pages, and their chains, can take. */
const FRAMES_TO_SPARE = 256;
/** Pages that lie in more runs than this are looked at one by one. */
const MOST_RUNS = 32;

/** What a table that maps a file from one index on looks like, as long as the file has these pages. */
export interface TableModel {
  /** Of the file's pages. */
  readonly changes: number;
  readonly runs: readonly FrameRun[];
  /** By the flags of their entries: the model of their words. */
  readonly words: Map<number, number>;
}

/**
 * Maps all pages of the leaf table of `page`, the first one that it covers, and charges their faults; false, and nothing
 * changed, if each must be looked at. Requires: mmap_sem is held, the table's whole span lies in the area, which may be
 * touched so.
 */
export function tryPopulateTable(kernel: Kernel, payer: Process, vma: Vma, page: Vpn, intent: Intent): boolean {
  const { tables } = kernel;
  const { file, mm } = vma;
  if (file === null || file.raw !== null || (vma.flags & VM_NONLINEAR) !== 0 || !isUndisturbed(kernel)) return false;
  if (intent === "write" && (vma.flags & (VM_SHARED | VM_WRITE)) !== (VM_SHARED | VM_WRITE)) return false;
  const written = intent === "write" ? PTE_DIRTY | PTE_WRITE : 0;
  const flags = entryFlags(kernel, vma) | written;
  if ((flags & PTE_PRESENT) === 0 || tables.tableAt(mm, page, LEAF) !== NO_TABLE) return false;
  const model = modelAt(kernel, file, vma.indexAt(page));
  if (model === undefined || !areReady(kernel, model) || !tryLockTables(kernel, mm)) return false;
  const isMapped = mapTable(kernel, vma, page, model, flags);
  unlockTables(kernel, mm);
  if (!isMapped) return false;
  if (intent === "write") makeDirty(kernel, file, model);
  charge(kernel, payer, vma, page, intent);
  return true;
}

/** Whether nobody else runs meanwhile, and memory does not get short. */
const isUndisturbed = ({ tlbFlush, tables, allocator }: Kernel): boolean =>
  tlbFlush.interrupts === null &&
  !tables.takesRoom &&
  allocator.canSpare(FRAMES_TO_SPARE, WANT_KERNEL) &&
  allocator.canSpare(FRAMES_TO_SPARE, WANT_USER);

/** Where the file's pages are that a table maps from `index` on; undefined if they are not all there, or far apart. */
function modelAt(kernel: Kernel, file: FileObject, index: FileIndex): TableModel | undefined {
  const known = file.tableModels.get(index);
  if (known !== undefined && known.changes === file.pages.changes) return known;
  const pages = kernel.tables.span(LEAF);
  const end = index + pages;
  if (end > file.endIndex) return undefined;
  const runs: { first: Pfn; end: Pfn }[] = [];
  let next = index;
  file.pages.forEach(index, end, (at, frame) => {
    const last = runs[runs.length - 1];
    if (at !== next || runs.length > MOST_RUNS) return false;
    next++;
    if (last !== undefined && last.end === frame) last.end++;
    else runs.push({ first: frame, end: frame + 1 });
    return true;
  });
  if (next < end || runs.length > MOST_RUNS) return undefined;
  for (const run of runs) layFlags(kernel, run);
  const model = { changes: file.pages.changes, runs, words: new Map<number, number>() };
  file.tableModels.set(index, model);
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
function areReady({ frames }: Kernel, { runs }: TableModel): boolean {
  const { flags } = frames;
  for (const { first, end } of runs) {
    for (let at = first; at < end; ) {
      const state = flags.read(at);
      if ((state & (PG_UPTODATE | PG_LOCKED | PG_ANON)) !== PG_UPTODATE) return false;
      at = flags.endOf(state, at, end);
    }
  }
  return true;
}

function mapTable(kernel: Kernel, vma: Vma, page: Vpn, model: TableModel, flags: number): boolean {
  const { tables, entries, frames, reverseMap, personality } = kernel;
  const { mm } = vma;
  if (tables.tryEnsure(mm, page, personality.pages.firstTables) === NO_TABLE) return false;
  const leaf = tables.tryEnsureLeaf(mm, page);
  if (leaf === NO_TABLE) return false;
  const table = tables.open(leaf);
  writeEntries(kernel, table, model, flags);
  let slot = entries.slotOf(table, 0);
  for (const { first, end } of model.runs) {
    reverseMap.addRun(first, end, slot, vma);
    frames.refs.addAll(first, end, 1);
    slot += end - first;
  }
  if (frames.has(model.runs[0]!.first, PG_SWAPBACKED)) mm.resident.shmem += tables.span(LEAF);
  else mm.resident.file += tables.span(LEAF);
  tables.close(table);
  return true;
}

/** The pages are newer than their file. */
function makeDirty(kernel: Kernel, file: FileObject, { runs }: TableModel): void {
  const { flags } = kernel.frames;
  for (const { first, end } of runs) {
    for (let at = first; at < end; ) {
      const state = flags.read(at);
      const stop = flags.endOf(state, at, end);
      if ((state & PG_DIRTY) === 0) for (let frame = at; frame < stop; frame++) setFrameDirty(kernel, file, frame);
      at = stop;
    }
  }
}

function writeEntries({ entries, memory }: Kernel, table: OpenTable, { runs, words }: TableModel, flags: number): void {
  if (runs.length === 1) {
    entries.setAll(table, runs[0]!.first, flags);
    return;
  }
  let number = words.get(flags);
  if (number === undefined) {
    number = memory.newModel();
    words.set(flags, number);
  }
  entries.setAllLike(table, number, runs, flags);
}

/** Counts what the faults of the table's pages count: each write, and one read in each window of fault-around. */
function charge(kernel: Kernel, payer: Process, vma: Vma, page: Vpn, intent: Intent): void {
  const { tables, counters, personality, tunables } = kernel;
  const pages = tables.span(LEAF);
  const around = intent === "read" ? personality.pages.faultAroundPages(tunables) : 1;
  const window = Math.min(Math.max(1, around), pages);
  const faults = pages / window;
  counters.minorFaults += faults;
  payer.minorFaults += faults;
  if (intent === "read") counters.fileReadFaults += faults;
  else counters.sharedWriteFaults += faults;
  counters.faultAroundPages += pages - faults;
  counters.pagesPopulated += pages;
  // Looked at by who populates, before and after, by the fault, and to map; without a table nobody looks before. Once here.
  tables.reopened(tables.tableAt(vma.mm, page, LEAF), LOOKS_OF_FAULT * faults - LOOKS_OF_FIRST + (pages - faults) - 1);
  kernel.events.record(EVENT_FAULT, vma.mm.id, page, pages, -1, FAULT_MINOR, intent === "write" ? 1 : 0);
}

/** Times that a fault of a page that is populated opens its leaf table; so many fewer for the first, which makes it. */
const LOOKS_OF_FAULT = 4;
const LOOKS_OF_FIRST = 2;
