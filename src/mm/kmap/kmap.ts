/**
 * Windows on highmem frames that may be held while sleeping (kmap): for reading and writing files and other processes'
 * memory. Everybody shares one pool, or each task has its own.
 *
 * Requires: whoever maps also unmaps, in the same address space. Frames of lowmem need no window.
 */
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import type { AtomicMaps } from "./atomic.ts";
import type { KernelTableParts } from "./kernel-table.ts";
import type { PoolCosts, SlotPool } from "./slot-pool.ts";

export interface Kmap {
  readonly costs: PoolCosts;
  /** A window on the highmem frame. False if there is none right now. */
  tryMap(frame: Pfn): boolean;
  /** The same, waiting for one if need be. */
  map(frame: Pfn): Path<void>;
  unmap(frame: Pfn): void;
  /** Whether somebody holds a window on the highmem frame, where the running task would find it. */
  shows(frame: Pfn): boolean;
  /** What `tryMap` has left to do, if it came round its pool: other CPUs are yet to flush. `map` sees to that itself. */
  unsettled(): Path<void> | undefined;
  /** An address space dies: what it had is given back. */
  forget(mm: AddressSpace): void;
  /** Every pool, for audits. */
  pools(): Iterable<SlotPool>;
}

export interface KmapParts extends KernelTableParts {
  /** Slots of a pool: 512 or 1024, what one page table maps, unless a person wants another number. */
  readonly slots: number;
  readonly atomicMaps: AtomicMaps;
  readonly flushes: KmapFlushes;
}

/** How a pool's translations are dropped. */
export interface KmapFlushes {
  /** The address space that the CPU which asks has loaded, or null. */
  readonly current: AddressSpace | null;
  /** The kernel's translations on every CPU: this one at once. */
  kernel(): void;
  /** The same on every CPU at once, for those who cannot wait for the others. */
  kernelAtOnce(): void;
  /** Everything of `mm`, on the CPUs that have it loaded. */
  all(mm: AddressSpace): void;
  /** Whether other CPUs must yet be told, and telling them. */
  readonly owes: boolean;
  settle(): Path<void>;
}
