/**
 * Which pages leave memory when it is short, and who pays for finding them.
 *
 * Every strategy keeps the pages of programs and of files on lists, oldest at the tail, and frees from there; they
 * differ in how they learn that a page is in use and how they get at the entries that map it:
 *
 *     linux-2.4    walks address spaces in virtual order and unmaps what it meets (swap_out): needs no reverse map, and
 *                  visits every mapping of a page before that page can go
 *     rmap15       asks the reverse map, and ages pages by how often they were found in use
 *     linux-2.6    asks the reverse map; two lists a zone, and pressure decides when mapped pages are touched
 *
 * Every strategy frees only pages that nobody maps and whose contents are safe: in a file, in swap, or nowhere needed.
 */
import type { Pfn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { Want } from "../allocator.ts";
import type { Kernel } from "../kernel.ts";
import type { Zone } from "../zone.ts";
import type { PageList } from "./page-list.ts";

/** What an allocation could not have. */
export interface ReclaimRequest {
  readonly order: number;
  /** The highest kind of zone that would do: pages of higher zones are of no use. */
  readonly want: Want;
}

export interface Reclaim {
  /** What reclaim has cost so far. */
  readonly costs: ReclaimCosts;
  /** An allocation has found a zone below its low mark: `balance` is due. */
  wake: boolean;

  /**
   * A page of a program or of a file, new in memory, goes on a list (lru_cache_add). Sets PG_LRU. `state`: what its flags are
   * to be otherwise; as they are, if left out.
   */
  adopt(frame: Pfn, state?: number): void;
  /** The same for all of `[first, end)`, single frames of one zone and in one state, in this order. */
  adoptRun(first: Pfn, end: Pfn, state: number): void;
  /** The page leaves its list: it is freed, or nobody may reclaim it. Requires: PG_LRU, which is cleared. */
  forget(frame: Pfn): void;
  /** The same for all frames of `[first, end)`, which are of one zone and in one state, and are freed. */
  forgetRun(first: Pfn, end: Pfn): void;
  /** The page was used by other ways than through an entry that maps it (mark_page_accessed). */
  touched(frame: Pfn): void;
  /** Nobody needs the page soon, used or not: it counts as unused from now on (deactivate_page). */
  deactivate(frame: Pfn): void;
  /** The lists of a zone, for audits and reports; all lists of a strategy that has no zones are the lowest zone's. */
  listsOf(zone: Zone): readonly PageList[];

  /** Frees pages for a request that failed (direct reclaim); how many. 0: there is nothing to be had. May sleep. */
  freePages(kernel: Kernel, request: ReclaimRequest): Path<number>;
  /** Frees pages until every zone is above its high mark, or there is nothing to be had (kswapd's turn). */
  balance(kernel: Kernel): Path<void>;
}

export interface ReclaimCosts {
  /** Turns of kswapd, and of allocations that had to free pages themselves (allocstall). */
  kswapdTurns: number;
  directTurns: number;
  /** Pages that the scan took off a list's tail to look at (pgscan). */
  pagesScanned: number;
  /** Pages moved from one list to another, or to the other end. */
  pagesMoved: number;
  /** Page-table entries looked at on behalf of reclaim: by the reverse map, or by the walk of address spaces. */
  entriesVisited: number;
  /** Page-table entries cleared. */
  entriesUnmapped: number;
  /** Pages freed (pgsteal). */
  pagesFreed: number;
  /** Page tables that could not be locked, so that a page had to be left. */
  trylocksFailed: number;
  /** Pages written: to swap, and to files. */
  pagesSwapped: number;
  pagesWritten: number;
}

export const noReclaimCosts = (): ReclaimCosts => ({
  kswapdTurns: 0,
  directTurns: 0,
  pagesScanned: 0,
  pagesMoved: 0,
  entriesVisited: 0,
  entriesUnmapped: 0,
  pagesFreed: 0,
  trylocksFailed: 0,
  pagesSwapped: 0,
  pagesWritten: 0,
});
