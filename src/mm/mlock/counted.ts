/**
 * Entries of locked areas get no chain. A page of such an area leaves its list, since nobody may reclaim it, and the
 * links that it had there are free: one of them counts the entries that are not chained.
 *
 *     page->lru of a page on a list      next  -> its neighbours <- previous
 *     page->lru of a PG_MLOCKED page     next  =  entries of locked areas that no chain holds
 *
 * Entries of other areas are chained as ever, so a page that one process locks and others do not has both. What was
 * chained before its area was locked stays chained: memory is saved only where the lock comes before the pages.
 * Whether an entry is chained or counted is not noted anywhere: `remove` and `move` search the chain first, and what is
 * not there was counted. That costs nothing where all mappings are locked, for then there is no chain, and one walk of
 * the page's chain where some are not.
 *
 * Unlocking pays for it all: each counted entry of the range needs its link then, memory for them may not be had, and
 * the call fails with the area still locked. Whoever wants to know all entries of a page finds the counted ones in the
 * locked areas that may map it, by its place in the file or in its anon_vma.
 *
 * @models wli-2003-07 "omitting pte_chains for mlock()'d mappings": never written; the counter is linux-6.1 mm/mlock.c
 *         mlock_count
 */
import { ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { NO_FRAME, PG_ANON, PG_LRU, PG_MLOCKED } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { waitForMemory } from "../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import type { Reclaim } from "../reclaim/reclaim.ts";
import type { ChainingMap, MappedWorld, ReverseMap } from "../rmap/reverse-map.ts";
import { NO_SLOT, scanRange, slotIfMapped } from "../rmap/search.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import { VM_LOCKED, VM_NONLINEAR, type Vma } from "../vma.ts";
import type { Mlock } from "./mlock.ts";

const MAPS = PTE_PRESENT | PTE_PROT_NONE;

/** The page lists that locked pages leave, and come back to. */
export type PageLists = Pick<Reclaim, "adopt" | "forget">;

export class CountedLocks implements ReverseMap, Mlock {
  /** The reverse map of all that is not counted. */
  readonly chains: ChainingMap;
  private readonly world: MappedWorld;
  private readonly lists: PageLists;

  constructor(chains: ChainingMap, world: MappedWorld, lists: PageLists) {
    this.chains = chains;
    this.world = world;
    this.lists = lists;
  }

  get costs(): ReverseMap["costs"] {
    return this.chains.costs;
  }

  get bytes(): number {
    return this.chains.bytes;
  }

  reserve(): number {
    return this.chains.reserve();
  }

  add(frame: Pfn, slot: PteSlot, vma: Vma): number {
    const { chains, world } = this;
    if ((vma.flags & VM_LOCKED) === 0 || !chains.wouldChain(frame, slot, vma)) return chains.add(frame, slot, vma);
    chains.costs.adds++;
    world.frames.mapCount.add(frame, 1);
    this.count(frame);
    return 0;
  }

  remove(frame: Pfn, slot: PteSlot, vma: Vma): void {
    const { chains, world } = this;
    if (this.isCounted(frame, slot, vma)) {
      chains.costs.removes++;
      world.frames.mapCount.add(frame, -1);
      this.uncount(frame);
    } else chains.remove(frame, slot, vma);
  }

  move(frame: Pfn, from: PteSlot, to: PteSlot): void {
    const { chains, world } = this;
    if (!world.frames.has(frame, PG_MLOCKED) || chains.isChained(frame, from)) chains.move(frame, from, to);
    else chains.costs.moves++;
  }

  forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void {
    let goesOn = true;
    this.chains.forEach(frame, (slot) => {
      goesOn = visit(slot);
      return goesOn;
    });
    if (goesOn && this.world.frames.has(frame, PG_MLOCKED)) this.forEachCounted(frame, visit);
  }

  /** Chains every counted entry of the range; those that have been when memory ends stay chained, and locked. */
  *unlock(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<number> {
    const { tables } = kernel;
    const { mm } = vma;
    for (let page = tables.nextLeaf(mm, first, end); page < end; ) {
      const stop = tables.endOf(page, LEAF, end);
      if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
      const done = this.chainTable(kernel, vma, page, stop);
      unlockTables(kernel, mm);
      if (done < stop && !(yield* waitForMemory(kernel.allocator))) return -ENOMEM;
      page = done < stop ? done : tables.nextLeaf(mm, stop, end);
    }
    return 0;
  }

  /** Entries that map the frame and are counted. */
  countOf(frame: Pfn): number {
    const { frames } = this.world;
    return frames.has(frame, PG_MLOCKED) ? frames.next.read(frame) : 0;
  }

  private isCounted(frame: Pfn, slot: PteSlot, vma: Vma): boolean {
    const { chains, world } = this;
    if (!world.frames.has(frame, PG_MLOCKED)) return false;
    return chains.wouldChain(frame, slot, vma) && !chains.isChained(frame, slot);
  }

  private count(frame: Pfn): void {
    const { frames } = this.world;
    if (!frames.has(frame, PG_MLOCKED)) {
      if (frames.has(frame, PG_LRU)) this.lists.forget(frame);
      frames.setFlag(frame, PG_MLOCKED);
      frames.next.write(frame, 0);
    }
    frames.next.add(frame, 1);
  }

  private uncount(frame: Pfn): void {
    const { frames } = this.world;
    const left = frames.next.add(frame, -1);
    if (left > 0) return;
    if (left < 0) bug(`frame ${frame} is unlocked once too often`);
    frames.clearFlag(frame, PG_MLOCKED);
    frames.next.write(frame, NO_FRAME);
    this.lists.adopt(frame);
  }

  /** Chains counted entries in the leaf table of `[first, end)`; the page of the first that found no memory, or `end`. */
  private chainTable(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Vpn {
    const { tables, entries } = kernel;
    const table = tables.openLeaf(vma.mm, first);
    if (table === NO_TABLE) return end;
    let index = tables.indexAt(first, LEAF);
    let page = first;
    for (; page < end; page++, index++) {
      if ((entries.flags(table, index) & MAPS) !== 0 && !this.chainEntry(table, index, vma)) break;
    }
    tables.close(table);
    return page;
  }

  /** Chains the entry if it was counted. False: there is no memory for its link. */
  private chainEntry(table: OpenTable, index: number, vma: Vma): boolean {
    const { chains, world } = this;
    const { entries, frames } = world;
    const frame = entries.frame(table, index);
    const slot = entries.slotOf(table, index);
    if (!this.isCounted(frame, slot, vma)) return true;
    if (chains.add(frame, slot, vma) < 0) return false;
    frames.mapCount.add(frame, -1);
    this.uncount(frame);
    return true;
  }

  private forEachCounted(frame: Pfn, visit: (slot: PteSlot) => boolean): void {
    const { world } = this;
    const { frames } = world;
    let left = this.countOf(frame);
    const visitArea = (vma: Vma): boolean => {
      if ((vma.flags & VM_LOCKED) === 0) return true;
      return this.searchArea(frame, vma, (slot) => {
        left--;
        return visit(slot) && left > 0;
      });
    };
    const mapping = frames.mapping.read(frame);
    const index = frames.index.read(frame);
    if (mapping === 0) this.forEachArea(visitArea);
    else if (frames.has(frame, PG_ANON)) world.anonVmas.byId(mapping).forEachVma(index, visitArea);
    else world.files.byId(mapping).mappings.forEach(index, index + 1, visitArea);
  }

  /** The page has left its file while it was mapped: nothing says any more where it may be. */
  private forEachArea(visit: (vma: Vma) => boolean): void {
    for (const mm of this.world.spaces) {
      for (const vma of mm.vmas) {
        this.costs.areasVisited++;
        if (!visit(vma)) return;
      }
    }
  }

  /** Visits the counted entries of a locked area that map `frame`, until `visit` returns false; whether it did not. */
  private searchArea(frame: Pfn, vma: Vma, visit: (slot: PteSlot) => boolean): boolean {
    const { world, costs } = this;
    const counted = (slot: PteSlot): boolean => !this.isCounted(frame, slot, vma) || visit(slot);
    costs.areasVisited++;
    if ((vma.flags & VM_NONLINEAR) !== 0 || world.frames.mapping.read(frame) === 0) {
      return scanRange(world, costs, vma.mm, { first: vma.start, end: vma.end }, frame, counted);
    }
    const page = vma.start + (world.frames.index.read(frame) - vma.fileIndex);
    const slot = slotIfMapped(world, costs, vma.mm, page, frame);
    return slot === NO_SLOT || counted(slot);
  }
}
