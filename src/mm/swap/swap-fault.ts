/**
 * A fault on an entry that names a swap slot. The page is found in the swap cache, or read from disk; once its lock is
 * had, nobody takes its slot away, and the entry is looked at again: another thread may have been faster. The entry then
 * maps the page, and is one user of its slot less.
 *
 *     find or read -> lock the page -> page_table_lock -> the entry still names the slot? -> map -> give the slot up
 *
 * Who writes gets the page as it is if nobody else can see it, in memory or in swap; otherwise the write goes on as one
 * to a page that is shared.
 *
 * @models linux-2.6.11 mm/memory.c do_swap_page
 * @models linux-6.1 mm/memory.c do_swap_page; mm/rmap.c page_add_anon_rmap
 */
import { bug } from "../../base/errors.ts";
import type { Pfn, PteSlot, SwapSlot, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_ACCESSED, PTE_SWAP, PTE_WRITE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { writtenEntry } from "../anonymous-fault.ts";
import { entriesIn, placesBeside } from "../cluster/beside.ts";
import { widenWhole } from "../cluster/whole.ts";
import { NO_FRAME, PG_ANON, PG_SWAPCACHE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { entryFlags } from "../mapped-frame.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { lockPage, unlockPage } from "../page-lock.ts";
import type { SwapMark } from "../page-policy.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { lockTables, unlockTables } from "../table-lock.ts";
import { FAULT_MINOR, FAULT_OOM, type Intent, NEEDS_COPY, NEEDS_MEMORY, type Verdict } from "../verdict.ts";
import type { Vma } from "../vma.ts";
import { copyInSteps, writeProtectedPage } from "../write-fault.ts";
import { NO_SWAP_SLOT } from "./swap.ts";
import { giveSlotBack, partOfEntry, slotOfEntry } from "./swap-cache.ts";
import { readSwap } from "./swap-in.ts";

/** What a fault took. */
export interface Taken {
  /** Set when a page had to be read. */
  major: boolean;
}

/**
 * Brings in what the entry of `page` names. FAULT_MINOR too if the entry has changed meanwhile: the access is tried again.
 * NEEDS_MEMORY with nothing mapped, or the verdict on a write to a shared page. Requires: mmap_sem is held.
 */
export function* swapFault(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent, taken: Taken): Path<Verdict> {
  const { swap, frames, allocator } = kernel;
  yield* lockTables(kernel, vma.mm);
  const slot = slotNamedAt(kernel, vma, page);
  unlockTables(kernel, vma.mm);
  if (slot === NO_SWAP_SLOT) return FAULT_MINOR;
  let frame = swap.find(slot);
  if (frame !== NOT_CACHED) {
    swap.costs.cacheHits++;
    frames.addReference(frame);
  } else {
    frame = yield* readSwap(kernel, slot);
    if (frame === NO_FRAME) return FAULT_MINOR;
    if (frame < 0) return NEEDS_MEMORY;
    taken.major = true;
  }
  kernel.reclaim.touched(frame);
  // What the reverse map may want is drawn with the page in hand: memory made of the page itself would be gone again with
  // its return, for ever.
  for (let failures = 1; kernel.reverseMap.reserve() < 0; failures++) {
    if (yield* allocator.waitForMemory(failures)) continue;
    allocator.release(frame);
    return FAULT_OOM;
  }
  yield* lockPage(kernel, frame);
  if (!frames.has(frame, PG_SWAPCACHE) || frames.swapSlot.read(frame) !== slot) {
    return refused(kernel, frame, FAULT_MINOR);
  }
  yield* lockTables(kernel, vma.mm);
  const verdict = yield* mapIfNamed(kernel, { vma, page, frame, slot, intent });
  unlockTables(kernel, vma.mm);
  return verdict;
}

/** The frame that an entry is about to map. */
interface Landing {
  readonly vma: Vma;
  readonly page: Vpn;
  readonly mapped: Pfn;
}

/** A page that is back in memory, locked and with a reference of the fault's. */
interface Arrival {
  readonly vma: Vma;
  readonly page: Vpn;
  readonly frame: Pfn;
  readonly slot: SwapSlot;
  readonly intent: Intent;
}

/** The slot that the entry of `page` names, or NO_SWAP_SLOT. Requires: page_table_lock is held. */
export function slotNamedAt(kernel: Kernel, vma: Vma, page: Vpn): SwapSlot {
  const { tables, entries } = kernel;
  const table = tables.openLeaf(vma.mm, page);
  if (table === NO_TABLE) return NO_SWAP_SLOT;
  const index = tables.indexAt(page, LEAF);
  const slot = entries.flags(table, index) === PTE_SWAP ? slotOfEntry(kernel, table, index) : NO_SWAP_SLOT;
  tables.close(table);
  return slot;
}

/** Maps the page if its entry still names its slot; unlocks it in any case. Requires: page_table_lock is held. */
function* mapIfNamed(kernel: Kernel, arrival: Arrival): Path<Verdict> {
  const { vma, page, frame, slot, intent } = arrival;
  const { tables, entries, swap, counters } = kernel;
  if (slotNamedAt(kernel, vma, page) !== slot) return refused(kernel, frame, FAULT_MINOR);
  const table = tables.openLeaf(vma.mm, page) as OpenTable;
  const index = tables.indexAt(page, LEAF);
  const place = entries.slotOf(table, index);
  const mark: SwapMark = entries.isSwapExclusive(table, index) ? "exclusive" : "none";
  const mapped = frame + partOfEntry(kernel, table, index);
  const isAdded = addAnonymous(kernel, { vma, page, mapped }, place) === 0;
  // What lies beside it is told apart from it by its entry.
  if (isAdded && swap.slotPages > 1) entries.set(table, index, mapped, entryFlags(kernel, vma));
  const own = isAdded ? Math.max(1, mapOthers(kernel, arrival, table)) : 0;
  const isOwn = isAdded && leaveSlot(kernel, arrival, mark, own);
  const flags = isOwn && intent === "write" ? writtenEntry(kernel, vma) : entryFlags(kernel, vma);
  if (isAdded) {
    entries.set(table, index, mapped, flags);
    widenWhole(kernel, table, index, flags & PTE_WRITE);
  }
  tables.close(table);
  if (!isAdded) return refused(kernel, frame, NEEDS_MEMORY);
  vma.mm.resident.swap--;
  vma.mm.resident.anon++;
  counters.swapFaults++;
  unlockPage(kernel, frame);
  if (isOwn || intent === "read") return FAULT_MINOR;
  const verdict = writeProtectedPage(kernel, vma, page, place);
  if (verdict === NEEDS_COPY) return yield* copyInSteps(kernel, vma, page);
  return verdict;
}

/** The fault keeps its hands off the page. */
function refused(kernel: Kernel, frame: Pfn, verdict: Verdict): Verdict {
  unlockPage(kernel, frame);
  kernel.allocator.release(frame);
  return verdict;
}

/**
 * The frame is an anonymous page that the entry at `place` maps: 0, or -ENOMEM. One that is new in memory belongs to the
 * oldest area that may map it, until somebody has it for himself.
 */
function addAnonymous(kernel: Kernel, { vma, page, mapped }: Landing, place: PteSlot): number {
  const { frames, reverseMap } = kernel;
  const { anonVma } = vma;
  const head = frames.head(mapped);
  if (anonVma === null) bug(`an area of space ${vma.mm.id} has pages in swap, and no anon_vma`);
  if (!frames.has(head, PG_ANON)) {
    frames.mapping.write(head, anonVma.root.id);
    frames.index.write(head, vma.indexAt(page) - frames.partOf(mapped));
    frames.setFlag(head, PG_ANON);
  }
  return reverseMap.add(mapped, place, vma);
}

/**
 * The entries around that name the same slot map their parts of the page, too, and how many entries then map it there, the
 * fault's own included; 0 where it has no others.
 */
function mapOthers(kernel: Kernel, { vma, page, frame, slot }: Arrival, table: OpenTable): number {
  const { entries, frames, swap } = kernel;
  if (frames.softFrames === 1) return 0;
  for (const { page: at, index, slot: place } of placesBeside(kernel, vma, page, table)) {
    if (entries.flags(table, index) !== PTE_SWAP || slotOfEntry(kernel, table, index) !== slot) continue;
    const mapped = frame + partOfEntry(kernel, table, index);
    if (addAnonymous(kernel, { vma, page: at, mapped }, place) < 0) break;
    frames.addReference(frame);
    entries.set(table, index, mapped, entryFlags(kernel, vma) & ~PTE_ACCESSED);
    swap.release(slot);
    vma.mm.resident.swap--;
    vma.mm.resident.anon++;
  }
  return entriesIn(kernel, vma, page, table, frame);
}

/** The entry names the slot no longer. Whether the page is this area's alone, in memory and in swap. */
function leaveSlot(kernel: Kernel, { vma, frame, slot, intent }: Arrival, mark: SwapMark, own: number): boolean {
  const { swap, frames } = kernel;
  const { pages } = kernel.personality;
  swap.release(slot);
  if (pages.returnsSlot(kernel, vma, { frame, intent, own })) giveSlotBack(kernel, frame);
  if (!pages.isAlone(kernel, frame, mark, own)) return false;
  frames.mapping.write(frame, vma.anonVma!.id);
  frames.setFlag(frame, pages.newAnonymousFlags);
  return true;
}
