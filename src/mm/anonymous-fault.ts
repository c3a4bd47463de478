/**
 * First touch of anonymous memory. A read is given the zero page, which costs an entry and nothing else; a write is
 * given a zeroed page of its own.
 *
 * @models linux-6.1 mm/memory.c do_anonymous_page
 */
import type { Pfn, Vpn } from "../base/units.ts";
import { type OpenTable, PTE_ACCESSED, PTE_DIRTY, PTE_WRITE } from "../hw/pte.ts";
import { anonVmaPrepare } from "./anon-vma.ts";
import { anonymousFrame, placesBeside } from "./cluster/beside.ts";
import { NO_FRAME, PG_ANON } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { entryFlags, mapNewAnonymous } from "./mapped-frame.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { FAULT_MINOR, type Intent, NEEDS_MEMORY, type Verdict } from "./verdict.ts";
import { VM_WRITE, type Vma } from "./vma.ts";

/** `known`: the leaf table of `page`, or NO_TABLE. Requires: there is none, or the entry in it is none. */
export function anonymousFault(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent, known: Pfn): Verdict {
  const leaf = known === NO_TABLE ? kernel.tables.tryEnsureLeaf(vma.mm, page) : known;
  if (leaf === NO_TABLE) return NEEDS_MEMORY;
  return intent === "read" ? mapZeroPage(kernel, vma, page, leaf) : mapOwnPage(kernel, vma, page, leaf);
}

function mapZeroPage(kernel: Kernel, vma: Vma, page: Vpn, leaf: Pfn): Verdict {
  const { tables, entries, zeroFrame, counters } = kernel;
  const table = tables.open(leaf);
  const marks = kernel.format.hasSoftwareBits ? kernel.personality.pages.zeroPageFlags : 0;
  const flags = entryFlags(kernel, vma) | marks;
  const index = tables.indexAt(page, LEAF);
  for (let at = index; at < index + kernel.layout.userPages; at++) entries.set(table, at, zeroFrame, flags);
  tables.close(table);
  counters.zeroPageFaults++;
  return FAULT_MINOR;
}

function mapOwnPage(kernel: Kernel, vma: Vma, page: Vpn, leaf: Pfn): Verdict {
  const { tables, entries, frames, counters, contents, allocator } = kernel;
  if (anonVmaPrepare(kernel, vma) < 0) return NEEDS_MEMORY;
  const frame = anonymousFrame(kernel, vma, page);
  if (frame === NO_FRAME) return NEEDS_MEMORY;
  const head = frames.head(frame);
  const isNew = frames.softFrames > 1 && !frames.has(head, PG_ANON);
  if (isNew) contents.zeroPage(head);
  else contents.zero(frame);
  const table = tables.open(leaf);
  const index = tables.indexAt(page, LEAF);
  const mapped = mapNewAnonymous(kernel, vma, page, frame, entries.slotOf(table, index)) === 0;
  if (mapped) entries.set(table, index, frame, writtenEntry(kernel, vma));
  if (mapped && isNew) mapOthers(kernel, vma, page, table, head);
  tables.close(table);
  if (!mapped) {
    allocator.release(head);
    return NEEDS_MEMORY;
  }
  counters.pagesZeroed += isNew ? frames.softFrames : 1;
  counters.anonymousFaults++;
  return FAULT_MINOR;
}

/**
 * Maps the other parts of a soft page that was made for `page`, zeroed already, where nothing is yet: the accesses that come
 * need no fault.
 */
function mapOthers(kernel: Kernel, vma: Vma, page: Vpn, table: OpenTable, head: Pfn): void {
  const { entries, frames, counters } = kernel;
  const flags = writtenEntry(kernel, vma) & ~(PTE_DIRTY | PTE_ACCESSED);
  for (const place of placesBeside(kernel, vma, page, table)) {
    if (entries.flags(table, place.index) !== 0) continue;
    if (mapNewAnonymous(kernel, vma, place.page, head + place.part, place.slot) < 0) return;
    frames.addReference(head);
    entries.set(table, place.index, head + place.part, flags);
    counters.faultAroundPages++;
  }
}

/** The entry of a page that is being written: writable, unless the area is not and the write is forced. */
export function writtenEntry(kernel: Kernel, vma: Vma): number {
  const flags = entryFlags(kernel, vma) | PTE_DIRTY;
  return (vma.flags & VM_WRITE) !== 0 ? flags | PTE_WRITE : flags;
}
