/**
 * Where frames for page tables come from, and where they go: straight to the allocator, or by way of lists of tables
 * that were just freed, which are still zero.
 */
import type { FrameRun, Pfn } from "../../../base/units.ts";
import type { PhysicalMemory } from "../../../hw/physical-memory.ts";
import type { Allocator, Want } from "../../allocator.ts";
import type { Counters } from "../../counters.ts";
import type { Here } from "../../kmap/atomic.ts";
import type { PageContents } from "../../kmap/page-contents.ts";

export interface TableCache {
  /** A zeroed frame for a table of `level`, or NO_FRAME. */
  take(level: number): Pfn;
  /** What `take` would give next, as far as it lies side by side; at most `most`. Null: only `take` knows. */
  takeRun(level: number, most: number): FrameRun | null;
  /** A table of `level` that no CPU can reach any more. Requires: all its entries are none. */
  give(table: Pfn, level: number): void;
  /** Memory is short: gives back what lies idle; the frames given back. */
  drain(): number;
  /** Frames that lie idle. */
  readonly idle: number;
}

export interface TableCacheParts {
  readonly memory: PhysicalMemory;
  readonly contents: PageContents;
  readonly allocator: Allocator;
  readonly counters: Counters;
  readonly where: Here;
  readonly cpus: number;
  readonly levels: number;
  /** The zones that leaf tables may come from. */
  readonly leafWant: Want;
}
