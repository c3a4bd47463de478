/**
 * A pool for each address space, in its own part of the address map: a round of it flushes only the CPUs that run the
 * owner, and nobody waits for another's windows. The price: a page table for each task, and, since a frame may have a
 * window in many pools, an index for each task to find it again.
 *
 * A task without an address space, and one for which lowmem has no table left, use the global pool.
 *
 * @differs nobody built it: it was a proposal of 2002, and this is what its authors said it would cost
 */
import { PAGE_SIZE, type Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import { type Allocator, WANT_KERNEL } from "../allocator.ts";
import { NO_FRAME } from "../frames.ts";
import { OWNER_KMAP } from "../zone.ts";
import { GlobalPool } from "./global-pool.ts";
import { WindowIndex } from "./index-of-frames.ts";
import { KernelTable } from "./kernel-table.ts";
import type { Kmap, KmapParts } from "./kmap.ts";
import { NO_WINDOW, SlotPool } from "./slot-pool.ts";

/** What one address space has of its own. */
interface Own {
  readonly pool: SlotPool;
  readonly table: KernelTable;
  readonly indexFrames: readonly Pfn[];
}

export class PerTaskPools implements Kmap {
  private readonly parts: KmapParts;
  private readonly shared: GlobalPool;
  private readonly own = new Map<AddressSpace, Own>();

  constructor(parts: KmapParts) {
    this.parts = parts;
    this.shared = new GlobalPool(parts);
  }

  get costs() {
    return this.shared.costs;
  }

  tryMap(frame: Pfn): boolean {
    this.parts.atomicMaps.requireNone("kmap");
    return this.poolToMap().tryMap(frame) !== NO_WINDOW;
  }

  *map(frame: Pfn): Path<void> {
    this.parts.atomicMaps.requireNone("kmap");
    yield* this.poolToMap().map(frame);
    const unsettled = this.unsettled();
    if (unsettled !== undefined) yield* unsettled;
  }

  unsettled(): Path<void> | undefined {
    return this.shared.unsettled();
  }

  unmap(frame: Pfn): void {
    const mm = this.parts.flushes.current;
    const own = mm === null ? undefined : this.own.get(mm)?.pool;
    if (own !== undefined && own.find(frame) !== NO_WINDOW) own.unmap(frame);
    else this.shared.unmap(frame);
  }

  shows(frame: Pfn): boolean {
    const mm = this.parts.flushes.current;
    const own = mm === null ? undefined : this.own.get(mm)?.pool;
    return own?.isUsed(frame) === true || this.shared.shows(frame);
  }

  forget(mm: AddressSpace): void {
    const own = this.own.get(mm);
    if (own === undefined) return;
    this.own.delete(mm);
    own.table.destroy(this.parts.allocator);
    for (const frame of own.indexFrames) this.parts.allocator.freeBlock(frame, 0);
  }

  *pools(): Iterable<SlotPool> {
    yield this.shared.pool;
    for (const { pool } of this.own.values()) yield pool;
  }

  private poolToMap(): SlotPool {
    const mm = this.parts.flushes.current;
    if (mm === null) return this.shared.pool;
    return this.own.get(mm)?.pool ?? this.admit(mm)?.pool ?? this.shared.pool;
  }

  /** Gives the address space a pool, unless lowmem is short. */
  private admit(mm: AddressSpace): Own | null {
    const { allocator, slots, flushes } = this.parts;
    const indexFrames = tryFrames(allocator, Math.ceil(WindowIndex.bytesFor(slots) / PAGE_SIZE));
    if (indexFrames === null) return null;
    const table = KernelTable.tryCreate(this.parts, slots);
    if (table === null) {
      for (const frame of indexFrames) allocator.freeBlock(frame, 0);
      return null;
    }
    const name = `kmap of address space ${mm.id}`;
    const pool = new SlotPool({ name, table, costs: this.costs, flush: () => flushes.all(mm) });
    const own = { pool, table, indexFrames };
    this.own.set(mm, own);
    return own;
  }
}

function tryFrames(allocator: Allocator, count: number): Pfn[] | null {
  const frames: Pfn[] = [];
  while (frames.length < count) {
    const frame = allocator.tryAllocateBlock(0, WANT_KERNEL, OWNER_KMAP);
    if (frame === NO_FRAME) {
      for (const taken of frames) allocator.freeBlock(taken, 0);
      return null;
    }
    frames.push(frame);
  }
  return frames;
}
