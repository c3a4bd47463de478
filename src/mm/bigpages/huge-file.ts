/**
 * A file of huge pages (hugetlbfs): its pages by their number in the file, counted in huge pages, and which of its
 * places are promised a page whether they have one yet or not.
 *
 * @models linux-6.1 mm/hugetlb.c struct resv_map, hugetlb_reserve_pages, hugetlb_unreserve_pages, region_chg
 */
import type { Pfn } from "../../base/units.ts";
import { Mutex } from "../../sync/lock.ts";
import { MEMORY } from "../address-space.ts";
import type { FileObject } from "../file.ts";
import type { Frames } from "../frames.ts";
import { NOT_CACHED, PageCache } from "../page-cache.ts";
import type { BigTableModel } from "../populate-big.ts";
import type { Slab } from "../slab.ts";
import type { HugePool } from "./huge-pool.ts";

export class HugeFile {
  readonly pool: HugePool;
  readonly pages: PageCache;
  /** Places that shared mappings have been promised, and those that have been given a page. */
  readonly promised = new Set<number>();

  /** By its first page: a table of these pages, as populating has found it last. */
  readonly tableModels = new Map<number, BigTableModel>();

  /** Held by whoever shares page tables with others, or leaves them (i_mmap_rwsem). */
  readonly tablesLock: Mutex;

  /** Of the file that has this name. */
  constructor(name: string, pool: HugePool, nodes: Slab) {
    this.tablesLock = new Mutex(`i_mmap of ${name}`, MEMORY);
    this.pool = pool;
    this.pages = new PageCache(nodes);
  }

  /** Promises a page to each place of `[first, end)` that has none yet: false if the pool is short. */
  promise(first: number, end: number): boolean {
    let missing = 0;
    for (let at = first; at < end; at++) if (!this.promised.has(at)) missing++;
    if (!this.pool.reserve(missing)) return false;
    for (let at = first; at < end; at++) this.promised.add(at);
    return true;
  }

  /** Takes pages and promises of `[first, end)` back; returns the pages, whose references are the caller's. */
  cut(first: number, end: number): Pfn[] {
    const found: { at: number; head: Pfn }[] = [];
    this.pages.forEach(first, end, (at, head) => {
      found.push({ at, head });
      return true;
    });
    let unused = 0;
    for (const at of [...this.promised]) {
      if (at < first || at >= end) continue;
      this.promised.delete(at);
      if (this.pages.find(at) === NOT_CACHED) unused++;
    }
    for (const { at } of found) this.pages.remove(at);
    this.pool.unreserve(unused);
    return found.map(({ head }) => head);
  }
}

/** What private mappings of one process have been promised: a page for each place that has not had one. */
export class PrivatePromise {
  /** Places of the file that have had their page. */
  readonly used = new Set<number>();
}

/** A reference to a huge page less; the last one gives it back to its pool. */
export function putHuge(frames: Frames, pool: HugePool, head: Pfn): void {
  if (frames.dropReference(head)) pool.give(head);
}

/** The huge file behind an area's file, or null. */
export const hugeOf = (file: FileObject | null): HugeFile | null => file?.huge ?? null;
