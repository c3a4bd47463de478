/**
 * One pool for the whole machine, in the kernel's own tables. A frame's window is known to everybody and costs nothing
 * to find again; but each round of the pool flushes the TLBs of all CPUs, so that the work grows with the square of
 * their number, and tasks that hold windows while they wait for more can all wait for each other.
 *
 * @models linux-2.6.11 mm/highmem.c kmap_high, kunmap_high
 * @differs while tasks are interleaved, who comes round the pool waits for the other CPUs, but holds nobody else up: no
 *   TLB keeps the windows' translations here, and only what the flush costs can be seen
 */
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { AtomicMaps } from "./atomic.ts";
import { KernelTable } from "./kernel-table.ts";
import type { Kmap, KmapFlushes, KmapParts } from "./kmap.ts";
import { NO_WINDOW, noPoolCosts, SlotPool } from "./slot-pool.ts";

export class GlobalPool implements Kmap {
  readonly costs = noPoolCosts();
  readonly pool: SlotPool;
  private readonly atomicMaps: AtomicMaps;
  private readonly flushes: KmapFlushes;

  constructor(parts: KmapParts) {
    const { flushes, costs } = { flushes: parts.flushes, costs: this.costs };
    const table = KernelTable.create(parts, parts.slots);
    this.pool = new SlotPool({ name: "kmap", table, costs, flush: () => flushes.kernel() });
    this.atomicMaps = parts.atomicMaps;
    this.flushes = flushes;
  }

  tryMap(frame: Pfn): boolean {
    this.atomicMaps.requireNone("kmap");
    return this.pool.tryMap(frame) !== NO_WINDOW;
  }

  *map(frame: Pfn): Path<void> {
    this.atomicMaps.requireNone("kmap");
    yield* this.pool.map(frame);
    const unsettled = this.unsettled();
    if (unsettled !== undefined) yield* unsettled;
  }

  unsettled(): Path<void> | undefined {
    return this.flushes.owes ? this.flushes.settle() : undefined;
  }

  unmap(frame: Pfn): void {
    this.pool.unmap(frame);
  }

  shows(frame: Pfn): boolean {
    return this.pool.isUsed(frame);
  }

  forget(): void {}

  pools(): Iterable<SlotPool> {
    return [this.pool];
  }
}
