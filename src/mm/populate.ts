/**
 * Making pages present before anybody touches them, for mlock, MAP_POPULATE and MADV_POPULATE. Each page is touched as a
 * program would touch it, and its faults are charged to whoever asks.
 *
 * @models linux-6.1 mm/gup.c __mm_populate, populate_vma_page_range, faultin_vma_page_range, __get_user_pages
 * @models linux-2.6.11 mm/memory.c make_pages_present, get_user_pages
 */
import { EFAULT, EINVAL, ENOMEM } from "../base/errno.ts";
import type { Pfn, Vpn } from "../base/units.ts";
import { PTE_DIRTY, PTE_PRESENT, PTE_PROT_NONE, PTE_WRITE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { entriesIn } from "./cluster/beside.ts";
import { makePresent } from "./fault.ts";
import { setFrameDirty } from "./file-pages.ts";
import { NO_FRAME, PG_ANON } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { namesPage } from "./pfnmap/pfn-mappings.ts";
import { touchBig } from "./populate-big.ts";
import { settleTables, tryPopulateHoles } from "./populate-holes.ts";
import { filledAfter, type PageRange } from "./populate-shared.ts";
import { tryPopulateTables } from "./populate-tables.ts";
import type { Process, Thread } from "./process.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { flagsOfHuge, headOfHuge, hugeEntryAt } from "./thp/huge-entries.ts";
import { FAULT_OOM, type Intent, isRepaired } from "./verdict.ts";
import {
  isAccessible,
  isCopyOnWrite,
  VM_BIG,
  VM_IO,
  VM_LOCKONFAULT,
  VM_MAYREAD,
  VM_MAYWRITE,
  VM_PFNMAP,
  VM_RAW,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
  type Vma,
} from "./vma.ts";

/** How pages are touched: what for, and whether the area's rights may be overridden. */
export interface Touch {
  readonly intent: Intent;
  readonly rights: "obeyed" | "forced";
}

/** What to do when an area cannot be populated. */
export type OnError = "stop" | "next-area";

/**
 * Makes the mapped pages of `[first, end)` present: 0, or the error of the area that ended it. Holes are passed over.
 * Requires: mmap_sem is not held.
 */
export function* populate(
  kernel: Kernel,
  thread: Thread,
  first: Vpn,
  end: Vpn,
  onError: OnError = "stop",
): Path<number> {
  const { mm } = thread;
  if (!mm.mmapSem.tryRead(thread)) yield* mm.mmapSem.read(thread);
  let result = 0;
  for (let vma = mm.vmas.intersecting(first, end); vma !== null && vma.start < end; vma = vma.above) {
    if ((vma.flags & (VM_IO | VM_PFNMAP)) !== 0) continue;
    const done = yield* populateArea(kernel, thread, vma, Math.max(first, vma.start), Math.min(end, vma.end));
    if (done >= 0 || onError === "next-area") continue;
    result = done;
    break;
  }
  mm.mmapSem.releaseRead(thread);
  return result;
}

/**
 * Makes the pages `[first, end)` of `vma` present: writable private ones by a write, so that they need no copy later.
 * 0 or -ERRNO. Requires: mmap_sem is held.
 */
export function* populateArea(kernel: Kernel, thread: Thread, vma: Vma, first: Vpn, end: Vpn): Path<number> {
  if ((vma.flags & VM_LOCKONFAULT) !== 0) return 0;
  const intent = kernel.personality.pages.populateIntent(vma);
  const rights = isAccessible(vma) ? "forced" : "obeyed";
  return yield* touchPages(kernel, thread.process, vma, first, end, { intent, rights });
}

/** MADV_POPULATE_READ. 0 or -ERRNO. Requires: mmap_sem is held. */
export function* populateForRead(kernel: Kernel, thread: Thread, vma: Vma, first: Vpn, end: Vpn): Path<number> {
  return yield* populateAsAsked(kernel, thread, vma, first, end, { intent: "read", rights: "obeyed" });
}

/** MADV_POPULATE_WRITE. 0 or -ERRNO. Requires: mmap_sem is held. */
export function* populateForWrite(kernel: Kernel, thread: Thread, vma: Vma, first: Vpn, end: Vpn): Path<number> {
  return yield* populateAsAsked(kernel, thread, vma, first, end, { intent: "write", rights: "obeyed" });
}

function* populateAsAsked(kernel: Kernel, thread: Thread, vma: Vma, first: Vpn, end: Vpn, touch: Touch): Path<number> {
  if (!mayTouch(vma, touch)) return -EINVAL;
  return yield* touchPages(kernel, thread.process, vma, first, end, touch);
}

/** Touches each page of `[first, end)`, all within `vma`: 0, -EFAULT or -ENOMEM. */
export function* touchPages(
  kernel: Kernel,
  payer: Process,
  vma: Vma,
  first: Vpn,
  end: Vpn,
  asked: Touch,
): Path<number> {
  if (!mayTouch(vma, asked)) return -EFAULT;
  // Whoever holds mmap_sem for others makes no areas: what is raw stays so until it is written.
  const staysRaw = (vma.flags & VM_RAW) !== 0 && isCopyOnWrite(vma.flags) && kernel.pfnMappings.copies === "to an area";
  const touch: Touch = staysRaw ? { ...asked, intent: "read" } : asked;
  if ((vma.flags & VM_BIG) !== 0) {
    const touched = yield* touchBig(kernel, payer, vma, { first, end }, touch.intent);
    return touched === "touched" ? 0 : touched === "fault" ? -EFAULT : -ENOMEM;
  }
  const { tables } = kernel;
  const span = tables.span(LEAF);
  let filledFrom = end;
  for (let page = first; page < end; page++) {
    if (filledFrom < page && page === tables.endOf(page - 1, LEAF + 1, end)) {
      settleTables(kernel, vma, { page: filledFrom, end: page }, touch.intent);
      filledFrom = end;
    }
    while (page % span === 0 && page + span <= end) {
      const next = tryPopulateTables(kernel, payer, vma, { page, end }, touch.intent);
      if (next === page) break;
      page = next;
    }
    if (page === end) break;
    const holes = tryPopulateHoles(kernel, payer, vma, { page, end }, touch.intent);
    if (holes > 0) {
      filledFrom = Math.min(filledFrom, page - (page % span));
      page += holes - 1;
      continue;
    }
    for (;;) {
      const found = yield* find(kernel, vma, { page, end }, touch);
      if (found > 0) {
        kernel.counters.pagesPopulated += found - 1;
        page += found - 1;
        break;
      }
      if (found === UNTOUCHED && spares(kernel, vma, touch)) break;
      const verdict = yield* makePresent(kernel, payer, vma, page, touch.intent);
      if (!isRepaired(verdict)) return verdict === FAULT_OOM ? -ENOMEM : -EFAULT;
    }
    kernel.counters.pagesPopulated++;
  }
  if (filledFrom < end) settleTables(kernel, vma, { page: filledFrom, end }, touch.intent);
  return 0;
}

/** @models linux-6.1 mm/gup.c check_vma_flags */
function mayTouch(vma: Vma, { intent, rights }: Touch): boolean {
  const { flags } = vma;
  if ((flags & (VM_IO | VM_PFNMAP)) !== 0) return false;
  if (intent === "write") return (flags & VM_WRITE) !== 0 || (rights === "forced" && isCopyOnWrite(flags));
  return (flags & VM_READ) !== 0 || (rights === "forced" && (flags & VM_MAYREAD) !== 0);
}

/** Whether a page that nobody has touched is left alone: reading it would only map zeros. */
const spares = (kernel: Kernel, vma: Vma, { intent }: Touch): boolean =>
  intent === "read" && kernel.personality.pages.sparesZeroPages && vma.file === null;

/** Nobody has touched the page; or it is there, and a fault must make it ready. */
const UNTOUCHED = 0;
const NOT_READY = -1;

/**
 * How many pages from the first one on can be had as they are, as far as is known at once; or UNTOUCHED, or NOT_READY. If one
 * is had for writing, it counts as written.
 *
 * @models linux-6.1 mm/gup.c follow_page_pte, can_follow_write_pte
 */
function* find(kernel: Kernel, vma: Vma, range: PageRange, touch: Touch): Path<number> {
  if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
  const found = findNow(kernel, vma, range, touch);
  unlockTables(kernel, vma.mm);
  return found;
}

/** Requires: page_table_lock is held. */
function findNow(kernel: Kernel, vma: Vma, range: PageRange, touch: Touch): number {
  const { tables, entries, frames } = kernel;
  const { page } = range;
  const table = tables.openLeaf(vma.mm, page);
  if (table === NO_TABLE) return vma.mm.reservedLeaves.length > 0 ? findHuge(kernel, vma, page, touch) : UNTOUCHED;
  const index = tables.indexAt(page, LEAF);
  const flags = entries.flags(table, index);
  const usable = touch.rights === "forced" ? PTE_PRESENT | PTE_PROT_NONE : PTE_PRESENT;
  let there = (flags & usable) !== 0;
  if (there && touch.intent === "write") {
    const isPage = namesPage(kernel, vma, page, table, index);
    const head = isPage ? frames.head(entries.frame(table, index)) : NO_FRAME;
    if (tables.shared.find(table)?.readOnly === true) there = false;
    else if ((flags & PTE_WRITE) === 0) {
      const mayWrite = touch.rights === "forced" && isPage;
      there = mayWrite && mayWriteAnyway(kernel, vma, head, entriesIn(kernel, vma, page, table, head));
    }
    if (there && (flags & PTE_DIRTY) === 0 && vma.file?.raw == null) setFrameDirty(kernel, vma.file, head);
  }
  const more = there && tables.shared.exist ? filledAfter(kernel, vma, range, table, touch.intent) : 0;
  tables.close(table);
  tables.reopened(table, more);
  if (there) return 1 + more;
  return flags === 0 ? UNTOUCHED : NOT_READY;
}

/**
 * The same where a large entry may be.
 *
 * @models linux-6.1 mm/huge_memory.c follow_trans_huge_pmd, can_follow_write_pmd
 */
function findHuge(kernel: Kernel, vma: Vma, page: Vpn, touch: Touch): number {
  const entry = hugeEntryAt(kernel, vma.mm, page);
  if (entry === null) return UNTOUCHED;
  const flags = flagsOfHuge(kernel, entry);
  const usable = touch.rights === "forced" ? PTE_PRESENT | PTE_PROT_NONE : PTE_PRESENT;
  if ((flags & usable) === 0) return NOT_READY;
  if (touch.intent === "read" || (flags & PTE_WRITE) !== 0) return 1;
  return touch.rights === "forced" && mayWriteAnyway(kernel, vma, headOfHuge(kernel, entry), 1) ? 1 : NOT_READY;
}

/** A forced write to an area that forbids writes needs a page that nobody shares, but not a writable entry. */
function mayWriteAnyway(kernel: Kernel, vma: Vma, head: Pfn, own: number): boolean {
  if ((vma.flags & (VM_SHARED | VM_MAYWRITE | VM_WRITE)) !== VM_MAYWRITE) return false;
  const { frames, personality } = kernel;
  return frames.has(head, PG_ANON) && personality.pages.isOwn(frames, head, own);
}
