/**
 * The walk of address spaces that 2.4 has instead of a reverse map: one after the other, each in the order of its
 * addresses, from where the last walk stopped. An entry that was used since the last visit keeps its page; of others it
 * is taken away, which frees nothing yet: a page goes when it is found again on the inactive list, mapped by nobody.
 *
 *     mm 1 [....used...*    ]   mm 2 [        ]   mm 3 [       ]         * mm.swapAddress: the next walk goes on here
 *
 * A walk costs an entry's look for each mapping in the system, however few pages there are to be had: to free one page
 * that s processes share takes s entries, wherever they are.
 *
 * @models linux-2.4.22 mm/vmscan.c swap_out, swap_out_mm, swap_out_vma, swap_out_pmd, try_to_swap_out
 * @differs an anonymous page that is clean, but has no place in swap, gets one: 2.4 drops it, since only zeros are clean
 */

import type { Pfn, Vpn } from "../../base/units.ts";
import { PTE_ACCESSED, PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Want } from "../allocator.ts";
import { PG_ACTIVE, PG_LOCKED, PG_RESERVED } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { namesPage } from "../pfnmap/pfn-mappings.ts";
import { addToSwap } from "../swap/swap-cache.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import { freeEmptied, listEmptied } from "../tables/emptied.ts";
import { flushEntry } from "../tables/sharing/shared-entries.ts";
import { unlockShared } from "../tables/sharing/shared-lock.ts";
import { VM_LOCKED, VM_PFNMAP, type Vma } from "../vma.ts";
import { needsSlot } from "./page-place.ts";
import { unmapFrom } from "./try-to-unmap.ts";

/** Pages that one walk leaves to their caches alone, at most (SWAP_CLUSTER_MAX). */
const BATCH = 32;
/** A walk has come to the end of the address space. */
const THROUGH = Number.POSITIVE_INFINITY;

export class SwapOut {
  /** The address space that the next walk starts with (swap_mm). */
  private next: AddressSpace | null = null;

  /** Takes entries away until enough pages of zones up to `want` have none, or each address space was visited. */
  *walk(kernel: Kernel, want: Want): Path<void> {
    const spaces = [...kernel.spaces];
    if (spaces.length === 0) return;
    let at = this.next === null ? 0 : Math.max(0, spaces.indexOf(this.next));
    let left = BATCH;
    for (let visits = 0; visits <= spaces.length && left > 0; visits++) {
      for (let tries = 0; spaces[at].swapAddress === THROUGH && tries <= spaces.length; tries++) {
        spaces[at].swapAddress = 0;
        at = (at + 1) % spaces.length;
      }
      this.next = spaces[at];
      left = yield* this.walkSpace(kernel, spaces[at], want, left);
    }
  }

  /** Goes on in one address space; how many pages are still to be found. */
  private *walkSpace(kernel: Kernel, mm: AddressSpace, want: Want, wanted: number): Path<number> {
    if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
    let left = wanted;
    // One that dies is not walked any more: its tables go.
    let vma = mm.users > 0 ? mm.vmas.find(mm.swapAddress) : null;
    while (vma !== null && left > 0) {
      const first = Math.max(mm.swapAddress, vma.start);
      const found = (vma.flags & VM_PFNMAP) !== 0 ? vma.end : yield* this.walkArea(kernel, vma, first, want);
      mm.swapAddress = Math.min(found + 1, vma.end);
      if (found < vma.end && (yield* this.takeAway(kernel, vma, found))) left--;
      // Whatever was waited for, areas may have changed.
      vma = mm.users > 0 ? mm.vmas.find(mm.swapAddress) : null;
    }
    if (vma === null) mm.swapAddress = THROUGH;
    unlockTables(kernel, mm);
    return left;
  }

  /** The next page from `first` on whose entry is to be taken away, or the end of the area. */
  private *walkArea(kernel: Kernel, vma: Vma, first: Vpn, want: Want): Path<Vpn> {
    const { tables, tlbFlush } = kernel;
    let page = tables.nextLeaf(vma.mm, first, vma.end);
    while (page < vma.end) {
      const end = tables.endOf(page, LEAF, vma.end);
      const found = this.walkTable(kernel, vma, { first: page, end }, want);
      if (tlbFlush.owes) yield* tlbFlush.settle();
      if (found < end) return found;
      page = tables.nextLeaf(vma.mm, end, vma.end);
    }
    return vma.end;
  }

  /** The same within one leaf table: its end if there is none. Entries that were used are used no more. */
  private walkTable(kernel: Kernel, vma: Vma, { first, end }: Pages, want: Want): Vpn {
    const { tables, entries, frames, reclaim } = kernel;
    const table = tables.openLeaf(vma.mm, first);
    if (table === NO_TABLE) return end;
    const start = tables.indexAt(first, LEAF);
    let page = first;
    for (; page < end; page++) {
      const index = start + (page - first);
      const flags = entries.flags(table, index);
      if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) continue;
      if (!namesPage(kernel, vma, page, table, index)) continue;
      const frame = frames.head(entries.frame(table, index));
      if ((frames.flags.read(frame) & PG_RESERVED) !== 0) continue;
      const isYoung = (flags & PTE_ACCESSED) !== 0;
      if (isYoung) {
        entries.makeOld(table, index);
        const slot = entries.slotOf(table, index);
        if (kernel.personality.pages.flushesYoung) flushEntry(kernel, vma.mm, page, slot);
      }
      if (isYoung || (vma.flags & VM_LOCKED) !== 0) reclaim.touched(frame);
      else if (isVictim(kernel, frame, want)) break;
    }
    tables.close(table);
    reclaim.costs.entriesVisited += Math.min(page + 1, end) - first;
    return page;
  }

  /**
   * Takes the page from the entry, which names its place in swap from then on, if it needs one; whether the page is left
   * to its cache alone. Requires: page_table_lock is held, and its holder may wait for other CPUs only.
   */
  private *takeAway(kernel: Kernel, vma: Vma, page: Vpn): Path<boolean> {
    const { tables, entries, frames, allocator, tlbFlush } = kernel;
    const table = vma.mm.vmas.containing(page) === vma ? tables.openLeaf(vma.mm, page) : NO_TABLE;
    if (table === NO_TABLE) return false;
    const index = tables.indexAt(page, LEAF);
    const slot = entries.slotOf(table, index);
    const isPresent = (entries.flags(table, index) & (PTE_PRESENT | PTE_PROT_NONE)) !== 0;
    const isThere = isPresent && namesPage(kernel, vma, page, table, index);
    const frame = isThere ? frames.head(entries.frame(table, index)) : kernel.zeroFrame;
    tables.close(table);
    if (frame === kernel.zeroFrame || !tryLockPage(kernel, frame)) return false;
    const emptied: Pfn[] = [];
    let unmapped = false;
    const shared = tables.shared.find(table);
    const isMine = shared === undefined || shared.lock.attempt(kernel.current.task);
    if (isMine && (!needsSlot(frames, frame) || addToSwap(kernel, frame) === 0)) {
      unmapped = unmapFrom(kernel, { vma, page, frame, slot }, { locked: "respect" }) === "unmapped";
    }
    if (isMine && shared !== undefined) unlockShared(kernel, shared);
    if (unmapped) listEmptied(kernel, vma.mm, page, emptied);
    if (tlbFlush.owes) yield* tlbFlush.settle();
    freeEmptied(kernel, emptied);
    unlockPage(kernel, frame);
    if (!unmapped) return false;
    const { userPages } = kernel.layout;
    kernel.reclaim.costs.entriesUnmapped += userPages;
    const isLast = frames.refs.read(frame) <= 1 + userPages;
    for (let entry = 0; entry < userPages; entry++) allocator.release(frame);
    return isLast;
  }
}

interface Pages {
  readonly first: Vpn;
  readonly end: Vpn;
}

/** Whether the entry of a page that was not used may go: active pages stay, and those of zones that are of no use. */
function isVictim({ frames, allocator }: Kernel, frame: Pfn, want: Want): boolean {
  const state = frames.flags.read(frame);
  return (state & (PG_ACTIVE | PG_LOCKED)) === 0 && allocator.zoneOf(frame).kind <= want;
}
