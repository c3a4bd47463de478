/**
 * The kernel's side of page tables: where they come from, how they hang together, and how they are reached. What a
 * table holds is words of simulated memory, read and written through `Entries`; this file owns only the counts.
 *
 *      root (top level) -> ... -> level 2 -> leaf table (level 1) -> frames
 *
 * Code outside walks with `nextLeaf`, which skips whole missing subtrees, and then loops over one opened leaf table in
 * a plain loop. A table is opened before its entries are touched and closed afterwards; with tables in lowmem opening
 * costs nothing, but the balance is kept, so that other placements need no change of the callers.
 *
 * The kernel's own half of the top table is not simulated: kernel code reaches frames directly.
 *
 * @models linux-6.1 mm/memory.c __pte_alloc, __pmd_alloc, __pud_alloc, __p4d_alloc
 * @models linux-6.1 arch/x86/mm/pgtable.c pgd_alloc, preallocate_pmds
 */
import { ENOMEM } from "../base/errno.ts";
import { bug } from "../base/errors.ts";
import type { Pfn, Vpn } from "../base/units.ts";
import type { PagingFormat } from "../hw/paging-format.ts";
import type { PhysicalMemory } from "../hw/physical-memory.ts";
import { type Entries, linkFlags, type OpenTable, PTE_PRESENT, presentFrame } from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { AddressSpace } from "./address-space.ts";
import { type Allocator, WANT_KERNEL } from "./allocator.ts";
import type { Counters } from "./counters.ts";
import { EVENT_TABLE, EVENT_TABLE_FREED, type Events } from "./events.ts";
import { type Frames, PG_TABLE } from "./frames.ts";
import { waitForMemory } from "./mapped-frame.ts";
import type { TlbFlush } from "./tlb-flush.ts";
import { OWNER_PAGE_TABLES } from "./zone.ts";

/** No table there: the answer of a walk that does not allocate. */
export const NO_TABLE = -1;
/** The level of the tables whose entries map pages. */
export const LEAF = 1;

export interface TableParts {
  readonly memory: PhysicalMemory;
  readonly format: PagingFormat;
  readonly entries: Entries;
  readonly frames: Frames;
  readonly allocator: Allocator;
  readonly counters: Counters;
  readonly events: Events;
  readonly tlbFlush: TlbFlush;
  /** How many top-level entries lie below the kernel's half. */
  readonly userTopEntries: number;
}

export class PageTables {
  readonly format: PagingFormat;
  readonly levels: number;
  private readonly parts: TableParts;
  private readonly entries: Entries;
  /** Pages that one table of a level covers, by level; a page itself at 0. */
  private readonly spans: readonly number[];
  /** Opened and not yet closed tables: 0 between operations. */
  openTables = 0;

  constructor(parts: TableParts) {
    this.parts = parts;
    this.format = parts.format;
    this.entries = parts.entries;
    this.levels = parts.format.levels;
    const levels = Array.from({ length: this.levels }, (_, below) => parts.format.span(below + 1));
    this.spans = [1, ...levels];
  }

  // Opening.

  open(frame: Pfn): OpenTable {
    this.openTables++;
    return frame as OpenTable;
  }

  close(_table: OpenTable): void {
    this.openTables--;
  }

  // Geometry.

  /** Pages that one table of this level covers; level 0 is one page. */
  span(level: number): number {
    return this.spans[level]!;
  }

  /** The entry of a table of this level that covers `page`. */
  indexAt(page: Vpn, level: number): number {
    return this.format.indexAt(page, level);
  }

  /** Where the table of this level that covers `page` ends, or `end` if that comes first. */
  endOf(page: Vpn, level: number, end: Vpn): Vpn {
    const span = this.spans[level]!;
    return Math.min(end, (Math.floor(page / span) + 1) * span);
  }

  // Walking.

  /** The frame of the table of `level` that covers `page`, or NO_TABLE. */
  tableAt(mm: AddressSpace, page: Vpn, level: number): Pfn {
    let frame = mm.root;
    for (let at = this.levels; at > level; at--) {
      frame = this.below(frame, this.indexAt(page, at));
      if (frame === NO_TABLE) return NO_TABLE;
    }
    return frame;
  }

  /** The leaf table of `page`, opened, or NO_TABLE. */
  openLeaf(mm: AddressSpace, page: Vpn): OpenTable | typeof NO_TABLE {
    const frame = this.tableAt(mm, page, LEAF);
    return frame === NO_TABLE ? NO_TABLE : this.open(frame);
  }

  /** The first page at or after `page` that has a leaf table, or `end`: skips whole missing subtrees. */
  nextLeaf(mm: AddressSpace, page: Vpn, end: Vpn): Vpn {
    return this.nextLeafBelow(mm.root, this.levels, page, end);
  }

  /** The same among the tables below `frame`, a table of `level` that covers `[page, end)`. */
  private nextLeafBelow(frame: Pfn, level: number, page: Vpn, end: Vpn): Vpn {
    if (level === LEAF) return page;
    for (let at = this.nextUsed(frame, level, page, end); at < end; ) {
      const next = this.endOf(at, level - 1, end);
      const table = this.below(frame, this.indexAt(at, level));
      if (table !== NO_TABLE) {
        const found = this.nextLeafBelow(table, level - 1, at, next);
        if (found < next) return found;
      }
      at = this.nextUsed(frame, level, next, end);
    }
    return end;
  }

  /** The first page of `[page, end)` whose entry in `frame`, a table of `level` that covers them, is not none; or `end`. */
  nextUsed(frame: Pfn, level: number, page: Vpn, end: Vpn): Vpn {
    if (page >= end) return end;
    const span = this.spans[level - 1]!;
    const first = Math.floor(page / span);
    const index = this.indexAt(page, level);
    const table = this.open(frame);
    const skipped = this.entries.nextUsed(table, index, index + Math.ceil(end / span) - first) - index;
    this.close(table);
    return skipped === 0 ? page : Math.min(end, (first + skipped) * span);
  }

  // Growing.

  /** The frame of the leaf table of `page`, or NO_TABLE if it is missing and memory is short. */
  tryEnsureLeaf(mm: AddressSpace, page: Vpn): Pfn {
    return this.tryEnsure(mm, page, LEAF);
  }

  /** The frame of the table of `level` that covers `page`, or NO_TABLE if one is missing and memory is short. */
  tryEnsure(mm: AddressSpace, page: Vpn, level: number): Pfn {
    let frame = mm.root;
    for (let at = this.levels; at > level; at--) {
      const index = this.indexAt(page, at);
      let next = this.below(frame, index);
      if (next === NO_TABLE) {
        next = this.tryAllocate(mm, page, at - 1);
        if (next === NO_TABLE) return NO_TABLE;
        this.hang(mm, frame, at, index, next);
      }
      frame = next;
    }
    return frame;
  }

  /** The frame of the table of `level` that covers `page`, waiting for memory if need be; or -ENOMEM. */
  *ensure(mm: AddressSpace, page: Vpn, level: number): Path<Pfn> {
    for (;;) {
      const frame = this.tryEnsure(mm, page, level);
      if (frame !== NO_TABLE) return frame;
      if (!(yield* waitForMemory(this.parts.allocator))) return -ENOMEM;
    }
  }

  // Birth and death of whole trees.

  /**
   * Gives a new address space its top table; where the CPU caches the top level (PAE), also the tables below it, since
   * each later change would cost a reload. 0, or -ENOMEM with nothing changed.
   */
  createRoot(mm: AddressSpace): number {
    const root = this.tryAllocate(mm, 0, this.levels);
    if (root === NO_TABLE) return -ENOMEM;
    mm.root = root;
    if (!this.format.cachesTopLevel) return 0;
    const span = this.spans[this.levels - 1]!;
    for (let index = 0; index < this.parts.userTopEntries; index++) {
      const table = this.tryAllocate(mm, index * span, this.levels - 1);
      if (table === NO_TABLE) {
        this.destroyRoot(mm);
        return -ENOMEM;
      }
      this.link(root, this.levels, index, table);
    }
    return 0;
  }

  /** Frees the top table, and the tables right below it that it was born with. Requires: nothing else is left. */
  destroyRoot(mm: AddressSpace): void {
    if (this.format.cachesTopLevel) {
      for (let index = 0; index < this.parts.userTopEntries; index++) {
        const table = this.below(mm.root, index);
        if (table !== NO_TABLE) this.release(mm, table, this.levels - 1);
      }
    }
    this.release(mm, mm.root, this.levels);
    const left = mm.tablesByLevel.findIndex((count) => count !== 0);
    if (left >= 0) bug(`address space ${mm.id} dies with ${mm.tablesByLevel[left]} tables of level ${left}`);
  }

  /**
   * Takes the table at `level - 1` off entry `index` of the table `frame` of `level`. The caller flushes, and only then
   * releases the table.
   */
  unhang(mm: AddressSpace, frame: Pfn, level: number, index: number): Pfn {
    const table = this.below(frame, index);
    const open = this.open(frame);
    this.entries.clear(open, index);
    this.close(open);
    if (this.topLevelIsCached(level)) this.parts.tlbFlush.all(mm);
    return table;
  }

  /** Hangs the table `table` of `level - 1` under entry `index` of the table `frame` of `level`. */
  hang(mm: AddressSpace, frame: Pfn, level: number, index: number, table: Pfn): void {
    this.link(frame, level, index, table);
    if (this.topLevelIsCached(level)) this.parts.tlbFlush.all(mm);
  }

  /** The table that entry `index` of the table `frame` points to, or NO_TABLE. */
  below(frame: Pfn, index: number): Pfn {
    const { entries } = this;
    const table = this.open(frame);
    const low = entries.low(table, index);
    const next = (low & PTE_PRESENT) === 0 ? NO_TABLE : presentFrame(low, entries.high(table, index));
    this.close(table);
    return next;
  }

  /** A table leaves its address space's count: it is off its tree, and freed once TLBs are flushed (`releaseFrame`). */
  uncount(mm: AddressSpace, frame: Pfn, level: number): void {
    mm.tablesByLevel[level]!--;
    this.parts.counters.tablesFreed++;
    this.parts.events.record(EVENT_TABLE_FREED, mm.id, 0, 1, frame, 0, level);
  }

  /** Gives back the frame of a table that no CPU can reach any more. */
  releaseFrame(frame: Pfn): void {
    this.parts.allocator.free(frame, 0);
  }

  private release(mm: AddressSpace, frame: Pfn, level: number): void {
    this.uncount(mm, frame, level);
    this.releaseFrame(frame);
  }

  private tryAllocate(mm: AddressSpace, page: Vpn, level: number): Pfn {
    const { frames, allocator, memory, counters, events } = this.parts;
    const frame = allocator.tryAllocate(0, WANT_KERNEL, OWNER_PAGE_TABLES);
    if (frame < 0) return NO_TABLE;
    memory.zero(frame);
    frames.setFlag(frame, PG_TABLE);
    mm.tablesByLevel[level]!++;
    counters.tablesAllocated++;
    events.record(EVENT_TABLE, mm.id, page, 1, frame, 0, level);
    return frame;
  }

  private link(frame: Pfn, level: number, index: number, table: Pfn): void {
    const open = this.open(frame);
    this.entries.set(open, index, table, linkFlags(this.format, level));
    this.close(open);
  }

  private topLevelIsCached(level: number): boolean {
    return level === this.levels && this.format.cachesTopLevel;
  }
}
