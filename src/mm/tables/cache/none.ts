/**
 * Each table is allocated and zeroed, and goes back to the allocator when it is freed.
 *
 * @models linux-2.6.11 arch/i386/mm/pgtable.c pte_alloc_one
 */
import type { FrameRun, Pfn } from "../../../base/units.ts";
import { WANT_KERNEL, type Want } from "../../allocator.ts";
import { NO_FRAME } from "../../frames.ts";
import { OWNER_PAGE_TABLES } from "../../zone.ts";
import type { TableCache, TableCacheParts } from "./table-cache.ts";

export class NoTableCache implements TableCache {
  protected readonly parts: TableCacheParts;
  /** By level. */
  private readonly wants: readonly Want[];

  constructor(parts: TableCacheParts) {
    this.parts = parts;
    this.wants = Array.from({ length: parts.levels + 1 }, (_, level) => (level === 1 ? parts.leafWant : WANT_KERNEL));
  }

  get idle(): number {
    return 0;
  }

  take(level: number): Pfn {
    const { allocator, contents, counters } = this.parts;
    const frame = allocator.tryAllocateBlock(0, this.wants[level]!, OWNER_PAGE_TABLES);
    if (frame === NO_FRAME) return NO_FRAME;
    contents.zero(frame);
    counters.tablesZeroed++;
    return frame;
  }

  takeRun(level: number, most: number): FrameRun | null {
    const { allocator, contents, counters } = this.parts;
    const run = allocator.tryAllocateRun(most, this.wants[level]!, OWNER_PAGE_TABLES);
    if (run === null) return null;
    contents.zeroRun(run.first, run.end);
    counters.tablesZeroed += run.end - run.first;
    return run;
  }

  give(table: Pfn, _level: number): void {
    this.parts.allocator.freeBlock(table, 0);
  }

  drain(): number {
    return 0;
  }
}
