/**
 * Mapping pages of a file wherever they are wanted: what remap_file_pages does for each page, and a fault on a file entry
 * for one.
 *
 *     find the page (may read it) -> PG_locked -> let the reverse map know -> page_table_lock
 *         -> still the file's? -> what was there goes, TLBs are flushed -> the new entry
 *
 * @models linux-2.6.11 mm/fremap.c install_page, install_file_pte; mm/filemap.c filemap_populate; mm/shmem.c shmem_populate
 * @differs the page stays locked until it is mapped; readahead is a fault's, not one for the whole range
 */

import { EINVAL, ENOMEM } from "../../base/errno.ts";
import type { FileIndex, Pfn, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_FILE, PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { MEMORY } from "../address-space.ts";
import { filePage, type PageRequest, readyPage } from "../file-pages.ts";
import { NO_FRAME } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { entryFlags, mapShared, unmapFrame, waitToMap } from "../mapped-frame.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { lockPage, unlockPage } from "../page-lock.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { lockTables, unlockTables } from "../table-lock.ts";
import { lockOwnTable } from "../tables/sharing/unshare.ts";
import { BUS_ADRERR, FAULT_MAJOR, FAULT_MINOR, FAULT_OOM, type Verdict } from "../verdict.ts";
import type { Vma } from "../vma.ts";
import { passOn } from "../zap.ts";
import type { FoundPage } from "./truncation.ts";

/** Pages of a file, and where they are wanted. */
export interface Run {
  readonly page: Vpn;
  readonly pages: number;
  readonly index: FileIndex;
}

/** What becomes of a place whose page is not in the cache: it is read; it is left to a fault; the place stays as it is. */
export type Uncached = "read" | "remember" | "leave";

/** Maps the run's pages: 0, or what ended it, -EINVAL beyond the file's end. Requires: mmap_sem is held. */
export function* populateRun(kernel: Kernel, vma: Vma, run: Run, uncached: Uncached): Path<number> {
  const file = vma.file!;
  const last = run.index + run.pages;
  for (let at = 0; at < run.pages; at++) {
    if (last > file.endIndex) return -EINVAL;
    const place: Place = { vma, page: run.page + at, index: run.index + at };
    const result = yield* populatePage(kernel, place, uncached);
    if (result < 0) return result;
  }
  return 0;
}

/**
 * A fault on a file entry. It counts as a major one, whether it had to read or not.
 *
 * @models linux-2.6.11 mm/memory.c do_file_page
 * @differs what has become of the entry is looked at once more before it is replaced
 */
export function* faultOnFileEntry(kernel: Kernel, vma: Vma, page: Vpn): Path<Verdict> {
  yield* lockTables(kernel, vma.mm);
  const index = rememberedAt(kernel, vma, page);
  unlockTables(kernel, vma.mm);
  if (index === NOTHING) return FAULT_MINOR;
  const result = yield* bringIn(kernel, { vma, page, index, onlyIf: "remembered" });
  if (result >= 0) return FAULT_MAJOR;
  return result === -ENOMEM ? FAULT_OOM : BUS_ADRERR;
}

/** Where a page of the area's file is wanted. */
interface Place {
  readonly vma: Vma;
  readonly page: Vpn;
  readonly index: FileIndex;
  /** Left out: whatever is there goes. */
  readonly onlyIf?: "remembered";
}

function* populatePage(kernel: Kernel, place: Place, uncached: Uncached): Path<number> {
  const { vma, index } = place;
  if (uncached === "read" || readyPage(kernel, vma.file!, index) !== NOT_CACHED) return yield* bringIn(kernel, place);
  return uncached === "leave" ? 0 : yield* put(kernel, place, null);
}

/** Maps the page that belongs at the place, reading it if need be: 0 or -ERRNO. */
function* bringIn(kernel: Kernel, place: Place): Path<number> {
  const { frames, allocator, reverseMap } = kernel;
  const { vma, page, index } = place;
  const file = vma.file!;
  const { truncations } = file;
  const request: PageRequest = { areaFlags: vma.flags, major: false };
  const frame = yield* filePage(kernel, file, index, request);
  kernel.current.task.watch?.touch(MEMORY, "read");
  if (frame < 0) return frame;
  const head = frames.head(frame);
  frames.addReference(head);
  yield* lockPage(kernel, head);
  let result = index === vma.indexAt(page) ? 0 : yield* reverseMap.admitNonlinear(kernel, head);
  if (result >= 0) result = yield* put(kernel, place, { index, frame, truncations });
  unlockPage(kernel, head);
  allocator.release(head);
  return result;
}

/** Puts the page at the place, or (null) the memory of it. 0, -EINVAL if it has left the file, or -ENOMEM. */
function* put(kernel: Kernel, place: Place, found: FoundPage | null): Path<number> {
  for (let failures = 1; ; failures++) {
    const result = yield* putOnce(kernel, place, found);
    if (result <= 0) return result;
    const isThere =
      result === NEEDS_CHAIN ? yield* waitToMap(kernel, failures) : yield* kernel.allocator.waitForMemory(failures);
    if (!isThere) return -ENOMEM;
  }
}

/** The place is there, and does not have yet what it shall have. */
const TO_BE_WRITTEN = 1;
/** There is no memory for a page table, or for the reverse map. */
const NEEDS_TABLE = 2;
const NEEDS_CHAIN = 3;

/** The same with what memory there is: 0, -EINVAL, or what is missing. */
function* putOnce(kernel: Kernel, place: Place, found: FoundPage | null): Path<number> {
  const { tlbFlush, allocator, frames } = kernel;
  const { mm } = place.vma;
  if ((yield* lockOwnTable(kernel, mm, place.page)) < 0) return -ENOMEM;
  let result = check(kernel, place, found);
  if (result === TO_BE_WRITTEN) {
    const old = evict(kernel, place);
    if (tlbFlush.owes) yield* tlbFlush.settle();
    result = write(kernel, place, found);
    if (old !== NO_FRAME) allocator.release(frames.head(old));
  }
  unlockTables(kernel, mm);
  return result;
}

/** TO_BE_WRITTEN, NEEDS_TABLE, 0 if there is nothing to do, or -EINVAL. From here on page_table_lock is required. */
function check(kernel: Kernel, { vma, page, index, onlyIf }: Place, found: FoundPage | null): number {
  if (found !== null && !kernel.nonlinear.truncation.mayMap(vma.file!, found)) return -EINVAL;
  if (kernel.tables.tryEnsureLeaf(vma.mm, page) === NO_TABLE) return NEEDS_TABLE;
  if (onlyIf === "remembered" && rememberedAt(kernel, vma, page) !== index) return 0;
  return found !== null && frameAt(kernel, vma, page) === found.frame ? 0 : TO_BE_WRITTEN;
}

/** Clears the place; the frame that it mapped, whose reference is the caller's once TLBs are flushed, or NO_FRAME. */
function evict(kernel: Kernel, { vma, page }: Place): Pfn {
  const { tables, entries, frames } = kernel;
  const table = tables.openLeaf(vma.mm, page) as OpenTable;
  const at = tables.indexAt(page, LEAF);
  const flags = entries.flags(table, at);
  const old = (flags & MAPS) === 0 ? NO_FRAME : entries.frame(table, at);
  entries.clear(table, at);
  if (old !== NO_FRAME) {
    passOn(kernel, vma, frames.head(old), flags);
    unmapFrame(kernel, vma, old, entries.slotOf(table, at));
    kernel.tlbFlush.page(vma.mm, page);
  }
  tables.close(table);
  return old;
}

/** Fills the place, which is none. If the reverse map has no memory the place remembers its page. */
function write(kernel: Kernel, { vma, page, index }: Place, found: FoundPage | null): number {
  const { tables, entries, counters } = kernel;
  const table = tables.openLeaf(vma.mm, page) as OpenTable;
  const at = tables.indexAt(page, LEAF);
  const isMapped = found !== null && mapShared(kernel, vma, found.frame, entries.slotOf(table, at)) >= 0;
  if (isMapped) {
    entries.set(table, at, found.frame, entryFlags(kernel, vma));
    counters.nonlinearPagesInstalled++;
  } else {
    entries.setFile(table, at, index);
    counters.fileEntriesWritten++;
  }
  tables.close(table);
  return isMapped || found === null ? 0 : NEEDS_CHAIN;
}

const MAPS = PTE_PRESENT | PTE_PROT_NONE;
/** The place remembers no page. */
const NOTHING = -1;

/** The index that the file entry of `page` names, or NOTHING. */
function rememberedAt(kernel: Kernel, vma: Vma, page: Vpn): FileIndex {
  return look(kernel, vma, page, (table, at) =>
    kernel.entries.flags(table, at) === PTE_FILE ? kernel.entries.fileIndex(table, at) : NOTHING,
  );
}

/** The frame that the entry of `page` maps, or NO_FRAME. */
function frameAt(kernel: Kernel, vma: Vma, page: Vpn): Pfn {
  return look(kernel, vma, page, (table, at) =>
    (kernel.entries.flags(table, at) & MAPS) !== 0 ? kernel.entries.frame(table, at) : NO_FRAME,
  );
}

/** What `read` finds in the entry of `page`; -1 if that has no table. */
function look(kernel: Kernel, vma: Vma, page: Vpn, read: (table: OpenTable, at: number) => number): number {
  const { tables } = kernel;
  const table = tables.openLeaf(vma.mm, page);
  if (table === NO_TABLE) return -1;
  const found = read(table, tables.indexAt(page, LEAF));
  tables.close(table);
  return found;
}
