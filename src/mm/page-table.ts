/**
 * The kernel's side of page tables: where they come from, how they hang together, and how they are reached. What a
 * table holds is words of simulated memory, read and written through `Entries`; this file owns only the counts.
 *
 *      root (top level) -> ... -> level 2 -> leaf table (level 1) -> frames
 *
 * Code outside walks with `nextLeaf`, which skips whole missing subtrees, and then loops over one opened leaf table in
 * a plain loop. A table is opened before its entries are touched and closed afterwards: a leaf table may be in highmem
 * (highpte), and then opening it makes a window on it. With tables in lowmem opening costs nothing, but the balance is
 * kept, and nobody may allocate with a table open, wherever it is.
 *
 *     open, close                 the table of an operation                        PTE0
 *     openSecond, closeSecond     the source, where entries are copied or moved    PTE1
 *     openReverse, closeReverse   the table that a reverse map looks into          PTE2
 *
 * Tables above the leaves, and the kernel's own, are always in lowmem.
 *
 * The frame of a leaf table says whose it is and what it covers, so that an entry's place is enough to know which page
 * of which address space it maps: `mapping` is the address space's number, `index` the first page.
 *
 * The kernel's own half of the top table is not simulated: kernel code reaches frames directly.
 *
 * @models linux-6.1 mm/memory.c __pte_alloc, __pmd_alloc, __pud_alloc, __p4d_alloc
 * @models linux-6.1 arch/x86/mm/pgtable.c pgd_alloc, preallocate_pmds
 * @models linux-2.5.5-highpte include/asm-i386/pgtable.h pte_offset_map, pte_offset_map2, pte_unmap
 * @models linux-2.6.0 include/asm-generic/rmap.h pgtable_add_rmap, pgtable_remove_rmap, ptep_to_mm, ptep_to_address
 */
import { ENOMEM } from "../base/errno.ts";
import { bug } from "../base/errors.ts";
import type { FrameRun, Pfn, PteSlot, Vpn } from "../base/units.ts";
import type { PagingFormat } from "../hw/paging-format.ts";
import {
  type Entries,
  linkFlags,
  type OpenTable,
  PTE_LARGE,
  PTE_NO_EXECUTE,
  PTE_PRESENT,
  PTE_PROT_NONE,
  PTE_WRITE,
  presentFrame,
} from "../hw/pte.ts";
import type { Path } from "../sync/path.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Allocator } from "./allocator.ts";
import type { Counters } from "./counters.ts";
import { EVENT_TABLE, EVENT_TABLE_FREED, type Events } from "./events.ts";
import { type Frames, PG_TABLE } from "./frames.ts";
import { type TableAccess, type TableUse, USE_FIRST, USE_REVERSE, USE_SECOND } from "./tables/access.ts";
import type { TableCache } from "./tables/cache/table-cache.ts";
import type { LeafList } from "./tables/discard/table-discard.ts";
import { SharedTables } from "./tables/sharing/shared-tables.ts";
import type { TlbFlush } from "./tlb-flush.ts";
import type { Vma } from "./vma.ts";

/** No table there: the answer of a walk that does not allocate. */
export const NO_TABLE = -1;
/** The level of the tables whose entries map pages. */
export const LEAF = 1;

export interface TableParts {
  readonly format: PagingFormat;
  readonly entries: Entries;
  readonly frames: Frames;
  readonly allocator: Allocator;
  readonly counters: Counters;
  readonly events: Events;
  readonly tlbFlush: TlbFlush;
  /** How many top-level entries lie below the kernel's half. */
  readonly userTopEntries: number;
  readonly cpus: number;
  /** Frames from here on are highmem. */
  readonly highmemFrom: Pfn;
  /** How tables in highmem are reached. */
  readonly access: TableAccess;
  /** Where tables come from. */
  readonly cache: TableCache;
  /** Who is told of leaf tables. */
  readonly leaves: LeafList;
}

/** Where an entry is that maps a big page. */
export interface LargeEntry {
  readonly table: Pfn;
  readonly index: number;
  readonly level: number;
}

/** Whether an entry above the leaf tables maps a page. (Without rights, 32-bit formats have no bit left that says so.) */
export const isLarge = (flags: number): boolean => (flags & (PTE_LARGE | PTE_PROT_NONE)) !== 0;

/** The second table of an operation, opened beside the first. */
export type SecondTable = OpenTable & { readonly use: "second" };
/** A table opened by a reverse map. */
export type ReverseTable = OpenTable & { readonly use: "reverse" };

export class PageTables {
  readonly format: PagingFormat;
  readonly levels: number;
  private readonly parts: TableParts;
  private readonly entries: Entries;
  /** Pages that one table of a level covers, by level; a page itself at 0. */
  private readonly spans: readonly number[];
  private readonly highmemFrom: Pfn;
  /** Whether room for windows is taken before tables are opened: `lockTables` does. */
  readonly takesRoom: boolean;
  /** The leaf tables that hang in several places. */
  readonly shared: SharedTables;
  /** By CPU: tables opened and not yet closed. */
  private readonly opened: Int32Array;
  private readonly where: { readonly here: number };
  /** Every address space that has tables, by its number. */
  private readonly spaces = new Map<number, AddressSpace>();

  constructor(parts: TableParts) {
    this.parts = parts;
    this.format = parts.format;
    this.entries = parts.entries;
    this.levels = parts.format.levels;
    const levels = Array.from({ length: this.levels }, (_, below) => parts.format.span(below + 1));
    this.spans = [1, ...levels];
    this.highmemFrom = parts.highmemFrom;
    this.takesRoom = parts.access.takesRoom;
    this.shared = new SharedTables(parts.frames);
    this.opened = new Int32Array(parts.cpus);
    this.where = parts.tlbFlush;
  }

  // Opening.

  open(frame: Pfn): OpenTable {
    this.opened[this.where.here]!++;
    if (frame >= this.highmemFrom) this.parts.access.show(frame, USE_FIRST);
    return frame as OpenTable;
  }

  close(table: OpenTable): void {
    this.opened[this.where.here]!--;
    if (table >= this.highmemFrom) this.parts.access.hide(table, USE_FIRST);
  }

  /** Whether the frame is in highmem, where a window must be made to look at it. */
  isHigh(frame: Pfn): boolean {
    return frame >= this.highmemFrom;
  }

  /** As if the table had been opened and closed so many times more, right after it was. */
  reopened(frame: Pfn, times: number): void {
    if (frame >= this.highmemFrom) this.parts.access.again(times);
  }

  openSecond(frame: Pfn): SecondTable {
    return this.openFor(frame, USE_SECOND) as SecondTable;
  }

  closeSecond(table: SecondTable): void {
    this.closeFor(table, USE_SECOND);
  }

  openReverse(frame: Pfn): ReverseTable {
    return this.openFor(frame, USE_REVERSE) as ReverseTable;
  }

  closeReverse(table: ReverseTable): void {
    this.closeFor(table, USE_REVERSE);
  }

  /** Opened and not yet closed tables: 0 between operations. */
  get openTables(): number {
    return this.opened.reduce((sum, tables) => sum + tables, 0);
  }

  /** Windows on tables that may be held while sleeping, and what they cost. */
  get access(): TableAccess {
    return this.parts.access;
  }

  /** Frames that lie idle in the cache of tables. */
  get idle(): number {
    return this.parts.cache.idle;
  }

  /** `doing` may sleep, or allocates: a KernelBug if this CPU has a table open. */
  requireClosed(doing: string): void {
    const open = this.opened[this.where.here]!;
    if (open !== 0) bug(`${doing} with ${open} page tables open`);
  }

  private openFor(frame: Pfn, use: TableUse): OpenTable {
    this.opened[this.where.here]!++;
    if (frame >= this.highmemFrom) this.parts.access.show(frame, use);
    return frame as OpenTable;
  }

  private closeFor(table: OpenTable, use: TableUse): void {
    this.opened[this.where.here]!--;
    if (table >= this.highmemFrom) this.parts.access.hide(table, use);
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

  // Owners.

  /** The address space that the entry at `slot` belongs to, or one of several. Requires: its leaf table hangs in a tree. */
  mmOf(slot: PteSlot): AddressSpace {
    return this.ownerOf(this.entries.tableOf(slot));
  }

  /** The address space that the leaf table belongs to. Requires: it hangs in a tree. */
  ownerOf(table: Pfn): AddressSpace {
    return this.spaces.get(this.parts.frames.mapping.read(table)) ?? bug(`leaf table ${table} is nobody's`);
  }

  /** The page that the entry at `slot` maps, or would, in `mmOf(slot)`. Requires: its leaf table hangs in a tree. */
  pageOf(slot: PteSlot): Vpn {
    return this.parts.frames.index.read(this.entries.tableOf(slot)) + this.entries.indexOf(slot);
  }

  /** The page of `vma` that the entry at `slot` maps, or would. Requires: its leaf table covers a part of the area. */
  pageIn(slot: PteSlot, vma: Vma): Vpn {
    const shared = this.shared.find(this.entries.tableOf(slot));
    const index = this.entries.indexOf(slot);
    let page = this.pageOf(slot);
    shared?.forEachPlace((mm, first) => {
      if (mm === vma.mm && vma.contains(first + index)) page = first + index;
    });
    return page;
  }

  /** Visits each address space that has the entry at `slot`, with the page that it maps there. */
  forEachPlace(slot: PteSlot, visit: (mm: AddressSpace, page: Vpn) => void): void {
    const shared = this.shared.find(this.entries.tableOf(slot));
    if (shared === undefined) {
      visit(this.mmOf(slot), this.pageOf(slot));
      return;
    }
    const index = this.entries.indexOf(slot);
    shared.forEachPlace((mm, first) => visit(mm, first + index));
  }

  /** The table `table` of `level`, with all tables below it, hangs elsewhere in its address space: it covers `page`. */
  moved(table: Pfn, level: number, page: Vpn): void {
    const { index } = this.parts.frames;
    const first = page - (page % this.span(level));
    if (level === LEAF) {
      index.write(table, first);
      return;
    }
    const end = first + this.span(level);
    for (let at = this.nextUsed(table, level, first, end); at < end; ) {
      const below = this.below(table, this.indexAt(at, level));
      if (below !== NO_TABLE) this.moved(below, level - 1, at);
      at = this.nextUsed(table, level, this.endOf(at, level - 1, end), end);
    }
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

  /** The entry above the leaf tables that maps `page` as part of a big page, with or without rights; or null. */
  largeAt(mm: AddressSpace, page: Vpn): LargeEntry | null {
    let frame = mm.root;
    for (let level = this.levels; level > LEAF; level--) {
      const index = this.indexAt(page, level);
      const table = this.open(frame);
      const flags = this.entries.flags(table, index);
      const below = (flags & PTE_PRESENT) === 0 ? NO_TABLE : this.entries.frame(table, index);
      this.close(table);
      if (isLarge(flags)) return { table: frame, index, level };
      if (below === NO_TABLE) return null;
      frame = below;
    }
    return null;
  }

  /** The leaf table of `page`, opened, or NO_TABLE. */
  openLeaf(mm: AddressSpace, page: Vpn): OpenTable | typeof NO_TABLE {
    const frame = this.tableAt(mm, page, LEAF);
    return frame === NO_TABLE ? NO_TABLE : this.open(frame);
  }

  /** The same for a reverse map. */
  openLeafReverse(mm: AddressSpace, page: Vpn): ReverseTable | typeof NO_TABLE {
    const frame = this.tableAt(mm, page, LEAF);
    return frame === NO_TABLE ? NO_TABLE : this.openReverse(frame);
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

  /**
   * Leaf tables for so many spans from `page` on, the start of one, which the table above them is there for and has none of
   * yet: as many as lie side by side in memory. Null: one must be asked for by itself.
   */
  tryHangLeaves(mm: AddressSpace, page: Vpn, most: number): FrameRun | null {
    const { frames, cache, counters, events, leaves } = this.parts;
    this.requireClosed("allocating page tables");
    const run = cache.takeRun(LEAF, most);
    if (run === null) return null;
    const { first, end } = run;
    frames.flags.put(first, end, PG_TABLE);
    frames.mapping.put(first, end, mm.id);
    frames.index.put(first, end, page, this.span(LEAF));
    leaves.hungRun(first, end);
    mm.tablesByLevel[LEAF]! += end - first;
    counters.tablesAllocated += end - first;
    events.record(EVENT_TABLE, mm.id, page, end - first, first, 0, LEAF);
    const above = this.open(this.tableAt(mm, page, LEAF + 1));
    this.entries.setRun(above, this.indexAt(page, LEAF + 1), first, end, linkFlags(this.format, LEAF + 1));
    this.close(above);
    return run;
  }

  /** The frame of the table of `level` that covers `page`, waiting for memory if need be; or -ENOMEM. */
  *ensure(mm: AddressSpace, page: Vpn, level: number): Path<Pfn> {
    for (let failures = 1; ; failures++) {
      const frame = this.tryEnsure(mm, page, level);
      if (frame !== NO_TABLE) return frame;
      this.requireClosed("waiting for memory");
      if (!(yield* this.parts.allocator.waitForMemory(failures))) return -ENOMEM;
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
    this.spaces.set(mm.id, mm);
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
        if (table === NO_TABLE) continue;
        this.unlink(mm.root, index);
        this.release(mm, table, this.levels - 1);
      }
    }
    this.release(mm, mm.root, this.levels);
    this.spaces.delete(mm.id);
    const left = mm.tablesByLevel.findIndex((count) => count !== 0);
    if (left >= 0) bug(`address space ${mm.id} dies with ${mm.tablesByLevel[left]} tables of level ${left}`);
  }

  /**
   * Takes the table at `level - 1` off entry `index` of the table `frame` of `level`. The caller flushes, and only then
   * releases the table.
   */
  unhang(mm: AddressSpace, frame: Pfn, level: number, index: number): Pfn {
    const table = this.below(frame, index);
    this.unlink(frame, index);
    if (this.topLevelIsCached(level)) this.parts.tlbFlush.all(mm);
    return table;
  }

  /** Hangs the table `table` of `level - 1` under entry `index` of the table `frame` of `level`. */
  hang(mm: AddressSpace, frame: Pfn, level: number, index: number, table: Pfn): void {
    this.link(frame, level, index, table);
    if (this.topLevelIsCached(level)) this.parts.tlbFlush.all(mm);
  }

  /** What is below entry `index` of the table `frame` may not be executed through it. */
  forbidFetches(frame: Pfn, index: number): void {
    const { entries } = this;
    const table = this.open(frame);
    entries.setFlags(table, index, entries.flags(table, index) | PTE_NO_EXECUTE);
    this.close(table);
  }

  /** What is below entry `index` of the table `frame` may be written through it, or not. */
  allowWrites(frame: Pfn, index: number, allowed: "all" | "none"): void {
    const { entries } = this;
    const table = this.open(frame);
    const flags = entries.flags(table, index);
    entries.setFlags(table, index, allowed === "all" ? flags | PTE_WRITE : flags & ~PTE_WRITE);
    this.close(table);
  }

  /** A leaf table for `page` that hangs nowhere yet, or NO_TABLE. */
  tryMakeLeaf(mm: AddressSpace, page: Vpn): Pfn {
    return this.tryAllocate(mm, page, LEAF);
  }

  /** The table that entry `index` of the table `frame` points to, or NO_TABLE: an entry that maps a big page has none. */
  below(frame: Pfn, index: number): Pfn {
    const { entries } = this;
    // A table above the leaves is in lowmem, always at hand.
    const table = frame as OpenTable;
    const low = entries.low(table, index);
    const isLink = (low & (PTE_PRESENT | PTE_LARGE)) === PTE_PRESENT;
    return isLink ? presentFrame(low, entries.high(table, index)) : NO_TABLE;
  }

  /** A table leaves its address space's count: it is off its tree, and freed once TLBs are flushed (`releaseFrame`). */
  uncount(mm: AddressSpace, frame: Pfn, level: number): void {
    if (level === LEAF) this.parts.leaves.unhung(frame);
    this.discount(mm, frame, level);
  }

  private discount(mm: AddressSpace, frame: Pfn, level: number): void {
    mm.tablesByLevel[level]!--;
    this.parts.counters.tablesFreed++;
    this.parts.events.record(EVENT_TABLE_FREED, mm.id, 0, 1, frame, 0, level);
  }

  /** Gives back the frame of a table of `level` that no CPU can reach any more. */
  releaseFrame(frame: Pfn, level: number): void {
    if (level === LEAF) this.parts.frames.mapping.write(frame, 0);
    this.parts.cache.give(frame, level);
  }

  /** Frees a table of `level` that no CPU can reach. */
  release(mm: AddressSpace, frame: Pfn, level: number): void {
    this.uncount(mm, frame, level);
    this.releaseFrame(frame, level);
  }

  // Leaf tables in reserve: nobody can be told that there is no memory to split a large entry.

  /** One table more; false if memory is short. */
  tryReserveLeaf(mm: AddressSpace, page: Vpn): boolean {
    const frame = this.tryTake(mm, page, LEAF);
    if (frame !== NO_TABLE) mm.reservedLeaves.push(frame);
    return frame !== NO_TABLE;
  }

  /** A table of the reserve, which covers `page` from now on and is to be hung. */
  useReservedLeaf(mm: AddressSpace, page: Vpn): Pfn {
    const frame = mm.reservedLeaves.pop() ?? bug(`address space ${mm.id} has no leaf table in reserve`);
    this.own(mm, frame, page);
    return frame;
  }

  /** A leaf table that has been unhung, and whose entries are none now, is in reserve from now on. */
  reserveLeaf(mm: AddressSpace, leaf: Pfn): void {
    this.parts.leaves.unhung(leaf);
    mm.reservedLeaves.push(leaf);
  }

  /** One table less. */
  dropReservedLeaf(mm: AddressSpace): void {
    const frame = mm.reservedLeaves.pop() ?? bug(`address space ${mm.id} has no leaf table in reserve`);
    this.discount(mm, frame, LEAF);
    this.releaseFrame(frame, LEAF);
  }

  private tryAllocate(mm: AddressSpace, page: Vpn, level: number): Pfn {
    const frame = this.tryTake(mm, page, level);
    if (frame !== NO_TABLE && level === LEAF) this.own(mm, frame, page);
    return frame;
  }

  private own(mm: AddressSpace, leaf: Pfn, page: Vpn): void {
    const { frames, leaves } = this.parts;
    frames.mapping.write(leaf, mm.id);
    frames.index.write(leaf, page - (page % this.span(LEAF)));
    leaves.hung(leaf);
  }

  /** A table that covers `page`, of nobody yet. */
  private tryTake(mm: AddressSpace, page: Vpn, level: number): Pfn {
    const { frames, cache, counters, events } = this.parts;
    this.requireClosed("allocating a page table");
    const frame = cache.take(level);
    if (frame < 0) return NO_TABLE;
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

  private unlink(frame: Pfn, index: number): void {
    const open = this.open(frame);
    this.entries.clear(open, index);
    this.close(open);
  }

  private topLevelIsCached(level: number): boolean {
    return level === this.levels && this.format.cachesTopLevel;
  }
}
