/**
 * First touch of a page of a mapped file. A read maps the cached page, and with it those around it that are cached too;
 * a write through a shared mapping maps it writable; a write through a private one copies it at once, so that no second
 * fault is needed.
 *
 * @models linux-6.1 mm/memory.c do_read_fault, do_cow_fault, do_shared_fault, do_fault_around; mm/filemap.c filemap_map_pages
 * @models linux-2.6.11 mm/memory.c do_no_page
 */
import { ENOMEM } from "../base/errno.ts";
import type { FileIndex, Pfn, Vpn } from "../base/units.ts";
import { type OpenTable, PTE_DIRTY, PTE_WRITE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { MEMORY } from "./address-space.ts";
import { anonVmaPrepare } from "./anon-vma.ts";
import { writtenEntry } from "./anonymous-fault.ts";
import { anonymousFrame } from "./cluster/beside.ts";
import { mapWholeAnonymous, mapWholeShared, setWhole } from "./cluster/whole.ts";
import type { FileObject } from "./file.ts";
import { cachedPages, filePage, type PageRequest, setFrameDirty } from "./file-pages.ts";
import { NO_FRAME } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { entryFlags, mapShared, tryUserFrame } from "./mapped-frame.ts";
import type { FoundPage } from "./nonlinear/truncation.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { copyMissing, isNone } from "./pfnmap/raw-fault.ts";
import { isAttached } from "./shm/segments.ts";
import { lockTables, unlockTables } from "./table-lock.ts";
import { lockShared, unlockShared } from "./tables/sharing/shared-lock.ts";
import {
  BUS_ADRERR,
  FAULT_MAJOR,
  FAULT_MINOR,
  FAULT_OOM,
  type Intent,
  isRepaired,
  NEEDS_AREA,
  NEEDS_FILE,
  NEEDS_MEMORY,
  type Verdict,
} from "./verdict.ts";
import { VM_SHARED, type Vma } from "./vma.ts";

/** NEEDS_MEMORY if a table or a copy is missing, NEEDS_AREA if the area is one of copies. Requires: the entry of `page` is none, or its leaf table is missing. */
export function* fileFault(kernel: Kernel, vma: Vma, file: FileObject, page: Vpn, intent: Intent): Path<Verdict> {
  if (file.raw !== null) return yield* copyFault(kernel, vma, page, intent);
  const level = kernel.personality.pages.firstTables;
  if (kernel.tables.tryEnsure(vma.mm, page, level) === NO_TABLE) return NEEDS_MEMORY;
  if (intent === "read") return yield* readFault(kernel, vma, file, page);
  return (vma.flags & VM_SHARED) !== 0
    ? yield* sharedWriteFault(kernel, vma, file, page)
    : yield* privateWriteFault(kernel, vma, file, page);
}

/** In an area of copies, of memory without struct pages: one that was lost is made again for a write, and not for a read. */
function* copyFault(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Path<Verdict> {
  if (intent === "read") return NEEDS_AREA;
  yield* lockTables(kernel, vma.mm);
  const verdict = isNone(kernel, vma, page) ? copyMissing(kernel, vma, page) : FAULT_MINOR;
  unlockTables(kernel, vma.mm);
  return verdict;
}

function* readFault(kernel: Kernel, vma: Vma, file: FileObject, page: Vpn): Path<Verdict> {
  const window = Math.max(kernel.personality.pages.faultAroundPages(kernel.tunables), kernel.frames.softFrames);
  yield* lockTables(kernel, vma.mm);
  const shared = kernel.tables.shared.exist ? yield* lockShared(kernel, vma.mm, page) : null;
  const mapped = mapAround(kernel, vma, file, page, window);
  if (shared !== null) unlockShared(kernel, shared);
  unlockTables(kernel, vma.mm);
  const verdict = mapped ? FAULT_MINOR : yield* findAndMap(kernel, vma, file, page, entryFlags(kernel, vma));
  if (verdict >= 0 && isRepaired(verdict)) kernel.counters.fileReadFaults++;
  return verdict;
}

function* sharedWriteFault(kernel: Kernel, vma: Vma, file: FileObject, page: Vpn): Path<Verdict> {
  const verdict = yield* findAndMap(kernel, vma, file, page, entryFlags(kernel, vma) | PTE_DIRTY | PTE_WRITE);
  if (verdict >= 0 && isRepaired(verdict)) kernel.counters.sharedWriteFaults++;
  return verdict;
}

/** Maps the file's page; one that may be written from now on is dirty. */
function* findAndMap(kernel: Kernel, vma: Vma, file: FileObject, page: Vpn, flags: number): Path<Verdict> {
  const request: PageRequest = { areaFlags: vma.flags, major: false };
  const found = yield* findPage(kernel, file, vma.indexAt(page), request);
  if (typeof found === "number") return failure(found);
  const verdict = yield* mapPage(kernel, vma, page, found, flags, request);
  const isMapped = verdict >= 0 && isRepaired(verdict);
  const head = kernel.frames.head(found.frame);
  if (isMapped && (flags & PTE_DIRTY) !== 0) setFrameDirty(kernel, file, head);
  if (isMapped && kernel.frames.softFrames > 1) {
    yield* lockTables(kernel, vma.mm);
    mapAround(kernel, vma, file, page, kernel.frames.softFrames);
    unlockTables(kernel, vma.mm);
  }
  kernel.allocator.release(head);
  return verdict;
}

function* privateWriteFault(kernel: Kernel, vma: Vma, file: FileObject, page: Vpn): Path<Verdict> {
  const { counters, allocator, contents, frames, layout } = kernel;
  if (anonVmaPrepare(kernel, vma) < 0) return NEEDS_MEMORY;
  const copy = yield* frameForCopy(kernel, vma, page);
  if (copy === NO_FRAME) return NEEDS_MEMORY;
  const head = frames.head(copy);
  let others = 0;
  const request: PageRequest = { areaFlags: vma.flags, major: false };
  const found = yield* findPage(kernel, file, vma.indexAt(page), request);
  let verdict: Verdict;
  if (typeof found === "number") verdict = failure(found);
  else {
    for (let part = 0; part < layout.userPages; part++) contents.copy(found.frame + part, copy + part);
    yield* lockTables(kernel, vma.mm);
    others = frames.mapCount.read(head);
    verdict = mayMap(kernel, file, found) ? mapCopy(kernel, vma, page, copy) : NEEDS_FILE;
    unlockTables(kernel, vma.mm);
    allocator.release(frames.head(found.frame));
  }
  if (verdict !== FAULT_MINOR || frames.mapCount.read(head) === others) {
    allocator.release(head);
    return verdict;
  }
  counters.pagesCopied += layout.userPages;
  counters.privateFileFaults++;
  return request.major ? FAULT_MAJOR : FAULT_MINOR;
}

/** A frame for a copy, which may be part of a soft page that the area has already; or NO_FRAME. */
function* frameForCopy(kernel: Kernel, vma: Vma, page: Vpn): Path<Pfn> {
  if (kernel.frames.softFrames === 1) return tryUserFrame(kernel);
  yield* lockTables(kernel, vma.mm);
  const frame = anonymousFrame(kernel, vma, page);
  unlockTables(kernel, vma.mm);
  return frame;
}

/** The file's page, brought in if need be, with a reference for the fault; or -ERRNO. It may leave the file any time. */
function* findPage(kernel: Kernel, file: FileObject, index: FileIndex, request: PageRequest): Path<FoundPage | number> {
  const { truncations } = file;
  const frame = yield* filePage(kernel, file, index, request);
  kernel.current.task.watch?.touch(MEMORY, "read");
  if (frame < 0) return frame;
  kernel.frames.addReference(kernel.frames.head(frame));
  return { index, frame, truncations };
}

const failure = (result: number): Verdict => (result === -ENOMEM ? FAULT_OOM : BUS_ADRERR);

/** Whether truncation has left the page where it was found; if not, the fault starts over with what the file is now. */
const mayMap = (kernel: Kernel, file: FileObject, found: FoundPage): boolean =>
  kernel.nonlinear.truncation.mayMap(file, found);

/** Maps a page of the file, unless somebody else has meanwhile. The leaf table comes last: a fault that fails leaves none. */
function* mapPage(
  kernel: Kernel,
  vma: Vma,
  page: Vpn,
  found: FoundPage,
  flags: number,
  request: PageRequest,
): Path<Verdict> {
  yield* lockTables(kernel, vma.mm);
  const shared = kernel.tables.shared.exist ? yield* lockShared(kernel, vma.mm, page) : null;
  const isThere = mayMap(kernel, vma.file!, found);
  const verdict = isThere ? mapIfNone(kernel, vma, page, found.frame, flags, request) : NEEDS_FILE;
  if (shared !== null) unlockShared(kernel, shared);
  unlockTables(kernel, vma.mm);
  return verdict;
}

function mapIfNone(kernel: Kernel, vma: Vma, page: Vpn, frame: Pfn, flags: number, request: PageRequest): Verdict {
  const { tables, entries } = kernel;
  const leaf = tables.tryEnsureLeaf(vma.mm, page);
  if (leaf === NO_TABLE) return NEEDS_MEMORY;
  const index = tables.indexAt(page, LEAF);
  const table = tables.open(leaf);
  let verdict = request.major ? FAULT_MAJOR : FAULT_MINOR;
  if (entries.flags(table, index) === 0) {
    if (mapWholeShared(kernel, vma, frame, entries.slotOf(table, index)) < 0) verdict = NEEDS_MEMORY;
    else setWhole(kernel, table, index, frame, flags);
  }
  tables.close(table);
  return verdict;
}

/** Maps a private copy, unless somebody else has repaired the page meanwhile: then the copy stays unmapped. */
function mapCopy(kernel: Kernel, vma: Vma, page: Vpn, copy: Pfn): Verdict {
  const { tables, entries } = kernel;
  const leaf = tables.tryEnsureLeaf(vma.mm, page);
  if (leaf === NO_TABLE) return NEEDS_MEMORY;
  const index = tables.indexAt(page, LEAF);
  const table = tables.open(leaf);
  let verdict = FAULT_MINOR;
  if (entries.flags(table, index) === 0) {
    if (mapWholeAnonymous(kernel, vma, page, copy, entries.slotOf(table, index)) < 0) verdict = NEEDS_MEMORY;
    else setWhole(kernel, table, index, copy, writtenEntry(kernel, vma));
  }
  tables.close(table);
  return verdict;
}

/**
 * Maps the cached pages of the aligned window around `page`, as far as they lie in the area, in the leaf table and in
 * the file. True if `page` was among them. The window holds soft pages whole, where these have several parts.
 */
function mapAround(kernel: Kernel, vma: Vma, file: FileObject, page: Vpn, window: number): boolean {
  const { tables, entries, frames, counters } = kernel;
  // Segments have no map_pages.
  if (window <= 1 || isAttached(vma)) return false;
  const leafSpan = tables.span(LEAF);
  const leafStart = page - (page % leafSpan);
  const aligned = page - ((frames.softFrames === 1 ? page : vma.indexAt(page)) % window);
  const first = Math.max(aligned, leafStart, vma.start);
  const end = Math.min(frames.softFrames === 1 ? first + window : aligned + window, leafStart + leafSpan, vma.end);

  const flags = entryFlags(kernel, vma);
  let table: OpenTable | typeof NO_TABLE = NO_TABLE;
  let mapped = false;
  cachedPages(kernel, file, vma.indexAt(first), vma.indexAt(end), (fileIndex, frame) => {
    if (table === NO_TABLE) {
      if (tables.tryEnsureLeaf(vma.mm, page) === NO_TABLE) return false;
      table = tables.openLeaf(vma.mm, page) as OpenTable;
    }
    const at = vma.start + (fileIndex - vma.fileIndex);
    const index = tables.indexAt(at, LEAF);
    if (entries.flags(table, index) !== 0) return true;
    if (mapShared(kernel, vma, frame, entries.slotOf(table, index)) < 0) return false;
    entries.set(table, index, frame, flags);
    if (at === page) mapped = true;
    else counters.faultAroundPages++;
    return true;
  });
  if (table !== NO_TABLE) tables.close(table);
  return mapped;
}
