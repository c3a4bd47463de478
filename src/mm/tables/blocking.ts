/**
 * Page tables in highmem through windows that may be waited for: pools of their own ("series"), one for each use, so
 * that tables never wait for the page cache's windows, nor an operation's second table for its first. A table that is
 * still in its pool costs no flush at all; but opening one may sleep, and after that nothing that was looked up holds.
 *
 * @models linux-2.4.18-aa include/asm-i386/highmem.h KM_SERIES_PAGETABLE, KM_SERIES_PAGETABLE2
 * @differs the reverse map has a third series; 2.4 had no reverse map
 * @differs the wait comes before an operation looks at its first table, and is for room in every series
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
  readonly costs = noPoolCosts();
  /** By use. */
  private readonly series: readonly SlotPool[];

  constructor(parts: KmapParts) {
    const { costs } = this;
    const flush = () => parts.flushes.kernel();
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

  room(): Path<void> | undefined {
    const full = this.series.find((pool) => !pool.hasRoom);
    return full === undefined ? undefined : this.waitFor(full);
  }

  pools(): Iterable<SlotPool> {
    return this.series;
  }

  private *waitFor(full: SlotPool): Path<void> {
    for (let pool: SlotPool | undefined = full; pool !== undefined; pool = this.series.find((one) => !one.hasRoom)) {
      this.costs.waits++;
      yield pool.wait();
    }
  }
}
