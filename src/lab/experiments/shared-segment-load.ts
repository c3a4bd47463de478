/** One machine, and the processes on it that share a segment: they grow in number, and some of them read at the end. */
import { Rng } from "../../base/rng.ts";
import { addressOf } from "../../base/units.ts";
import { footprintOf } from "../../footprint.ts";
import { LOAD } from "../../hw/access.ts";
import { DONE, Machine } from "../../machine.ts";
import { LEAF } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import { ZONE_HIGHMEM, type ZoneUse } from "../../mm/zone.ts";
import type { MachineSpec } from "../../presets.ts";
import { Sharers } from "../memory/sharers.ts";
import { type TableBytes, tableBytes } from "../memory/table-arithmetic.ts";
import { levelsInCommon, type NamedDesign } from "./shared-segment-designs.ts";

/** So many of the processes read pages of the segment at the end, so often each. */
const READERS = 4;
const READS = 10_000;

/** What the processes have that run. */
export interface Held {
  readonly processes: number;
  /** By level, each table once: those of the processes, and those of the segment's own tree. */
  readonly tables: readonly number[];
  readonly reverseMapBytes: number;
  readonly pageFaults: number;
}

/** What a few processes saw of the segment. */
export interface Reading {
  readonly reads: number;
  readonly misses: number;
}

export class SegmentLoad {
  readonly machine: Machine;
  private readonly sharers: Sharers;
  private readonly named: NamedDesign;
  private readonly share: number;
  private readonly rng = new Rng(1);

  constructor(spec: MachineSpec, sizeBytes: number, named: NamedDesign, share: number) {
    this.machine = new Machine(spec);
    this.named = named;
    this.share = share;
    this.sharers = new Sharers(this.machine, sizeBytes, named.segment);
  }

  /** Whether a process that touches as much of the segment as a huge page covers is given none. */
  hasNoHugePages(): boolean {
    const { sharers, machine } = this;
    const { pages } = machine.kernel.transparent;
    sharers.touch(sharers.join(), LOAD, 0, Math.min(pages.pages, sharers.pages));
    return pages.mapped === 0;
  }

  /** One more process, with all of the segment, or with its own share; false if there is no memory for it. */
  grow(): boolean {
    const { sharers } = this;
    const thread = sharers.tryJoin();
    if (thread === null) return false;
    return this.share === 1 || sharers.threads.length === 1 ? sharers.tryFill(thread) : this.tryTouchShare(thread);
  }

  private tryTouchShare(thread: Thread): boolean {
    const { machine, sharers, rng } = this;
    for (let left = Math.round(sharers.pages * this.share); left > 0; left--) {
      if (machine.access(thread, addressOf(sharers.first + rng.below(sharers.pages)), LOAD) !== DONE) return false;
    }
    return machine.kernel.oomVictims.length === 0;
  }

  /** The tables of so many processes by arithmetic; undefined where each has its own share. */
  arithmetic(processes: number): TableBytes | undefined {
    const { spec, kernel } = this.machine;
    const { segment = "shmem", ownTree = false } = this.named;
    if (this.share < 1) return undefined;
    const { pools } = kernel.bigPages;
    const pool = segment === "gigantic" ? pools.at(-1) : pools[0];
    const level = segment === "shmem" ? LEAF : (pool?.level ?? LEAF + 1);
    const { first, pages } = this.sharers;
    const inCommon = levelsInCommon(this.named, spec);
    return tableBytes(kernel.format, { processes, first, pages, level, inCommon, ownTree });
  }

  /** What the struct pages of the segment take: less than those of others where those of huge pages are folded. */
  get structPagesBytes(): number {
    const { spec, kernel } = this.machine;
    const each = spec.geometry.pageStructBytes ?? footprintOf(spec.kernel, spec.geometry.paging).pageStructBytes;
    return this.sharers.pages * each - addressOf(kernel.vmemmap.freedPages);
  }

  held(): Held {
    const { counters, reverseMap } = this.machine.kernel;
    return {
      processes: this.sharers.threads.length,
      tables: this.sharers.tablesByLevel(),
      reverseMapBytes: reverseMap.bytes,
      pageFaults: counters.minorFaults + counters.majorFaults,
    };
  }

  /** Where memory is; or where it was when the first process was killed for it. */
  get memory(): readonly ZoneUse[] {
    const { oomVictims, allocator } = this.machine.kernel;
    return oomVictims[0]?.memory ?? allocator.zones.map(({ use }) => use);
  }

  /** What there was none of when a process was killed: all memory, or only the part that the kernel always reaches. */
  get shortage(): "lowmem" | "memory" {
    const { zones } = this.machine.kernel.allocator;
    const isLeft = this.memory.some(({ kind, unused }, at) => kind === ZONE_HIGHMEM && unused > zones[at]!.high);
    return isLeft ? "lowmem" : "memory";
  }

  /** Some of the first `processes` that are still alive read pages at random. */
  read(processes: number): Reading {
    const { machine, sharers } = this;
    const alive = sharers.threads.slice(0, processes).filter(({ process }) => process.state === "alive");
    const before = this.misses;
    let reads = 0;
    for (const thread of alive.slice(0, READERS)) {
      const rng = new Rng(thread.id);
      for (let at = 0; at < READS; at++) {
        if (machine.access(thread, addressOf(sharers.first + rng.below(sharers.pages)), LOAD) === DONE) reads++;
      }
    }
    return { reads, misses: this.misses - before };
  }

  private get misses(): number {
    return this.machine.cpus.reduce((sum, { mmu }) => sum + mmu.missesData, 0);
  }
}
