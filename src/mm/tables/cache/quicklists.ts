/**
 * Each CPU keeps the tables that it freed, a list for each level, and takes the next one from there: zeroed already, and
 * perhaps still in its cache. The lists run through the tables themselves, so these must be in lowmem:
 *
 *     head -> | next | 0 | 0 ...    word 1, which is still zero, is copied over word 0 when the table is taken
 *
 * Above 50 tables a CPU's lists are trimmed to 25.
 *
 * @models linux-2.4.22 include/asm-i386/pgalloc.h get_pgd_fast, pte_alloc_one_fast; arch/i386/mm/init.c do_check_pgt_cache
 * @differs the lists are trimmed when a table is freed; 2.4 does so when a process ends or a CPU is idle
 */
import type { FrameRun, Pfn } from "../../../base/units.ts";
import { NO_FRAME, PG_TABLE } from "../../frames.ts";
import { OWNER_PAGE_TABLES, OWNER_QUICKLISTS } from "../../zone.ts";
import { NoTableCache } from "./none.ts";
import type { TableCacheParts } from "./table-cache.ts";

/** pgt_cache_water. */
const LOW_WATER = 25;
const HIGH_WATER = 50;

const END = -1;

export class Quicklists extends NoTableCache {
  /** By CPU and level: the first table of the list. */
  private readonly heads: Int32Array;
  /** By CPU: tables on its lists (pgtable_cache_sz). */
  private readonly sizes: Int32Array;

  constructor(parts: TableCacheParts) {
    super(parts);
    this.heads = new Int32Array(parts.cpus * (parts.levels + 1)).fill(END);
    this.sizes = new Int32Array(parts.cpus);
  }

  override get idle(): number {
    return this.sizes.reduce((sum, size) => sum + size, 0);
  }

  override take(level: number): Pfn {
    const cpu = this.parts.where.here;
    const frame = this.pop(cpu, level);
    if (frame === NO_FRAME) return super.take(level);
    this.parts.allocator.reassign(frame, OWNER_PAGE_TABLES, 1);
    this.parts.counters.tablesReused++;
    return frame;
  }

  override takeRun(level: number, most: number): FrameRun | null {
    const isIdle = this.heads[this.list(this.parts.where.here, level)]! === END;
    return isIdle ? super.takeRun(level, most) : null;
  }

  override give(table: Pfn, level: number): void {
    const cpu = this.parts.where.here;
    const list = this.list(cpu, level);
    const { memory, allocator } = this.parts;
    memory.write(table, 0, this.heads[list]!);
    allocator.frames.clearFlag(table, PG_TABLE);
    allocator.reassign(table, OWNER_QUICKLISTS, 1);
    this.heads[list] = table;
    this.sizes[cpu]!++;
    if (this.sizes[cpu]! > HIGH_WATER) this.trim(cpu, LOW_WATER);
  }

  override drain(): number {
    const before = this.idle;
    for (let cpu = 0; cpu < this.sizes.length; cpu++) this.trim(cpu, 0);
    return before;
  }

  private list(cpu: number, level: number): number {
    return cpu * (this.parts.levels + 1) + level;
  }

  private pop(cpu: number, level: number): Pfn {
    const list = this.list(cpu, level);
    const frame = this.heads[list]!;
    if (frame === END) return NO_FRAME;
    const { memory } = this.parts;
    this.heads[list] = memory.read(frame, 0);
    memory.write(frame, 0, memory.read(frame, 1));
    this.sizes[cpu]!--;
    return frame;
  }

  /** Frees tables of this CPU, a round of its lists at a time, until `left` are left. */
  private trim(cpu: number, left: number): void {
    while (this.sizes[cpu]! > left) {
      for (let level = this.parts.levels; level >= 1 && this.sizes[cpu]! > left; level--) {
        const frame = this.pop(cpu, level);
        if (frame === NO_FRAME) continue;
        this.parts.allocator.reassign(frame, OWNER_PAGE_TABLES, 1);
        this.parts.allocator.freeBlock(frame, 0);
      }
    }
  }
}
