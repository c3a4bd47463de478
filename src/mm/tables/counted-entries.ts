/**
 * Entries that count themselves: the references to a table's frame are one for the table, as for any frame in use, and
 * one for each of its entries that is not none (present, PROT_NONE, a swap slot, a page of a file). The count is in the
 * struct page, so it can be had without opening the table, which may be in highmem. It costs a look at the old entry
 * each time that one is written.
 *
 * @models MAIL-BIGPAGE (a pte count, kept by page_count of the page table)
 */
import type { Pfn } from "../../base/units.ts";
import type { PagingFormat } from "../../hw/paging-format.ts";
import type { PhysicalMemory, WordModel } from "../../hw/physical-memory.ts";
import { Entries, type OpenTable } from "../../hw/pte.ts";
import type { Frames } from "../frames.ts";

export class CountedEntries extends Entries {
  /** Entries that were looked at because they were about to be written. */
  looks = 0;
  private readonly frames: Frames;

  constructor(memory: PhysicalMemory, format: PagingFormat, frames: Frames) {
    super(memory, format);
    this.frames = frames;
  }

  override setAll(start: Pfn, end: Pfn, first: Pfn, flags: number): void {
    this.countAll(start, end);
    super.setAll(start, end, first, flags);
  }

  override setAllLike(start: Pfn, end: Pfn, model: WordModel, at: number): void {
    this.countAll(start, end);
    super.setAllLike(start, end, model, at);
  }

  override setRun(table: OpenTable, index: number, first: Pfn, end: Pfn, flags: number): void {
    if (this.memory.isBlank(table)) {
      this.looks += end - first;
      this.frames.refs.add(table, end - first);
    }
    super.setRun(table, index, first, end, flags);
  }

  override clearRun(table: OpenTable, index: number, end: number): void {
    this.looks += end - index;
    this.frames.refs.add(table, index - end);
    super.clearRun(table, index, end);
  }

  /** All entries of the tables `[start, end)` are set, which were none. */
  private countAll(start: Pfn, end: Pfn): void {
    const all = 1 << this.format.indexBits;
    this.looks += all * (end - start);
    this.frames.refs.addEach(start, end, all);
  }

  protected override store(table: OpenTable, index: number, low: number, high: number): void {
    this.looks++;
    const was = this.isNone(table, index) ? 0 : 1;
    const is = (low | high) !== 0 ? 1 : 0;
    if (was !== is) this.frames.refs.add(table, is - was);
    super.store(table, index, low, high);
  }
}
