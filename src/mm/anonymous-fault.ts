/**
 * First touch of anonymous memory. A read is given the zero page, which costs an entry and nothing else; a write is
 * given a zeroed page of its own.
 *
 * @models linux-6.1 mm/memory.c do_anonymous_page
 */
import type { Pfn, Vpn } from "../base/units.ts";
import { PTE_DIRTY, PTE_WRITE } from "../hw/pte.ts";
import { anonVmaPrepare } from "./anon-vma.ts";
import { NO_FRAME } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { entryFlags, mapNewAnonymous, tryUserFrame } from "./mapped-frame.ts";
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
  entries.set(table, tables.indexAt(page, LEAF), zeroFrame, flags);
  tables.close(table);
  counters.zeroPageFaults++;
  return FAULT_MINOR;
}

function mapOwnPage(kernel: Kernel, vma: Vma, page: Vpn, leaf: Pfn): Verdict {
  const { tables, entries, counters, contents, allocator } = kernel;
  if (anonVmaPrepare(kernel, vma) < 0) return NEEDS_MEMORY;
  const frame = tryUserFrame(kernel);
  if (frame === NO_FRAME) return NEEDS_MEMORY;
  contents.zero(frame);
  const table = tables.open(leaf);
  const index = tables.indexAt(page, LEAF);
  const mapped = mapNewAnonymous(kernel, vma, page, frame, entries.slotOf(table, index)) === 0;
  if (mapped) entries.set(table, index, frame, writtenEntry(kernel, vma));
  tables.close(table);
  if (!mapped) {
    allocator.release(frame);
    return NEEDS_MEMORY;
  }
  counters.pagesZeroed++;
  counters.anonymousFaults++;
  return FAULT_MINOR;
}

/** The entry of a page that is being written: writable, unless the area is not and the write is forced. */
export function writtenEntry(kernel: Kernel, vma: Vma): number {
  const flags = entryFlags(kernel, vma) | PTE_DIRTY;
  return (vma.flags & VM_WRITE) !== 0 ? flags | PTE_WRITE : flags;
}
