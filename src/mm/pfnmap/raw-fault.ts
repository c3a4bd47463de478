/**
 * Faults in areas of segments. What is missing is mapped as it is, or, for a private write, copied at once; a write to what
 * is raw always copies, since a frame without a struct page has no count that could say that nobody else has it.
 * The copy is made through the program's own mapping: the kernel may have none of the source. Copies are pages, and their
 * faults are those of any page.
 *
 *     none     driver asked (nopfn), or the file's frame    mapped raw            private write: copied
 *     raw      write                                        copied
 *     page     write                                        write-fault.ts
 *     absent   names a swap slot                            swap/swap-fault.ts
 *
 * @models linux-2.6.20 mm/memory.c do_no_pfn, do_wp_page (no old page), cow_user_page
 * @models linux-2.6.24 mm/filemap_xip.c xip_file_fault
 */
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PROT_NONE, PTE_WRITE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { anonVmaPrepare } from "../anon-vma.ts";
import { writtenEntry } from "../anonymous-fault.ts";
import { anonymousFrame } from "../cluster/beside.ts";
import { NO_FRAME } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { mapNewAnonymous } from "../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import {
  BUS_ADRERR,
  FAULT_MINOR,
  FAULT_OOM,
  type Intent,
  NEEDS_AREA,
  NEEDS_COPY,
  NEEDS_MEMORY,
  NEEDS_SWAP,
  type Verdict,
} from "../verdict.ts";
import { isCopyOnWrite, VM_RAW, VM_WRITE, type Vma } from "../vma.ts";
import { writeProtectedPage } from "../write-fault.ts";
import { enterFrame } from "./areas.ts";
import { frameByFormula } from "./pfn-mappings.ts";
import { NOPFN_OOM, NOPFN_SIGBUS } from "./segments.ts";

/** Repairs what can be repaired without waiting; otherwise says what it NEEDS. Requires: page_table_lock is held. */
export function tryRepairRaw(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Verdict {
  const { tables, entries, pfnMappings } = kernel;
  const leaf = tables.tableAt(vma.mm, page, LEAF);
  if (leaf === NO_TABLE) return missing(kernel, vma, page, intent);
  const index = tables.indexAt(page, LEAF);
  const table = tables.open(leaf);
  const flags = entries.flags(table, index);
  const isPresent = (flags & (PTE_PRESENT | PTE_PROT_NONE)) !== 0;
  const writes = isPresent && intent === "write" && (flags & PTE_WRITE) === 0;
  const isPage = writes && pfnMappings.normalPage(kernel, vma, page, table, index);
  const slot = entries.slotOf(table, index);
  if (isPresent && !writes) noteUse(kernel, table, index, intent);
  tables.close(table);
  if (flags === 0) return missing(kernel, vma, page, intent);
  if (!isPresent) return NEEDS_SWAP;
  if (!writes) return FAULT_MINOR;
  if (isPage) return writeProtectedPage(kernel, vma, page, slot);
  if (pfnMappings.copies === "to an area") return NEEDS_AREA;
  return kernel.tlbFlush.interrupts === null ? replace(kernel, vma, page, slot) : NEEDS_COPY;
}

/** Somebody else repaired it, or a TLB kept a translation too long. */
function noteUse({ entries, counters }: Kernel, table: OpenTable, index: number, intent: Intent): void {
  const used = intent === "write" ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
  entries.setFlags(table, index, entries.flags(table, index) | used);
  counters.spuriousFaults++;
}

/** Maps what the entry of `page`, which is none, should name, or a copy of it. */
function missing(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Verdict {
  const { pfnMappings, counters } = kernel;
  const isCopied = intent === "write" && isCopyOnWrite(vma.flags);
  if (isCopied && pfnMappings.copies === "to an area") return NEEDS_AREA;
  if (isCopied) return copyMissing(kernel, vma, page);
  const frame = rawFrameAt(kernel, vma, page);
  if (frame < 0) return noFrame(frame);
  const written = intent === "write" ? PTE_DIRTY | ((vma.flags & VM_WRITE) !== 0 ? PTE_WRITE : 0) : 0;
  if (enterFrame(kernel, vma, page, frame, written) < 0) return NEEDS_MEMORY;
  counters.rawFaults++;
  return FAULT_MINOR;
}

const noFrame = (answer: number): Verdict => (answer === NOPFN_OOM ? FAULT_OOM : BUS_ADRERR);

/**
 * The frame that belongs at `page`, or NOPFN_SIGBUS, NOPFN_OOM. What a driver has mapped at once is not there a second time; and
 * into a private area nothing is filled page by page unless it can be told from a copy.
 */
export function rawFrameAt({ pfnMappings }: Kernel, vma: Vma, page: Vpn): Pfn {
  const raw = vma.file!.raw!;
  const index = vma.indexAt(page);
  if (pfnMappings.countsFrames(vma)) {
    const frame = frameByFormula(vma, page);
    return raw.isPieceOf(frameByFormula(vma, vma.start), frame) ? frame : NOPFN_SIGBUS;
  }
  if (raw.way === "remap") return NOPFN_SIGBUS;
  if (raw.way === "xip") return raw.frameOf(index);
  return pfnMappings.mayFill(vma) ? raw.nopfn(index) : NOPFN_SIGBUS;
}

/** A copy of what belongs at `page`, whose entry is none. Requires: page_table_lock is held. */
export function copyMissing(kernel: Kernel, vma: Vma, page: Vpn): Verdict {
  const { tables, entries, counters } = kernel;
  const frame = rawFrameAt(kernel, vma, page);
  if (frame < 0) return noFrame(frame);
  const leaf = tables.tryEnsureLeaf(vma.mm, page);
  if (leaf === NO_TABLE) return NEEDS_MEMORY;
  const slot = entries.slotOf(leaf as OpenTable, tables.indexAt(page, LEAF));
  const copy = newCopy(kernel, vma, page, frame, slot);
  if (copy < 0) return copy;
  counters.privateFileFaults++;
  return setCopy(kernel, vma, copy, slot);
}

/** A copy takes the place of the raw entry at `slot`. */
function replace(kernel: Kernel, vma: Vma, page: Vpn, slot: PteSlot): Verdict {
  const copy = newCopy(kernel, vma, page, takeOut(kernel, slot), slot);
  if (copy < 0) return copy;
  clearAndFlush(kernel, vma, page, slot);
  kernel.counters.copyOnWriteFaults++;
  return setCopy(kernel, vma, copy, slot);
}

/** The same where other CPUs must have flushed the page before the copy is seen. */
export function* replaceInSteps(kernel: Kernel, vma: Vma, page: Vpn, slot: PteSlot): Path<Verdict> {
  const copy = newCopy(kernel, vma, page, takeOut(kernel, slot), slot);
  if (copy < 0) return copy;
  clearAndFlush(kernel, vma, page, slot);
  if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
  kernel.counters.copyOnWriteFaults++;
  return setCopy(kernel, vma, copy, slot);
}

/** The frame that the raw entry at `slot` names. */
function takeOut({ tables, entries }: Kernel, slot: PteSlot): Pfn {
  const table = tables.open(entries.tableOf(slot));
  const frame = entries.frame(table, entries.indexOf(slot));
  tables.close(table);
  return frame;
}

function clearAndFlush({ tables, entries, tlbFlush }: Kernel, vma: Vma, page: Vpn, slot: PteSlot): void {
  const table = tables.open(entries.tableOf(slot));
  entries.clear(table, entries.indexOf(slot));
  tables.close(table);
  tlbFlush.page(vma.mm, page);
}

/** An anonymous page that will be mapped by `slot`, with the contents of a raw frame; or NEEDS_MEMORY with nothing done. */
function newCopy(kernel: Kernel, vma: Vma, page: Vpn, source: Pfn, slot: PteSlot): number {
  if (anonVmaPrepare(kernel, vma) < 0) return NEEDS_MEMORY;
  const copy = anonymousFrame(kernel, vma, page);
  if (copy === NO_FRAME) return NEEDS_MEMORY;
  kernel.contents.copyFromUser(source, copy);
  if (mapNewAnonymous(kernel, vma, page, copy, slot) === 0) return copy;
  kernel.allocator.release(kernel.frames.head(copy));
  return NEEDS_MEMORY;
}

function setCopy(kernel: Kernel, vma: Vma, copy: Pfn, slot: PteSlot): Verdict {
  const { tables, entries } = kernel;
  const table = tables.open(entries.tableOf(slot));
  entries.set(table, entries.indexOf(slot), copy, writtenEntry(kernel, vma));
  if ((vma.flags & VM_RAW) !== 0) kernel.pfnMappings.copied(table, entries.indexOf(slot));
  tables.close(table);
  kernel.counters.pagesCopied++;
  return FAULT_MINOR;
}

/** Whether the entry of `page` is none. Requires: page_table_lock is held. */
export function isNone({ tables, entries }: Kernel, { mm }: Vma, page: Vpn): boolean {
  const table = tables.openLeaf(mm, page);
  if (table === NO_TABLE) return true;
  const flags = entries.flags(table, tables.indexAt(page, LEAF));
  tables.close(table);
  return flags === 0;
}

/**
 * What a fault NEEDS_AREA for, as far as the area may stay what it is: who holds mmap_sem for others cannot change areas. A raw
 * page is mapped for reading; a page that an area of copies has lost is copied again. Requires: mmap_sem is held.
 */
export function* presentInPlace(kernel: Kernel, vma: Vma, page: Vpn): Path<Verdict> {
  if (!tryLockTables(kernel, vma.mm)) yield* lockTables(kernel, vma.mm);
  let verdict = FAULT_MINOR;
  if ((vma.flags & VM_RAW) !== 0) verdict = tryRepairRaw(kernel, vma, page, "read");
  else if (isNone(kernel, vma, page)) verdict = copyMissing(kernel, vma, page);
  unlockTables(kernel, vma.mm);
  return verdict;
}
