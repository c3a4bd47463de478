/**
 * Taking pages out of a nonlinear area. Which page an entry maps is no function of its place, so every entry is read, and
 * each page asked for its index; an entry that loses a page which is not the linear one remembers it, so that an access
 * comes back to the same page, or to a bus error if the file has it no longer.
 *
 * Costs a read of all that the area has mapped, whatever goes: O(entries of the area) for each truncation.
 *
 * @models linux-2.6.11 mm/memory.c zap_pte_range (details->nonlinear_vma), unmap_mapping_range_list
 */
import type { FileIndex, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { EVENT_ZAP } from "../events.ts";
import type { FileObject } from "../file.ts";
import { untilStill } from "../file-mappings.ts";
import type { Kernel } from "../kernel.ts";
import { unmapFrame } from "../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import { gatherEmptied } from "../tables/emptied.ts";
import { Gather } from "../tlb/gather.ts";
import type { Vma } from "../vma.ts";
import { passOn } from "../zap.ts";
import { clearFilePage } from "./file-entries.ts";

/** Places in an area, and which pages of its file go if they are there. */
export interface Search {
  readonly first: Vpn;
  readonly end: Vpn;
  readonly firstIndex: FileIndex;
  readonly endIndex: FileIndex;
}

/** The pages of `[firstIndex, endIndex)` go, wherever a nonlinear area of the file has them. */
export function* searchNonlinear(
  kernel: Kernel,
  file: FileObject,
  firstIndex: FileIndex,
  endIndex: FileIndex,
): Path<void> {
  const { mappings } = file;
  yield* untilStill(mappings, function* () {
    for (const vma of [...mappings.nonlinear]) {
      const search = { first: vma.start, end: vma.end, firstIndex, endIndex };
      yield* searchArea(kernel, file, vma, search);
    }
  });
}

/** The same in one area, as long as it maps the file. */
export function* searchArea(kernel: Kernel, file: FileObject, vma: Vma, search: Search): Path<void> {
  const gather = new Gather(kernel, vma.mm);
  vma.mm.notePeaks();
  yield* zapFound(kernel, gather, vma, search, () => file.mappings.has(vma));
  yield* gather.flush();
}

/** Whatever is in `[first, end)` of the area goes, and is remembered. Requires: mmap_sem is held. */
export function* discardNonlinear(kernel: Kernel, gather: Gather, vma: Vma, first: Vpn, end: Vpn): Path<void> {
  const search = { first, end, firstIndex: 0, endIndex: Number.POSITIVE_INFINITY };
  yield* zapFound(kernel, gather, vma, search, () => true);
}

/** Clears what it finds, leaf table by leaf table; `isThere` says, under each lock, whether the area is still what it was. */
function* zapFound(kernel: Kernel, gather: Gather, vma: Vma, search: Search, isThere: () => boolean): Path<void> {
  const { mm } = vma;
  const { end } = search;
  let page = search.first;
  while (page < end) {
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    page = isThere() ? zapNextLeaf(kernel, gather, vma, { ...search, first: page }) : end;
    unlockTables(kernel, mm);
    if (gather.isFull) yield* gather.flush();
  }
}

/** Clears what it finds in the next leaf table of the area; returns the page after the last that it has looked at. */
function zapNextLeaf(kernel: Kernel, gather: Gather, vma: Vma, search: Search): Vpn {
  const { tables } = kernel;
  const end = Math.min(search.end, vma.end);
  const first = tables.nextLeaf(vma.mm, Math.max(search.first, vma.start), end);
  if (first >= end) return search.end;
  const table = tables.openLeaf(vma.mm, first);
  if (table === NO_TABLE) return search.end;
  const stop = tables.endOf(first, LEAF, end);
  const done = zapLeaf(kernel, gather, vma, table, { ...search, first, end: stop });
  tables.close(table);
  gatherEmptied(kernel, gather, first);
  return done < end ? done : search.end;
}

/** Until the range or the gather's room ends; returns the page after the last. Requires: page_table_lock is held. */
function zapLeaf(kernel: Kernel, gather: Gather, vma: Vma, table: OpenTable, search: Search): Vpn {
  const { entries, frames, counters } = kernel;
  const { firstIndex, endIndex } = search;
  let at = kernel.tables.indexAt(search.first, LEAF);
  let page = search.first;
  let zapped = 0;
  for (; page < search.end && !gather.isFull; page++, at++) {
    counters.nonlinearEntriesRead++;
    const flags = entries.flags(table, at);
    if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) continue;
    const frame = entries.frame(table, at);
    const head = frames.head(frame);
    const index = frames.indexOf(frame);
    if (index < firstIndex || index >= endIndex) continue;
    passOn(kernel, vma, head, flags);
    clearFilePage(kernel, table, at, vma, page, frame);
    unmapFrame(kernel, vma, frame, entries.slotOf(table, at));
    gather.add(head);
    gather.cover(page, page + 1);
    zapped++;
  }
  counters.nonlinearPagesZapped += zapped;
  counters.ptesZapped += zapped;
  if (zapped > 0) kernel.events.record(EVENT_ZAP, vma.mm.id, search.first, zapped, -1, 0, 0);
  return page;
}
