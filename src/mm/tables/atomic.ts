/**
 * Page tables in highmem through kmap_atomic: an entry written and a translation dropped for each table opened, no lock
 * and no wait, so that nothing which was looked up can change meanwhile. In exchange nobody may sleep, or allocate,
 * with a table open.
 *
 * @models linux-2.6.11 include/asm-i386/pgtable.h pte_offset_map, pte_offset_map_nested
 * @models linux-2.6.0 include/asm-i386/rmap.h rmap_ptep_map
 */
import type { Pfn } from "../../base/units.ts";
import type { AtomicMaps } from "../kmap/atomic.ts";
import { KM_PTE0, KM_PTE1, KM_PTE2 } from "../kmap/atomic-types.ts";
import { noPoolCosts } from "../kmap/slot-pool.ts";
import type { TableAccess, TableUse } from "./access.ts";

/** By use: the slot's type. */
const types = [KM_PTE0, KM_PTE1, KM_PTE2] as const;

export class AtomicAccess implements TableAccess {
  readonly mode = "atomic";
  readonly takesRoom = false;
  readonly costs = noPoolCosts();
  private readonly atomicMaps: AtomicMaps;

  constructor(atomicMaps: AtomicMaps) {
    this.atomicMaps = atomicMaps;
  }

  show(table: Pfn, use: TableUse): void {
    this.atomicMaps.map(table, types[use]!);
  }

  hide(table: Pfn, use: TableUse): void {
    this.atomicMaps.unmap(table, types[use]!);
  }

  again(times: number): void {
    this.atomicMaps.again(times);
  }

  takeRoom(): undefined {
    return undefined;
  }

  giveRoom(): void {}

  pools(): [] {
    return [];
  }
}
