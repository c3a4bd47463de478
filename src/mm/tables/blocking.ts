/**
 * Page tables in highmem through windows that may be waited for: pools of their own ("series"), one for each use, so
 * that tables never wait for the page cache's windows, nor an operation's second table for its first. A table that is
 * still in its pool costs no flush at all; but opening one may sleep, and after that nothing that was looked up holds.
 *
 * @models linux-2.4.18-aa include/asm-i386/highmem.h KM_SERIES_PAGETABLE, KM_SERIES_PAGETABLE2
 * @differs at the wrap of a series all CPUs flush at once: who opens a table holds a lock that spins
 * @differs the reverse map has a third series; 2.4 had no reverse map
 * @differs the wait comes before an operation takes its page_table_lock, and is for a slot of every series, which the
 *   operation then keeps until it gives the lock back: there is none under the lock, where nobody may sleep
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { KernelTable } from "../kmap/kernel-table.ts";
import type { KmapParts } from "../kmap/kmap.ts";
import { NO_WINDOW, noPoolCosts, SlotPool } from "../kmap/slot-pool.ts";
import { TABLE_USES, type TableAccess, type TableUse } from "./access.ts";

export class BlockingAccess implements TableAccess {
  readonly mode = "sleeping";
  readonly takesRoom = true;
  readonly costs = noPoolCosts();
  /** By use. */
  private readonly series: readonly SlotPool[];
  /** Those who have taken room: each may have one table of each use open. */
  private takers = 0;

  constructor(parts: KmapParts) {
    const { costs } = this;
    const flush = () => parts.flushes.kernelAtOnce();
    this.series = Array.from({ length: TABLE_USES }, (_, use) => {
      const table = KernelTable.create(parts, parts.slots);
      return new SlotPool({ name: `page-table series ${use}`, table, costs, flush });
    });
  }

  show(table: Pfn, use: TableUse): void {
    const pool = this.series[use]!;
    if (pool.tryMap(table) === NO_WINDOW)
      bug(`${pool.name} is full, and nobody waited for room before opening ${table}`);
  }

  hide(table: Pfn, use: TableUse): void {
    this.series[use]!.unmap(table);
  }

  again(times: number): void {
    if (times > 0) bug(`${times} windows on a page table are made at once, and each might have waited`);
  }

  takeRoom(): Path<void> | undefined {
    if (this.full() !== undefined) return this.waitForRoom();
    this.takers++;
    return undefined;
  }

  giveRoom(): void {
    if (--this.takers < 0) bug("room in the page-table series is given back more often than it was taken");
  }

  pools(): Iterable<SlotPool> {
    return this.series;
  }

  /** Whoever can go on may: room that one waiter finds and does not use wakes all others. */
  private *waitForRoom(): Path<void> {
    for (let pool = this.full(); pool !== undefined; pool = this.full()) {
      this.costs.waits++;
      yield { on: `a slot of ${pool.name}`, ready: () => this.full() === undefined };
    }
    this.takers++;
  }

  /** A series of which all slots are in use or promised. A taker's own tables count twice: that is only too careful. */
  private full(): SlotPool | undefined {
    return this.series.find((pool) => pool.busySlots + this.takers >= pool.slots);
  }
}
