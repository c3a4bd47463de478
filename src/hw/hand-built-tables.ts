/**
 * Page tables built by hand, without a kernel: for tests and measurements of the hardware alone. Tables are taken from
 * the frames from `firstFrame` on and never given back.
 */
import type { Pfn, Vpn } from "../base/units.ts";
import type { PagingFormat } from "./paging-format.ts";
import type { PhysicalMemory } from "./physical-memory.ts";
import { Entries, linkFlags, type OpenTable, PTE_LARGE } from "./pte.ts";

export class HandBuiltTables {
  readonly entries: Entries;
  readonly root: OpenTable;
  private readonly format: PagingFormat;
  private nextFrame: Pfn;

  constructor(memory: PhysicalMemory, format: PagingFormat, firstFrame: Pfn = 1) {
    this.entries = new Entries(memory, format);
    this.format = format;
    this.nextFrame = firstFrame;
    this.root = this.newTable();
  }

  /** Maps the page of that level's size which holds `page`; above level 1, to a large page. */
  map(page: Vpn, frame: Pfn, flags: number, level = 1): void {
    const table = this.table(page, level);
    this.entries.set(table, this.format.indexAt(page, level), frame, level > 1 ? flags | PTE_LARGE : flags);
  }

  /** Maps all pages of the leaf table that begins at `page`, which maps none yet, to consecutive frames. */
  mapTable(page: Vpn, frame: Pfn, flags: number): void {
    const table = this.table(page, 1);
    this.entries.setAll(table, table + 1, frame, flags);
  }

  /** The entry for `page` at that level: its flags. */
  flags(page: Vpn, level = 1): number {
    return this.entries.flags(this.table(page, level), this.format.indexAt(page, level));
  }

  /** The table of that level for `page`, which is made if it is missing. */
  table(page: Vpn, level: number): OpenTable {
    let table = this.root;
    for (let above = this.format.levels; above > level; above--) {
      const index = this.format.indexAt(page, above);
      if (this.entries.flags(table, index) === 0) {
        this.entries.set(table, index, this.newTable(), linkFlags(this.format, above));
      }
      table = this.entries.frame(table, index) as OpenTable;
    }
    return table;
  }

  private newTable(): OpenTable {
    return this.nextFrame++ as Pfn as OpenTable;
  }
}
