/**
 * Pages of 2 MiB, 4 MiB or 1 GiB that a program asks for by name, each mapped by one entry above the leaf tables.
 *
 *     none                  there are none: MAP_HUGETLB finds an empty pool
 *     magic-syscall         map_large_page: the sketch of May 2002, completed
 *     hugetlb-syscalls      alloc_hugepages and free_hugepages, as 2.5.36
 *     hugetlbfs             files of huge pages, MAP_HUGETLB and SHM_HUGETLB
 *     hugetlbfs-shared-pmd  the same, and processes share the tables of the second level
 *
 * The rest of `mm` never meets these pages: each of its operations asks once, at its entry, whether an area is VM_BIG, and
 * then leaves it to the functions below. Walks for ordinary pages take an entry that maps a big page for no table.
 */
import { ENOMEM, ENOSYS } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { FileIndex, Pfn, Vaddr, Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import type { FileObject, OpenFile } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import type { Thread } from "../process.ts";
import type { Intent, Verdict } from "../verdict.ts";
import type { Vma } from "../vma.ts";
import type { HugePool } from "./huge-pool.ts";

/** An area to be made: its place is free, its arguments have been checked. */
export interface BigRegion {
  readonly start: Vpn;
  readonly end: Vpn;
  /** VM_* bits. */
  readonly flags: number;
  readonly pool: HugePool;
  /** Null: memory of its own (MAP_ANONYMOUS). */
  readonly opened: OpenFile | null;
  readonly fileIndex: number;
}

/** A segment of System V shared memory to be made. */
export interface BigSegment {
  readonly name: string;
  readonly bytes: number;
  readonly pool: HugePool;
  /** Whether its pages are promised to it (not SHM_NORESERVE). */
  readonly isPromised: boolean;
}

/** What mremap was asked for, in pages. */
export interface BigRemap {
  readonly from: Vpn;
  readonly oldPages: number;
  readonly newPages: number;
  /** The place asked for; null if none was. */
  readonly to: Vpn | null;
}

/** Where advice is given: the end may be moved down. */
export interface Advised {
  readonly start: Vpn;
  readonly end: Vpn;
}

export interface BigPages {
  /** By size, the smallest first; none where the kernel knows no huge pages. */
  readonly pools: readonly HugePool[];
  /** Tables that hang in one more tree than the first, for each such tree: they are counted in all, and are there once. */
  readonly tablesInCommon: number;
  /** Whether tables of big pages may hang in several trees: a missing one need not be made, then. */
  readonly sharesTables: boolean;
  /** In how many trees a page table hangs. */
  treesOf(table: Pfn): number;
  /** The pool of the pages of 2^log bytes; 0 means the usual size. Null: no mapping can have such pages. */
  poolFor(log: number): HugePool | null;

  // Calls.

  /** mmap of huge pages: 0 or -ERRNO. */
  map(kernel: Kernel, mm: AddressSpace, region: BigRegion): Path<number>;
  /** shmget with SHM_HUGETLB: the segment's file, or null if the pool is short. */
  createSegment(kernel: Kernel, segment: BigSegment): FileObject | null;
  mapLargePage(kernel: Kernel, thread: Thread, address: Vaddr, bytes: number, index: number): Path<number>;
  allocHugepages(kernel: Kernel, thread: Thread, request: HugepageRequest): Path<number>;
  freeHugepages(kernel: Kernel, thread: Thread, address: Vaddr): Path<number>;

  // What becomes of areas.

  /** A fault on a page that the area allows to be used so. Requires: mmap_sem is held. */
  fault(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Path<Verdict>;
  /** Takes the entries of `[first, end)` away. */
  zap(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<void>;
  /** Truncation: the same for pages `[first, end)` of the area's file, if the area still maps it when its tables are locked. */
  zapFile(kernel: Kernel, vma: Vma, first: FileIndex, end: FileIndex): Path<void>;
  /** fork: 0 or -ENOMEM. */
  copy(kernel: Kernel, child: Vma, parent: Vma): Path<number>;
  /** The area has new rights. */
  protect(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<number>;
  /** mremap: for how many pages the entries have moved. */
  move(kernel: Kernel, from: Vma, fromPage: Vpn, to: Vma, toPage: Vpn, pages: number): Path<number>;
  /** The area is about to be unmapped at its old place, which has given its pages to a new one. */
  moved(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): void;
  /** The area ends. */
  closed(kernel: Kernel, vma: Vma): void;
  /** A reference to a big page less. */
  drop(kernel: Kernel, head: Pfn): void;

  // What areas refuse: 0 or -ERRNO.

  refusesCut(kernel: Kernel, vma: Vma, page: Vpn): number;
  refusesProtect(kernel: Kernel, vma: Vma): number;
  /** What mremap is to do, in whole big pages. */
  remapped(kernel: Kernel, vma: Vma, remap: BigRemap): BigRemap | number;
  /** The range that the advice is for, or -ERRNO. */
  advised(kernel: Kernel, vma: Vma, advice: number, range: Advised): Advised | number;
}

/** The arguments of alloc_hugepages. */
export interface HugepageRequest {
  readonly key: number;
  readonly address: Vaddr;
  readonly bytes: number;
  readonly prot: number;
  readonly flag: number;
}

// biome-ignore lint/correctness/useYield: a path that never waits
function* unknownCall(): Path<number> {
  return -ENOSYS;
}

/** A kernel that has no way to make big areas. */
export class NoBigPages implements BigPages {
  readonly pools: readonly HugePool[] = [];

  get tablesInCommon(): number {
    return 0;
  }

  get sharesTables(): boolean {
    return false;
  }

  treesOf(_table: Pfn): number {
    return 1;
  }

  poolFor(_log: number): HugePool | null {
    return null;
  }

  // biome-ignore lint/correctness/useYield: a path that never waits
  *map(_kernel: Kernel, _mm: AddressSpace, _region: BigRegion): Path<number> {
    return -ENOMEM;
  }

  createSegment(_kernel: Kernel, _segment: BigSegment): FileObject | null {
    return null;
  }

  mapLargePage(_kernel: Kernel, _thread: Thread, _address: Vaddr, _bytes: number, _index: number): Path<number> {
    return unknownCall();
  }

  allocHugepages(_kernel: Kernel, _thread: Thread, _request: HugepageRequest): Path<number> {
    return unknownCall();
  }

  freeHugepages(_kernel: Kernel, _thread: Thread, _address: Vaddr): Path<number> {
    return unknownCall();
  }

  fault(_kernel: Kernel, vma: Vma, _page: Vpn, _intent: Intent): Path<Verdict> {
    return this.none(vma);
  }

  zap(_kernel: Kernel, vma: Vma, _first: Vpn, _end: Vpn): Path<void> {
    return this.none(vma);
  }

  zapFile(_kernel: Kernel, vma: Vma, _first: FileIndex, _end: FileIndex): Path<void> {
    return this.none(vma);
  }

  copy(_kernel: Kernel, _child: Vma, parent: Vma): Path<number> {
    return this.none(parent);
  }

  protect(_kernel: Kernel, vma: Vma, _first: Vpn, _end: Vpn): Path<number> {
    return this.none(vma);
  }

  move(_kernel: Kernel, from: Vma, _fromPage: Vpn, _to: Vma, _toPage: Vpn, _pages: number): Path<number> {
    return this.none(from);
  }

  moved(_kernel: Kernel, vma: Vma, _first: Vpn, _end: Vpn): void {
    this.none(vma);
  }

  closed(_kernel: Kernel, vma: Vma): void {
    this.none(vma);
  }

  drop(_kernel: Kernel, head: Pfn): void {
    bug(`frame ${head} is a big page, and there are none`);
  }

  refusesCut(_kernel: Kernel, vma: Vma, _page: Vpn): number {
    return this.none(vma);
  }

  refusesProtect(_kernel: Kernel, vma: Vma): number {
    return this.none(vma);
  }

  remapped(_kernel: Kernel, vma: Vma, _remap: BigRemap): BigRemap | number {
    return this.none(vma);
  }

  advised(_kernel: Kernel, vma: Vma, _advice: number, _range: Advised): Advised | number {
    return this.none(vma);
  }

  private none(vma: Vma): never {
    bug(`${vma.start}..${vma.end} is an area of big pages, and there are none`);
  }
}
