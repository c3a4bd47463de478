/**
 * Writes to pages that are mapped read-only. Either the page is nobody else's and becomes writable in place, or the
 * file is told that its page is being written, or the writer gets a copy of its own.
 *
 * @models linux-6.1 mm/memory.c do_wp_page, wp_page_copy, wp_page_reuse, wp_page_shared
 * @models linux-2.6.11 mm/memory.c do_wp_page
 */
import type { Pfn, PteSlot, Vpn } from "../base/units.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_WRITE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { anonVmaPrepare } from "./anon-vma.ts";
import { writtenEntry } from "./anonymous-fault.ts";
import { anonymousFrame, entriesBeside } from "./cluster/beside.ts";
import { mapWholeAnonymous, setWhole, widenWhole } from "./cluster/whole.ts";
import { setFrameDirty } from "./file-pages.ts";
import { NO_FRAME, PG_ANON, PG_EXCLUSIVE, PG_PART } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { unmapFrame } from "./mapped-frame.ts";
import { LEAF } from "./page-table.ts";
import { namesPage } from "./pfnmap/pfn-mappings.ts";
import { replaceInSteps } from "./pfnmap/raw-fault.ts";
import { giveSlotBackIfUnmapped } from "./swap/swap-cache.ts";
import { FAULT_MINOR, NEEDS_COPY, NEEDS_MEMORY, type Verdict } from "./verdict.ts";
import { VM_SHARED, VM_WRITE, type Vma } from "./vma.ts";

/** Requires: the entry at `slot`, that of `page`, maps a frame and forbids writes. */
export function writeProtectedPage(kernel: Kernel, vma: Vma, page: Vpn, slot: PteSlot): Verdict {
  const { frames, zeroFrame } = kernel;
  const frame = frameAt(kernel, slot);
  if (frame !== zeroFrame) {
    const head = frames.head(frame);
    if (frames.has(head, PG_ANON)) {
      if (mayReuse(kernel, vma, page, head)) return reuse(kernel, vma, page, frame, slot);
    } else if ((vma.flags & (VM_SHARED | VM_WRITE)) === (VM_SHARED | VM_WRITE)) {
      return noticeWrite(kernel, vma, head, slot);
    }
  }
  if (kernel.tlbFlush.interrupts !== null) return NEEDS_COPY;
  const begun = beginCopy(kernel, vma, page, slot, frame);
  return begun < 0 ? begun : endCopy(kernel, vma, begun, slot, frame);
}

/** A part of a huge page is told apart from the others by its mark alone: references are the page's. */
function mayReuse(kernel: Kernel, vma: Vma, page: Vpn, head: Pfn): boolean {
  const state = kernel.frames.flags.read(head) & (PG_PART | PG_EXCLUSIVE);
  return state !== PG_PART && kernel.personality.pages.mayReuse(kernel, head, entriesBeside(kernel, vma, page, head));
}

/** NEEDS_COPY's end: between clearing the entry and setting the new one, every other CPU has flushed the page. */
export function* copyInSteps(kernel: Kernel, vma: Vma, page: Vpn): Path<Verdict> {
  const { tables, entries, tlbFlush } = kernel;
  const index = tables.indexAt(page, LEAF);
  const table = tables.open(tables.tableAt(vma.mm, page, LEAF));
  const slot = entries.slotOf(table, index);
  const isPage = namesPage(kernel, vma, page, table, index);
  tables.close(table);
  if (!isPage) return yield* replaceInSteps(kernel, vma, page, slot);
  const frame = frameAt(kernel, slot);
  const begun = beginCopy(kernel, vma, page, slot, frame);
  if (begun < 0) return begun;
  if (tlbFlush.owes) yield* tlbFlush.settle();
  return endCopy(kernel, vma, begun, slot, frame);
}

/** The page belongs to this area alone from now on, and may be written. */
function reuse(kernel: Kernel, vma: Vma, page: Vpn, frame: Pfn, slot: PteSlot): Verdict {
  const { frames, counters } = kernel;
  const head = frames.head(frame);
  if (frames.softFrames === 1 || entriesBeside(kernel, vma, page, head) === frames.mapCount.read(head)) {
    frames.mapping.write(head, vma.anonVma!.id);
    frames.index.write(head, vma.indexAt(page) - frames.partOf(frame));
    frames.setFlag(head, kernel.personality.pages.newAnonymousFlags);
  }
  widen(kernel, vma, slot);
  counters.reusedPages++;
  return FAULT_MINOR;
}

/** The file has a page that is newer than its disk from now on. */
function noticeWrite(kernel: Kernel, vma: Vma, frame: Pfn, slot: PteSlot): Verdict {
  widen(kernel, vma, slot);
  setFrameDirty(kernel, vma.file, frame);
  kernel.counters.writeNotifyFaults++;
  return FAULT_MINOR;
}

/** Makes the entry writable. No flush: a CPU that still holds the old rights faults once more and walks again. */
function widen(kernel: Kernel, vma: Vma, slot: PteSlot): void {
  const { tables, entries } = kernel;
  const table = tables.open(entries.tableOf(slot));
  const index = entries.indexOf(slot);
  entries.setFlags(table, index, entries.flags(table, index) | PTE_ACCESSED | PTE_DIRTY);
  widenWhole(kernel, table, index, (vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0);
  tables.close(table);
}

/**
 * A copy of `old`, which the entry of `page` maps no longer; or NEEDS_MEMORY with nothing done. No CPU may see
 * the copy while another still reads the page: clear, flush, and only then set.
 */
function beginCopy(kernel: Kernel, vma: Vma, page: Vpn, slot: PteSlot, old: Pfn): number {
  const { tables, entries, contents, allocator, layout } = kernel;
  if (anonVmaPrepare(kernel, vma) < 0) return NEEDS_MEMORY;
  const copy = anonymousFrame(kernel, vma, page);
  if (copy === NO_FRAME) return NEEDS_MEMORY;
  for (let part = 0; part < layout.userPages; part++) {
    if (old === kernel.zeroFrame) contents.zero(copy + part);
    else contents.copy(old + part, copy + part);
  }
  if (mapWholeAnonymous(kernel, vma, page, copy, slot) < 0) {
    allocator.release(kernel.frames.head(copy));
    return NEEDS_MEMORY;
  }
  const table = tables.open(entries.tableOf(slot));
  for (let part = 0; part < layout.userPages; part++) entries.clear(table, entries.indexOf(slot) + part);
  tables.close(table);
  for (let part = 0; part < layout.userPages; part++) kernel.tlbFlush.page(vma.mm, page + part);
  return copy;
}

/** Puts `copy` in the place of `old`. */
function endCopy(kernel: Kernel, vma: Vma, copy: Pfn, slot: PteSlot, old: Pfn): Verdict {
  const { tables, entries, frames, counters, allocator } = kernel;
  const { userPages } = kernel.layout;
  const table = tables.open(entries.tableOf(slot));
  setWhole(kernel, table, entries.indexOf(slot), copy, writtenEntry(kernel, vma));
  tables.close(table);
  if (old === kernel.zeroFrame) counters.pagesZeroed += userPages;
  else {
    counters.pagesCopied += userPages;
    const oldHead = frames.head(old);
    for (let part = 0; part < userPages; part++) unmapFrame(kernel, vma, old + part, slot + part);
    giveSlotBackIfUnmapped(kernel, oldHead);
    for (let part = 0; part < userPages; part++) allocator.release(oldHead);
  }
  counters.copyOnWriteFaults++;
  return FAULT_MINOR;
}

function frameAt(kernel: Kernel, slot: PteSlot): Pfn {
  const { tables, entries } = kernel;
  const table = tables.open(entries.tableOf(slot));
  const frame = entries.frame(table, entries.indexOf(slot));
  tables.close(table);
  return frame;
}
