/**
 * Page faults: what the kernel does when the MMU could not translate. A fault finds the area, checks its rights, makes
 * the page present, and the access is tried again; or it ends in a signal, which is a verdict, not an error of ours.
 *
 *     no area                               SEGV_MAPERR
 *     no right                              SEGV_ACCERR
 *     big pages                             bigpages/
 *     no leaf table   anonymous area        thp/huge-fault.ts, or as below
 *     entry none      anonymous area        anonymous-fault.ts
 *                     file                  file-fault.ts
 *     entry absent    names a swap slot     swap/swap-fault.ts
 *                     names a file's page   the nonlinear strategy
 *     entry present   write, read-only      write-fault.ts
 *     shared table    to change alone       tables/sharing/unshare.ts, and then as above
 *                     anything else         already repaired: nothing to do but set A and D
 *     memory without struct pages           pfnmap/raw-fault.ts
 *
 * @models linux-6.1 mm/memory.c handle_mm_fault, handle_pte_fault; arch/x86/mm/fault.c do_user_addr_fault
 * @differs a stack may grow down by any distance: 2.6.11 wants the access near the stack pointer
 */
import { type Pfn, type PteSlot, pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PROT_NONE, PTE_SWAP, PTE_WRITE } from "../hw/pte.ts";
import { type Path, runToCompletion } from "../sync/path.ts";
import { anonymousFault } from "./anonymous-fault.ts";
import { firstOfWhole } from "./cluster/whole.ts";
import { EVENT_FAULT } from "./events.ts";
import { fileFault } from "./file-fault.ts";
import type { Kernel } from "./kernel.ts";
import { waitToMap } from "./mapped-frame.ts";
import { LEAF, NO_TABLE } from "./page-table.ts";
import { namesPage } from "./pfnmap/pfn-mappings.ts";
import { presentInPlace, tryRepairRaw } from "./pfnmap/raw-fault.ts";
import type { Process, Thread } from "./process.ts";
import { expandStack } from "./stack.ts";
import { swapFault } from "./swap/swap-fault.ts";
import { lockTables, tryLockTables, unlockTables } from "./table-lock.ts";
import { lockShared, unlockShared } from "./tables/sharing/shared-lock.ts";
import type { SharedTable } from "./tables/sharing/shared-tables.ts";
import { unshareTable } from "./tables/sharing/unshare.ts";
import { hugeFault, hugeFaultSlowly, SMALL_PAGES } from "./thp/huge-fault.ts";
import {
  ERROR_PRESENT,
  ERROR_WRITE,
  FAULT_MAJOR,
  FAULT_MINOR,
  FAULT_OOM,
  type Intent,
  NEEDS_AREA,
  NEEDS_BLOCK,
  NEEDS_COPY,
  NEEDS_FILE,
  NEEDS_FILE_ENTRY,
  NEEDS_HOST,
  NEEDS_MEMORY,
  NEEDS_OWN_TABLE,
  NEEDS_SWAP,
  NEEDS_TURN,
  SEGV_ACCERR,
  SEGV_MAPERR,
  type Verdict,
} from "./verdict.ts";
import { VM_BIG, VM_GROWSDOWN, VM_RAW, VM_WRITE, type Vma } from "./vma.ts";
import { copyInSteps, writeProtectedPage } from "./write-fault.ts";

export * from "./verdict.ts";

/** Handles a fault of `thread` at `address`; `error` is the MMU's error code. Requires: mmap_sem is not held. */
export function* handleFault(kernel: Kernel, thread: Thread, address: Vaddr, error: number): Path<Verdict> {
  const page = pageOf(address);
  const { mm } = thread;
  if (page >= kernel.layout.taskEnd) return signal(kernel, SEGV_MAPERR);
  if (!mm.mmapSem.tryRead(thread)) yield* mm.mmapSem.read(thread);
  let vma = mm.vmas.find(page);
  if (vma !== null && vma.start > page && !(yield* growDown(kernel, vma, page))) vma = null;
  let verdict: Verdict;
  if (vma === null) verdict = signal(kernel, SEGV_MAPERR);
  else if (!permits(kernel, vma, error)) verdict = signal(kernel, SEGV_ACCERR);
  else if ((vma.flags & VM_BIG) !== 0) {
    verdict = yield* makePresent(kernel, thread.process, vma, page, (error & ERROR_WRITE) !== 0 ? "write" : "read");
  } else {
    const intent = (error & ERROR_WRITE) !== 0 ? "write" : "read";
    const first = firstOfWhole(kernel, vma, page);
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    verdict = tryRepair(kernel, vma, first, intent);
    if (kernel.tlbFlush.interrupts !== null) verdict = yield* finishLocked(kernel, vma, first, verdict);
    unlockTables(kernel, mm);
    if (verdict >= 0) charged(kernel, thread.process, vma, first, intent, verdict);
    else verdict = yield* finish(kernel, thread.process, vma, first, intent, verdict);
    if (verdict === NEEDS_AREA) verdict = yield* changeArea(kernel, thread, vma, first, intent);
  }
  mm.mmapSem.releaseRead(thread);
  return verdict;
}

/** The same, run to completion with nobody else to run: a fault that waits for nothing makes no generator. */
export function handleFaultAlone(kernel: Kernel, thread: Thread, address: Vaddr, error: number): Verdict {
  const page = pageOf(address);
  const { mm } = thread;
  const vma = mm.vmas.find(page);
  const isPlain =
    vma !== null &&
    vma.start <= page &&
    (vma.flags & VM_BIG) === 0 &&
    permits(kernel, vma, error) &&
    page < kernel.layout.taskEnd;
  if (!isPlain || kernel.tlbFlush.interrupts !== null || !mm.mmapSem.tryRead(thread)) {
    return runToCompletion(handleFault(kernel, thread, address, error));
  }
  const intent = (error & ERROR_WRITE) !== 0 ? "write" : "read";
  const first = firstOfWhole(kernel, vma, page);
  if (!tryLockTables(kernel, mm)) runToCompletion(lockTables(kernel, mm));
  let verdict = tryRepair(kernel, vma, first, intent);
  unlockTables(kernel, mm);
  if (verdict >= 0) charged(kernel, thread.process, vma, first, intent, verdict);
  else verdict = runToCompletion(finish(kernel, thread.process, vma, first, intent, verdict));
  if (verdict === NEEDS_AREA) verdict = runToCompletion(changeArea(kernel, thread, vma, first, intent));
  mm.mmapSem.releaseRead(thread);
  return verdict;
}

/** The page gets an area of its own, if it still needs one. */
function* changeArea(kernel: Kernel, thread: Thread, vma: Vma, page: Vpn, intent: Intent): Path<Verdict> {
  const verdict = yield* kernel.pfnMappings.changeArea(kernel, thread, page, intent);
  return charged(kernel, thread.process, vma, page, intent, verdict);
}

/** Whether the area above `page` is a stack that now reaches it. */
function* growDown(kernel: Kernel, vma: Vma, page: Vpn): Path<boolean> {
  const first = firstOfWhole(kernel, vma, page);
  if ((vma.flags & VM_GROWSDOWN) === 0 || (yield* expandStack(kernel, vma, first)) < 0) return false;
  kernel.counters.stackExpansions++;
  return true;
}

/** @models linux-6.1 arch/x86/mm/fault.c access_error */
function permits(kernel: Kernel, vma: Vma, error: number): boolean {
  if ((error & ERROR_WRITE) !== 0) return (vma.flags & VM_WRITE) !== 0;
  // A read of a present page fails for what no fault repairs: no right to execute, or the kernel's own page.
  if ((error & ERROR_PRESENT) !== 0) return false;
  return (vma.flags & kernel.personality.pages.readRights) !== 0;
}

function signal(kernel: Kernel, verdict: Verdict): Verdict {
  kernel.counters.signalFaults++;
  return verdict;
}

/**
 * Makes the page `asked` of `vma` present for `intent`, and charges the fault to `payer`: the process that runs, even when it
 * touches another's memory. Requires: mmap_sem is held, the area allows it or is being forced.
 */
export function* makePresent(kernel: Kernel, payer: Process, vma: Vma, asked: Vpn, intent: Intent): Path<Verdict> {
  if ((vma.flags & VM_BIG) !== 0) {
    const verdict = yield* kernel.bigPages.fault(kernel, vma, asked, intent);
    return charged(kernel, payer, vma, asked, intent, verdict);
  }
  const page = firstOfWhole(kernel, vma, asked);
  let verdict = yield* finish(kernel, payer, vma, page, intent, yield* repair(kernel, vma, page, intent));
  while (verdict === NEEDS_AREA) {
    verdict = yield* finish(kernel, payer, vma, page, "read", yield* presentInPlace(kernel, vma, page));
  }
  return verdict;
}

/** Repairs what needs no wait for memory or a file, with page_table_lock held. */
function* repair(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Path<Verdict> {
  yield* lockTables(kernel, vma.mm);
  const shared = kernel.tables.shared.exist ? yield* lockShared(kernel, vma.mm, page) : null;
  const verdict = yield* finishLocked(kernel, vma, page, tryRepair(kernel, vma, page, intent));
  if (shared !== null) unlockShared(kernel, shared);
  unlockTables(kernel, vma.mm);
  return verdict;
}

/** Comes to the end of what waits for other CPUs, page_table_lock held. */
function* finishLocked(kernel: Kernel, vma: Vma, page: Vpn, first: Verdict): Path<Verdict> {
  const verdict = first === NEEDS_COPY ? yield* copyInSteps(kernel, vma, page) : first;
  if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
  return verdict;
}

/** Waits for what the repair needs, and tries again, until the fault comes to its end. */
function* finish(kernel: Kernel, payer: Process, vma: Vma, page: Vpn, intent: Intent, first: Verdict): Path<Verdict> {
  const verdict = yield* resolve(kernel, vma, page, intent, first);
  return verdict === NEEDS_AREA ? verdict : charged(kernel, payer, vma, page, intent, verdict);
}

/** The same, uncounted. */
function* resolve(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent, first: Verdict): Path<Verdict> {
  const taken = { major: false };
  let verdict = first;
  for (let failures = 0; ; ) {
    if (verdict === NEEDS_FILE) verdict = yield* fileFault(kernel, vma, vma.file!, page, intent);
    else if (verdict === NEEDS_SWAP) verdict = yield* swapFault(kernel, vma, page, intent, taken);
    else if (verdict === NEEDS_BLOCK)
      verdict = (yield* hugeFaultSlowly(kernel, vma, page, intent)) ?? (yield* repair(kernel, vma, page, intent));
    else if (verdict === NEEDS_FILE_ENTRY) verdict = yield* kernel.nonlinear.fault(kernel, vma, page);
    else if (verdict === NEEDS_HOST) verdict = yield* hostedFault(kernel, vma, page, intent);
    else if (verdict === NEEDS_TURN) verdict = yield* repair(kernel, vma, page, intent);
    else if (verdict === NEEDS_OWN_TABLE) {
      const isOwn = (yield* unshareTable(kernel, vma.mm, page)) === 0;
      verdict = isOwn ? yield* repair(kernel, vma, page, intent) : FAULT_OOM;
    } else if (verdict !== NEEDS_MEMORY) break;
    else {
      failures++;
      const isThere = yield* waitHolding(kernel, vma, page, failures);
      verdict = isThere ? yield* repair(kernel, vma, page, intent) : FAULT_OOM;
    }
  }
  return verdict === FAULT_MINOR && taken.major ? FAULT_MAJOR : verdict;
}

/** A fault in a table that is the file's own: it is hung here, and the fault repaired there. */
function* hostedFault(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Path<Verdict> {
  const { tableSharing, allocator } = kernel;
  let place = yield* tableSharing.attach(kernel, vma, page);
  for (let failures = 1; place === null; failures++) {
    if (!(yield* allocator.waitForMemory(failures))) return FAULT_OOM;
    place = yield* tableSharing.attach(kernel, vma, page);
  }
  const verdict = yield* repair(kernel, place.vma, place.page, intent);
  return yield* resolve(kernel, place.vma, place.page, intent, verdict);
}

/**
 * Waits for memory while nobody may free the page that is there: it is what a copy is to be made of, and memory made of it
 * would be gone again with its return from swap.
 *
 * @models linux-2.6.11 mm/memory.c do_wp_page (page_cache_get before the allocation)
 */
function* waitHolding(kernel: Kernel, vma: Vma, page: Vpn, failures: number): Path<boolean> {
  const { tables, entries, frames, allocator, zeroFrame } = kernel;
  const { mm } = vma;
  yield* lockTables(kernel, mm);
  let held = zeroFrame;
  const table = tables.openLeaf(mm, page);
  if (table !== NO_TABLE) {
    const index = tables.indexAt(page, LEAF);
    const isThere = (entries.flags(table, index) & (PTE_PRESENT | PTE_PROT_NONE)) !== 0;
    if (isThere && namesPage(kernel, vma, page, table, index)) held = frames.head(entries.frame(table, index));
    tables.close(table);
  }
  if (held !== zeroFrame) frames.addReference(held);
  unlockTables(kernel, mm);
  const isThere = yield* waitToMap(kernel, failures);
  if (held !== zeroFrame) allocator.release(held);
  return isThere;
}

/**
 * Counts a fault that has come to its end; returns how.
 *
 * @models linux-6.1 mm/memory.c mm_account_fault
 */
function charged(kernel: Kernel, payer: Process, vma: Vma, page: Vpn, intent: Intent, verdict: Verdict): Verdict {
  const { counters } = kernel;
  if (verdict === FAULT_MINOR) {
    counters.minorFaults++;
    payer.minorFaults++;
  } else if (verdict === FAULT_MAJOR) {
    counters.majorFaults++;
    payer.majorFaults++;
  } else if (verdict === FAULT_OOM) counters.outOfMemoryFaults++;
  else counters.signalFaults++;
  kernel.events.record(EVENT_FAULT, vma.mm.id, page, 1, -1, verdict, intent === "write" ? 1 : 0);
  return verdict;
}

/** Repairs what can be repaired without waiting; otherwise says what it NEEDS, with nothing done. */
function tryRepair(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Verdict {
  if ((vma.flags & VM_RAW) !== 0) return tryRepairRaw(kernel, vma, page, intent);
  const { tables, tableSharing } = kernel;
  let leaf = tables.tableAt(vma.mm, page, LEAF);
  if (leaf === NO_TABLE) {
    if (tableSharing.isHosted(kernel, vma, page)) return NEEDS_HOST;
    leaf = tableSharing.joinAtFault(kernel, vma, page);
  }
  if (leaf === NO_TABLE) return missingTable(kernel, vma, page, intent);
  const shared = tables.shared.find(leaf);
  // The entries of a hosted table are its host's, whose page_table_lock keeps them.
  if (shared === undefined || !shared.isSharedFor(vma.mm)) return repairEntry(kernel, vma, page, intent, leaf);
  if (shared.host !== null) return NEEDS_HOST;
  return repairForAll(kernel, vma, page, intent, shared);
}

/** The same where others have the leaf table too. */
function repairForAll(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent, shared: SharedTable): Verdict {
  const { task } = kernel.current;
  const isHeld = shared.lock.owner === task;
  if (!isHeld && !shared.lock.attempt(task)) return NEEDS_TURN;
  const verdict = mayRepairForAll(kernel, page, intent, shared)
    ? repairEntry(kernel, vma, page, intent, shared.frame)
    : NEEDS_OWN_TABLE;
  if (!isHeld) unlockShared(kernel, shared);
  return verdict;
}

/** Whether what the fault needs is right for all who have the table: nothing at all, or a page that they all lack. */
function mayRepairForAll({ tables, entries }: Kernel, page: Vpn, intent: Intent, shared: SharedTable): boolean {
  if (intent === "write" && shared.readOnly) return false;
  const table = tables.open(shared.frame);
  const flags = entries.flags(table, tables.indexAt(page, LEAF));
  tables.close(table);
  return flags === 0 ? shared.uniform : (flags & (PTE_PRESENT | PTE_PROT_NONE)) !== 0;
}

/** The same where the leaf table is there. */
function repairEntry(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent, leaf: Pfn): Verdict {
  const { tables, entries } = kernel;
  const index = tables.indexAt(page, LEAF);
  const table = tables.open(leaf);
  const isNone = entries.isNone(table, index);
  const flags = isNone ? 0 : entries.flags(table, index);
  tables.close(table);
  if (isNone) return missingPage(kernel, vma, page, intent, leaf);
  if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) return flags === PTE_SWAP ? NEEDS_SWAP : NEEDS_FILE_ENTRY;
  const slot = entries.slotOf(table, index);
  if (intent === "write" && (flags & PTE_WRITE) === 0) return writeProtectedPage(kernel, vma, page, slot);
  return alreadyPresent(kernel, slot, flags, intent);
}

/** Where no leaf table is, a large entry may be, or come. One that had to be split has left a table. */
function missingTable(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Verdict {
  if (vma.file !== null) return NEEDS_FILE;
  const verdict = hugeFault(kernel, vma, page, intent);
  if (verdict !== SMALL_PAGES) return verdict;
  const isSplit = kernel.tables.tableAt(vma.mm, page, LEAF) !== NO_TABLE;
  return isSplit ? tryRepair(kernel, vma, page, intent) : anonymousFault(kernel, vma, page, intent, NO_TABLE);
}

function missingPage(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent, leaf: Pfn): Verdict {
  return vma.file === null ? anonymousFault(kernel, vma, page, intent, leaf) : NEEDS_FILE;
}

/** Somebody else repaired it, or a TLB kept a translation too long: notes the access, as the MMU would have. */
function alreadyPresent(kernel: Kernel, slot: PteSlot, flags: number, intent: Intent): Verdict {
  const { tables, entries, counters } = kernel;
  const used = intent === "write" ? PTE_ACCESSED | PTE_DIRTY : PTE_ACCESSED;
  if ((flags & used) !== used) {
    const table = tables.open(entries.tableOf(slot));
    entries.setFlags(table, entries.indexOf(slot), flags | used);
    tables.close(table);
  }
  counters.spuriousFaults++;
  return FAULT_MINOR;
}
