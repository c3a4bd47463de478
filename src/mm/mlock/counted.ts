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
import type { Runs } from "../../base/owed-sums.ts";
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_PRESENT, PTE_PROT_NONE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import { NO_FRAME, PG_ANON, PG_LRU, PG_MLOCKED } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { isInFile } from "../reclaim/page-place.ts";
import type { Reclaim } from "../reclaim/reclaim.ts";
import type { ChainingMap, MappedWorld, ReverseMap } from "../rmap/reverse-map.ts";
import { NO_SLOT, scanRange, slotIfMapped } from "../rmap/search.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import { VM_LOCKED, type Vma } from "../vma.ts";
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
    const head = world.frames.head(frame);
    world.frames.addMapping(head);
    this.count(head);
    return 0;
  }

  addRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    const { chains } = this;
    if ((vma.flags & VM_LOCKED) === 0) chains.addRun(first, end, slot, vma);
    else for (let frame = first; frame < end; frame++) this.add(frame, slot + frame - first, vma);
  }

  /** Locked ones are counted, and each asked for its place. */
  get searchesFiles(): boolean {
    return false;
  }

  addSearched(pages: Runs): void {
    bug(`${pages.length} entries are added without their places`);
  }

  removeRun(first: Pfn, end: Pfn, slot: PteSlot, vma: Vma): void {
    const { chains, world } = this;
    let mayBeCounted = (vma.flags & VM_LOCKED) !== 0;
    for (let frame = first; frame < end && !mayBeCounted; frame++) mayBeCounted = world.frames.has(frame, PG_MLOCKED);
    if (!mayBeCounted) chains.removeRun(first, end, slot, vma);
    else for (let frame = first; frame < end; frame++) this.remove(frame, slot + frame - first, vma);
  }

  remove(frame: Pfn, slot: PteSlot, vma: Vma): void {
    const { chains, world } = this;
    if (this.isCounted(frame, slot, vma)) {
      chains.costs.removes++;
      const head = world.frames.head(frame);
      world.frames.dropMapping(head);
      this.uncount(head);
    } else chains.remove(frame, slot, vma);
  }

  reserveMoves(entries: number): number {
    return this.chains.reserveMoves(entries);
  }

  moved(): void {
    this.chains.moved();
  }

  move(frame: Pfn, from: PteSlot, to: PteSlot): void {
    const { chains, world } = this;
    if (!world.frames.has(world.frames.head(frame), PG_MLOCKED) || chains.isChained(frame, from))
      chains.move(frame, from, to);
    else chains.costs.moves++;
  }

  forEach(frame: Pfn, visit: (slot: PteSlot) => boolean): void {
    let goesOn = true;
    this.chains.forEach(frame, (slot) => {
      goesOn = visit(slot);
      return goesOn;
    });
    if (goesOn) this.forEachCounted(frame, "everywhere", visit);
  }

  forEachKnown(frame: Pfn, visit: (slot: PteSlot) => boolean): void {
    let goesOn = true;
    this.chains.forEachKnown(frame, (slot) => {
      goesOn = visit(slot);
      return goesOn;
    });
    if (goesOn) this.forEachCounted(frame, "in order", visit);
  }

  collapse(frame: Pfn): void {
    this.chains.collapse(frame);
  }

  admitNonlinear(kernel: Kernel, frame: Pfn): Path<number> {
    return this.chains.admitNonlinear(kernel, frame);
  }

  spaceBorn(mm: AddressSpace, parent: AddressSpace | null): number {
    return this.chains.spaceBorn(mm, parent);
  }

  spaceDied(mm: AddressSpace): void {
    this.chains.spaceDied(mm);
  }

  /** Chains every counted entry of the range; those that have been when memory ends stay chained, and locked. */
  *unlock(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<number> {
    const { tables } = kernel;
    const { mm } = vma;
    let failures = 0;
    for (let page = tables.nextLeaf(mm, first, end); page < end; ) {
      const stop = tables.endOf(page, LEAF, end);
      if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
      const done = this.chainTable(kernel, vma, page, stop);
      unlockTables(kernel, mm);
      failures = done > page ? 1 : failures + 1;
      if (done < stop && !(yield* kernel.allocator.waitForMemory(failures))) return -ENOMEM;
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
    if (!world.frames.has(world.frames.head(frame), PG_MLOCKED)) return false;
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
    // What truncation has cut off its file meanwhile is on no list.
    if (frames.has(frame, PG_ANON) || isInFile(frames, frame)) this.lists.adopt(frame);
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
    const head = frames.head(frame);
    frames.dropMapping(head);
    this.uncount(head);
    return true;
  }

  /** Visits the counted entries: where the page's index puts them, or also where only a search of whole areas finds them. */
  private forEachCounted(frame: Pfn, search: "everywhere" | "in order", visit: (slot: PteSlot) => boolean): void {
    const { files, frames, anonVmas } = this.world;
    let left = this.countOf(frame);
    if (left === 0) return;
    let goesOn = true;
    const visitCounted = (slot: PteSlot): boolean => {
      left--;
      goesOn = visit(slot) && left > 0;
      return goesOn;
    };
    const look = (vma: Vma): boolean => this.lookInto(vma, frame, visitCounted);
    const mapping = frames.mapping.read(frame);
    const index = frames.index.read(frame);
    if (mapping !== 0 && frames.has(frame, PG_ANON))
      anonVmas.byId(mapping).forEachVma(index, index + frames.softFrames, look);
    else if (mapping !== 0) files.byId(mapping).mappings.forEach(index, index + frames.softFrames, look);
    if (search === "in order") return;
    for (const vma of this.areasOutOfOrder(frame)) if (!goesOn || !this.scan(vma, frame, visitCounted)) return;
  }

  /** Areas that may have the frame in any place: nonlinear ones of its file; all, if it has left its file while mapped. */
  private *areasOutOfOrder(frame: Pfn): IterableIterator<Vma> {
    const { files, frames, spaces } = this.world;
    const mapping = frames.mapping.read(frame);
    if (mapping === 0) for (const mm of spaces) yield* mm.vmas;
    else if (!frames.has(frame, PG_ANON)) yield* files.byId(mapping).mappings.nonlinear;
  }

  /** Visits the entry of a locked area where the frame's index puts it, if it is counted; false if `visit` returned that. */
  private lookInto(vma: Vma, frame: Pfn, visit: (slot: PteSlot) => boolean): boolean {
    const { world, costs } = this;
    if ((vma.flags & VM_LOCKED) === 0) return true;
    const { index, softFrames } = world.frames;
    const first = vma.start + (index.read(frame) - vma.fileIndex);
    costs.areasVisited++;
    for (let page = Math.max(first, vma.start); page < Math.min(first + softFrames, vma.end); page++) {
      const part = frame + (page - first);
      const slot = slotIfMapped(world, costs, vma.mm, page, part);
      if (slot !== NO_SLOT && this.isCounted(part, slot, vma) && !visit(slot)) return false;
    }
    return true;
  }

  /** Visits the counted entries of a whole locked area that map the frame; false if `visit` returned that. */
  private scan(vma: Vma, frame: Pfn, visit: (slot: PteSlot) => boolean): boolean {
    const { world, costs } = this;
    if ((vma.flags & VM_LOCKED) === 0) return true;
    costs.areasVisited++;
    const range = { first: vma.start, end: vma.end };
    return scanRange(
      world,
      costs,
      vma.mm,
      range,
      frame,
      (slot) => !this.isCounted(this.frameAt(slot), slot, vma) || visit(slot),
    );
  }

  /** The frame that an entry maps whose table is open. */
  private frameAt(slot: PteSlot): Pfn {
    const { entries } = this.world;
    return entries.frame(entries.tableOf(slot) as OpenTable, entries.indexOf(slot));
  }
}
