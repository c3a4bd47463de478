/**
 * One address space (Linux's mm_struct): its areas, the root of its page tables, and the totals that limits are held
 * against. Threads share it, and so do processes after vfork.
 *
 * `mmapSem` protects the areas and the totals: write to change them, read to fault. `pageTableLock` protects the
 * entries and the resident counts.
 */
import type { Pfn, Vaddr, Vpn } from "../base/units.ts";
import { RwSemaphore, SpinLock } from "../sync/lock.ts";
import type { Limits } from "./limits.ts";
import { VmaSet } from "./vma-set.ts";

/** What page_table_locks guard, for the scheduler: entries, frames and the allocator's lists count as one. */
export const MEMORY = "memory";

/** Pages that are present (or in swap), by what they are. */
export interface Resident {
  anon: number;
  file: number;
  shmem: number;
  swap: number;
}

export class AddressSpace {
  readonly id: number;
  /** The frame of the top page table. */
  root: Pfn;
  readonly limits: Limits;
  readonly vmas = new VmaSet();
  readonly mmapSem: RwSemaphore;
  readonly pageTableLock: SpinLock;
  /** pageTableLock while fork fills the tables: of a family of its own, since the parent's is taken inside it. */
  readonly birthLock: SpinLock;
  /** How many processes run in it. */
  users = 1;

  // In pages.
  /** All areas. */
  totalPages = 0;
  /** Private writable areas that are not stacks. */
  dataPages = 0;
  /** Executable areas that cannot be written. */
  execPages = 0;
  /** Areas that grow down. */
  stackPages = 0;
  /** Areas with VM_LOCKED. */
  lockedPages = 0;
  peakTotalPages = 0;
  readonly resident: Resident = { anon: 0, file: 0, shmem: 0, swap: 0 };
  peakResidentPages = 0;

  /** Page tables by level: [1] leaf tables, up to the top. */
  readonly tablesByLevel: number[] = [0, 0, 0, 0, 0, 0];
  /** Leaf tables in reserve, one for each large entry that may have to be split; they are counted above. */
  readonly reservedLeaves: Pfn[] = [];
  /** The CPUs whose TLBs may hold translations of it. */
  readonly cpus = new Set<number>();

  /** VM_* bits that every new area gets (mlockall's MCL_FUTURE). */
  defaultFlags = 0;
  /** Where top-down placement starts, going down. */
  mmapBase: Vpn = 0;
  /** Where a walk that looks for pages to swap out goes on (linux-2.4). */
  swapAddress: Vpn = 0;
  /** Where 2.6.11's bottom-up placement starts: below it no gap is worth a look. */
  freeAreaCache: Vpn = 0;

  // The parts of the program, in bytes.
  startCode: Vaddr = 0;
  endCode: Vaddr = 0;
  startData: Vaddr = 0;
  endData: Vaddr = 0;
  startBrk: Vaddr = 0;
  brk: Vaddr = 0;
  stackStart: Vaddr = 0;

  constructor(id: number, root: Pfn, limits: Limits) {
    this.id = id;
    this.root = root;
    this.limits = limits;
    this.mmapSem = new RwSemaphore(`mmap_sem of ${id}`);
    this.pageTableLock = new SpinLock(`page_table_lock of ${id}`, MEMORY);
    this.birthLock = new SpinLock(`page_table_lock at birth of ${id}`, MEMORY);
  }

  get residentPages(): number {
    return this.resident.anon + this.resident.file + this.resident.shmem;
  }

  /** Remembers the peaks: call before the totals shrink. */
  notePeaks(): void {
    if (this.totalPages > this.peakTotalPages) this.peakTotalPages = this.totalPages;
    if (this.residentPages > this.peakResidentPages) this.peakResidentPages = this.residentPages;
  }
}
