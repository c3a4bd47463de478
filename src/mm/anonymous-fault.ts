/**
 * First touch of anonymous memory. A read is given the zero page, which costs an entry and nothing else; a write is
 * given a zeroed page of its own.
 *
 * @models linux-6.1 mm/memory.c do_anonymous_page
 */
import type { Vpn } from "../base/units.ts";
import { PTE_DIRTY, PTE_WRITE } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import { anonVmaPrepare } from "./anon-vma.ts";
import type { Kernel } from "./kernel.ts";
import { entryFlags, mapNewAnonymous, userFrame } from "./mapped-frame.ts";
import { pagePolicy } from "./page-policy.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { FAULT_MINOR, FAULT_OOM, type Intent, type Verdict } from "./verdict.ts";
import { VM_WRITE, type Vma } from "./vma.ts";

/** Requires: the entry of `page` is none, or its leaf table is missing. */
export function* anonymousFault(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Path<Verdict> {
  const { tables } = kernel;
  if (tables.tryEnsureLeaf(vma.mm, page) === NO_TABLE && (yield* tables.ensure(vma.mm, page, LEAF)) < 0) {
    return FAULT_OOM;
  }
  return intent === "read" ? mapZeroPage(kernel, vma, page) : yield* mapOwnPage(kernel, vma, page);
}

function mapZeroPage(kernel: Kernel, vma: Vma, page: Vpn): Verdict {
  const { tables, entries } = kernel;
  const index = tables.indexAt(page, LEAF);
  const table = tables.openLeaf(vma.mm, page);
  if (table === NO_TABLE) return FAULT_MINOR;
  if (entries.flags(table, index) === 0) {
    entries.set(table, index, kernel.zeroFrame, entryFlags(kernel, vma) | pagePolicy(kernel).zeroPageFlags);
    kernel.counters.zeroPageFaults++;
  }
  tables.close(table);
  return FAULT_MINOR;
}

function* mapOwnPage(kernel: Kernel, vma: Vma, page: Vpn): Path<Verdict> {
  const { tables, entries, counters } = kernel;
  if (anonVmaPrepare(kernel, vma) < 0) return FAULT_OOM;
  const frame = yield* userFrame(kernel);
  if (frame < 0) return FAULT_OOM;
  kernel.memory.zero(frame);

  // The wait for memory may have let another thread repair the page, or unmap it.
  const index = tables.indexAt(page, LEAF);
  const table = tables.openLeaf(vma.mm, page);
  let verdict = FAULT_MINOR;
  let used = false;
  if (table !== NO_TABLE) {
    if (entries.flags(table, index) === 0) {
      used = mapNewAnonymous(kernel, pagePolicy(kernel), vma, page, frame, entries.slotOf(table, index)) === 0;
      if (used) entries.set(table, index, frame, writtenEntry(kernel, vma));
      else verdict = FAULT_OOM;
    }
    tables.close(table);
  }
  if (!used) {
    kernel.allocator.release(frame);
    return verdict;
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
