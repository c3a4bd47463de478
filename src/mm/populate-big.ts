/**
 * Big pages made present where a range is touched before anybody uses it, each by a fault as a program's touch would be. A
 * table of them that is missing, in an area that shares a file whose pages are all there, is filled at once: the host
 * keeps one copy of its words for all who map the same, and one number for what is counted of its pages.
 *
 * @models linux-6.1 mm/hugetlb.c follow_hugetlb_page
 */
import { Runs } from "../base/owed-sums.ts";
import type { Pfn, Vpn } from "../base/units.ts";
import type { WordModel } from "../hw/physical-memory.ts";
import { type OpenTable, PTE_LARGE, PTE_PRESENT, PTE_WRITE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { HugeFile } from "./bigpages/huge-file.ts";
import { bigFlags } from "./bigpages/large-entries.ts";
import { EVENT_FAULT } from "./events.ts";
import { makePresent } from "./fault.ts";
import type { Kernel } from "./kernel.ts";
import { NO_TABLE } from "./page-table.ts";
import { isUndisturbed } from "./populate-tables.ts";
import type { Process } from "./process.ts";
import { tryLockTables, unlockTables } from "./table-lock.ts";
import { FAULT_MINOR, FAULT_OOM, type Intent, isRepaired } from "./verdict.ts";
import { VM_HUGETLB, VM_MAYSHARE, VM_WRITE, type Vma } from "./vma.ts";

/** What a table looks like that maps a file's big pages from one on, as long as the file has these. */
export interface BigTableModel {
  /** Of the file's pages. */
  readonly changes: number;
  /** The head of each page, by itself. */
  readonly heads: Runs;
  /** By the flags of their entries: the model of their words. */
  readonly words: Map<number, WordModel>;
}

/** Touches the pages `[first, end)`, all within an area of big pages. Requires: mmap_sem is held, the area may be touched so. */
export function* touchBig(
  kernel: Kernel,
  payer: Process,
  vma: Vma,
  range: { readonly first: Vpn; readonly end: Vpn },
  intent: Intent,
): Path<"touched" | "no memory" | "fault"> {
  const { tables, entries, counters } = kernel;
  const { end } = range;
  const wantsWrite = intent === "write" && (vma.flags & VM_WRITE) !== 0;
  for (let page = range.first; page < end; ) {
    const filled = tryPopulateBigTable(kernel, payer, vma, { page, end }, intent);
    if (filled > page) {
      page = filled;
      continue;
    }
    const entry = tables.largeAt(vma.mm, page);
    const flags = entry === null ? 0 : entries.flags(entry.table as OpenTable, entry.index);
    if (entry === null || (wantsWrite && (flags & PTE_WRITE) === 0)) {
      const verdict = yield* makePresent(kernel, payer, vma, page, intent);
      if (!isRepaired(verdict)) return verdict === FAULT_OOM ? "no memory" : "fault";
      continue;
    }
    // Others that are present in the same table need no walk of their own.
    const step = tables.span(entry.level - 1);
    const most = Math.ceil((tables.endOf(page, entry.level, end) - page) / step);
    const wanted = PTE_PRESENT | PTE_LARGE | (wantsWrite ? PTE_WRITE : 0);
    const same = entries.endOfFlags(entry.table as OpenTable, entry.index, entry.index + most, wanted) - entry.index;
    const next = Math.min(end, page - (page % step) + Math.max(1, same) * step);
    counters.pagesPopulated += next - page;
    page = next;
  }
  return "touched";
}

/** Maps all pages of a missing table that starts at `page`, and charges their faults: where it ends; `page` if it cannot. */
function tryPopulateBigTable(
  kernel: Kernel,
  payer: Process,
  vma: Vma,
  { page, end }: { readonly page: Vpn; readonly end: Vpn },
  intent: Intent,
): Vpn {
  const { tables, bigPages } = kernel;
  const huge = (vma.flags & (VM_HUGETLB | VM_MAYSHARE)) === (VM_HUGETLB | VM_MAYSHARE) ? vma.file?.huge : undefined;
  if (huge === undefined || huge === null || bigPages.sharesTables) return page;
  const { level, pages } = huge.pool;
  const span = tables.span(level);
  if (page % span !== 0 || page + span > end || tables.tableAt(vma.mm, page, level) !== NO_TABLE) return page;
  const flags = bigFlags(vma);
  if ((flags & PTE_PRESENT) === 0 || (intent === "write" && (flags & PTE_WRITE) === 0)) return page;
  if (vma.indexAt(page) + span > vma.file!.endIndex || vma.isRobbed || !isUndisturbed(kernel, 1)) return page;
  const model = modelAt(huge, vma.indexAt(page) / pages, span / pages);
  if (model === undefined || !tryLockTables(kernel, vma.mm)) return page;
  const table = tables.tryEnsure(vma.mm, page, level);
  if (table !== NO_TABLE) mapAll(kernel, table, model, flags);
  unlockTables(kernel, vma.mm);
  if (table === NO_TABLE) return page;
  charge(kernel, payer, vma, page, { faults: model.heads.count, pages: span }, intent);
  return page + span;
}

/** The pages of the file from number `at` on, as many as a table holds; undefined if they are not all there. */
function modelAt({ pages, tableModels }: HugeFile, at: number, count: number): BigTableModel | undefined {
  const known = tableModels.get(at);
  if (known !== undefined && known.changes === pages.changes) return known;
  const found: { readonly first: Pfn; readonly end: Pfn }[] = [];
  pages.forEach(at, at + count, (_at, head) => {
    found.push({ first: head, end: head + 1 });
    return true;
  });
  if (found.length < count) return undefined;
  const model = { changes: pages.changes, heads: new Runs(found), words: new Map<number, WordModel>() };
  tableModels.set(at, model);
  return model;
}

function mapAll({ entries, frames }: Kernel, table: Pfn, { heads, words }: BigTableModel, flags: number): void {
  let known = words.get(flags);
  if (known === undefined) {
    known = entries.tablesLike(1, heads, flags);
    words.set(flags, known);
  }
  entries.setAllLike(table, table + 1, known, 0);
  frames.refs.addLater(heads, 1);
  frames.mapCount.addLater(heads, 1);
}

/** Counts what the faults of the pages count. */
function charge(
  kernel: Kernel,
  payer: Process,
  vma: Vma,
  page: Vpn,
  { faults, pages }: { readonly faults: number; readonly pages: number },
  intent: Intent,
): void {
  const { counters } = kernel;
  counters.minorFaults += faults;
  payer.minorFaults += faults;
  counters.hugeFaults += faults;
  counters.pagesPopulated += pages;
  kernel.events.record(EVENT_FAULT, vma.mm.id, page, pages, -1, FAULT_MINOR, intent === "write" ? 1 : 0);
}
