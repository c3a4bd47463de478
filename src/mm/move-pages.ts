/**
 * Moving the entries of one area to another place (mremap): no page is copied and no count changes, except that of page
 * tables. Where both places are aligned, a kernel may hang a whole table elsewhere instead of moving what is in it.
 *
 * @models linux-6.1 mm/mremap.c move_page_tables, move_ptes, move_normal_pmd, move_normal_pud
 * @models linux-2.6.11 mm/mremap.c move_page_tables, move_one_page
 */
import { ENOMEM } from "../base/errno.ts";
import { bug } from "../base/errors.ts";
import type { Vpn } from "../base/units.ts";
import { type OpenTable, PTE_PRESENT, PTE_PROT_NONE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { AddressSpace } from "./address-space.ts";
import { EVENT_MOVE } from "./events.ts";
import type { Kernel } from "./kernel.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { moveRawEntry } from "./pfnmap/raw-entries.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { gatherEmptied } from "./tables/emptied.ts";
import { moveHuge, splitUnmovable } from "./thp/huge-areas.ts";
import { Gather } from "./tlb/gather.ts";
import { VM_BIG, VM_RAW, type Vma } from "./vma.ts";

/** A step of a move: from where, to where, and how many pages. */
interface Step {
  readonly from: Vpn;
  readonly to: Vpn;
  readonly pages: number;
  /** The area that the pages come from, if what it maps may have no struct pages. */
  readonly raw: Vma | null;
}

/**
 * Moves the entries of `pages` pages from `fromPage`, in `from`, to `toPage`, in `to`. Returns for how many pages that
 * is done: fewer if there is no memory for page tables.
 */
export function* movePages(
  kernel: Kernel,
  from: Vma,
  fromPage: Vpn,
  to: Vma,
  toPage: Vpn,
  pages: number,
): Path<number> {
  if ((from.flags & VM_BIG) !== 0) return yield* kernel.bigPages.move(kernel, from, fromPage, to, toPage, pages);
  const { mm } = from;
  if (to.mm !== mm) bug("entries move within one address space");
  const gather = new Gather(kernel, mm);
  if (mm.reservedLeaves.length > 0) yield* splitUnmovable(kernel, mm, { from: fromPage, to: toPage, pages });
  const before =
    kernel.personality.pages.moves === "realigned-tables" ? emptyBefore(kernel, from, fromPage, to, toPage, pages) : 0;
  const raw = (from.flags & VM_RAW) === 0 ? null : from;
  let done = -before;
  while (done < pages) {
    const left = { from: fromPage + done, to: toPage + done, pages: pages - done, raw };
    const moved = yield* moveSome(kernel, gather, mm, left);
    if (moved < 0) break;
    from.file?.mappings.spread();
    done += moved;
  }
  yield* gather.flush();
  return Math.max(0, done);
}

/**
 * How many pages lie before both places in their leaf tables, if nothing is mapped there and the move goes to the end
 * of the table: then the whole table can move, and 0 otherwise.
 *
 * @models linux-6.18 mm/mremap.c can_realign_addr
 */
function emptyBefore(kernel: Kernel, from: Vma, fromPage: Vpn, to: Vma, toPage: Vpn, pages: number): number {
  const span = kernel.tables.span(LEAF);
  const before = fromPage % span;
  if (before !== toPage % span || pages < span - before) return 0;
  return isAlone(from, fromPage, before) && isAlone(to, toPage, before) ? before : 0;
}

/** Whether `vma` starts at `page`, and nothing lies in the pages before. */
const isAlone = (vma: Vma, page: Vpn, before: number): boolean =>
  vma.start === page && vma.mm.vmas.intersecting(page - before, page) === null;

/** Moves the first part of what is left, or skips it if nothing is there; the pages dealt with, or -ENOMEM. */
function* moveSome(kernel: Kernel, gather: Gather, mm: AddressSpace, left: Step): Path<number> {
  const { tables, reverseMap } = kernel;
  const wholeTables = kernel.personality.pages.moves !== "entries";
  // An entry of the table at `level` covers what a table of `level - 1` spans.
  for (let level = Math.min(3, tables.levels); level > LEAF; level--) {
    const pages = extent(tables.span(level - 1), left);
    const source = tables.tableAt(mm, left.from, level);
    if (source === NO_TABLE) return pages;
    const table = tables.below(source, tables.indexAt(left.from, level));
    if (table === NO_TABLE && level === LEAF + 1 && mm.reservedLeaves.length > 0) {
      const moved = yield* moveHuge(kernel, gather, mm, left);
      if (moved !== "small") return moved;
      if (tables.below(source, tables.indexAt(left.from, level)) === NO_TABLE) return pages;
    } else if (table === NO_TABLE) return pages;
    if (!wholeTables) continue;
    const target = yield* tables.ensure(mm, left.to, level);
    if (target < 0) return target;
    if (pages !== tables.span(level - 1)) continue;
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    const isMoved = moveTable(kernel, gather, mm, { ...left, pages }, level);
    yield* gather.flushLocked();
    unlockTables(kernel, mm);
    if (isMoved) return pages;
  }
  const step = { ...left, pages: extent(tables.span(LEAF), left) };
  if (!wholeTables && !(yield* hasEntries(kernel, mm, step))) return step.pages;
  const target = yield* tables.ensure(mm, step.to, LEAF);
  if (target < 0) return target;
  for (let failures = 1; reverseMap.reserveMoves(step.pages) < 0; failures++) {
    reverseMap.moved();
    if (!(yield* kernel.allocator.waitForMemory(failures))) return -ENOMEM;
  }
  if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
  // Until the lock was had the target could go again, if tables go when they are empty.
  const isThere = tables.tableAt(mm, step.to, LEAF) !== NO_TABLE;
  if (isThere) moveEntries(kernel, gather, mm, step);
  reverseMap.moved();
  yield* gather.flushLocked();
  unlockTables(kernel, mm);
  return isThere ? step.pages : 0;
}

/** How far a step goes that leaves neither the entry of `span` pages that it comes from nor the one that it goes to. */
function extent(span: number, { from, to, pages }: Step): number {
  return Math.min(pages, span - (from % span), span - (to % span));
}

/** Hangs the table below an entry of `level` elsewhere. False if the place is taken. */
function moveTable(kernel: Kernel, gather: Gather, mm: AddressSpace, step: Step, level: number): boolean {
  const { tables } = kernel;
  const source = tables.tableAt(mm, step.from, level);
  const fromIndex = tables.indexAt(step.from, level);
  // Until the lock was had it could go, if tables go when they are empty: then there is nothing to move.
  if (tables.below(source, fromIndex) === NO_TABLE) return true;
  const target = tables.tableAt(mm, step.to, level);
  const toIndex = tables.indexAt(step.to, level);
  if (tables.below(target, toIndex) !== NO_TABLE) return false;
  const table = tables.unhang(mm, source, level, fromIndex);
  tables.hang(mm, target, level, toIndex, table);
  tables.moved(table, level - 1, step.to);
  gather.cover(step.from, step.from + step.pages);
  kernel.counters.tablesMoved++;
  kernel.events.record(EVENT_MOVE, mm.id, step.from, step.pages, table, 0, level);
  return true;
}

function* hasEntries(kernel: Kernel, mm: AddressSpace, step: Step): Path<boolean> {
  const { tables, entries } = kernel;
  if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
  const table = tables.openLeaf(mm, step.from);
  let found = false;
  if (table !== NO_TABLE) {
    const index = tables.indexAt(step.from, LEAF);
    for (let i = 0; i < step.pages && !found; i++) found = entries.flags(table, index + i) !== 0;
    tables.close(table);
  }
  unlockTables(kernel, mm);
  return found;
}

/** The target's leaf table is there, and the step stays within each. */
function moveEntries(kernel: Kernel, gather: Gather, mm: AddressSpace, step: Step): void {
  const { tables, counters } = kernel;
  const from = tables.tableAt(mm, step.from, LEAF);
  if (from === NO_TABLE) return;
  const source = tables.openSecond(from);
  const target = tables.open(tables.tableAt(mm, step.to, LEAF));
  const fromIndex = tables.indexAt(step.from, LEAF);
  const toIndex = tables.indexAt(step.to, LEAF);
  let moved = 0;
  for (let i = 0; i < step.pages; i++) {
    const isMoved =
      step.raw === null
        ? moveEntry(kernel, source, fromIndex + i, target, toIndex + i)
        : moveRawEntry(kernel, step.raw, step.from + i, [source, fromIndex + i], [target, toIndex + i]);
    if (!isMoved) continue;
    gather.cover(step.from + i, step.from + i + 1);
    moved++;
  }
  tables.close(target);
  tables.closeSecond(source);
  gatherEmptied(kernel, gather, step.from);
  counters.ptesMoved += moved;
  if (moved > 0) kernel.events.record(EVENT_MOVE, mm.id, step.from, moved, -1, 0, LEAF);
}

/** Moves one entry, whatever it says. False if there is none. */
function moveEntry(kernel: Kernel, source: OpenTable, from: number, target: OpenTable, to: number): boolean {
  const { entries, reverseMap, zeroFrame } = kernel;
  const flags = entries.flags(source, from);
  if (flags === 0) return false;
  if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) {
    entries.copy(source, from, target, to);
    entries.clear(source, from);
    return true;
  }
  const frame = entries.frame(source, from);
  entries.clear(source, from);
  entries.set(target, to, frame, flags);
  if (frame !== zeroFrame) reverseMap.move(frame, entries.slotOf(source, from), entries.slotOf(target, to));
  return true;
}
