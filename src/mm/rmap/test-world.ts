/** A small machine for tests below the level of operations: frames, tables, files, areas, and nobody who runs. */

import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { type PagingFormatName, pagingFormats } from "../../hw/paging-format.ts";
import { PhysicalMemory } from "../../hw/physical-memory.ts";
import { Entries, type OpenTable, PTE_ACCESSED, PTE_PRESENT, PTE_USER } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { AddressSpace } from "../address-space.ts";
import { Allocator } from "../allocator.ts";
import type { AnonVmas } from "../anon-vma.ts";
import { ChainedAnonVmas } from "../anon-vma-chained.ts";
import { Buddy } from "../buddy.ts";
import { Counters } from "../counters.ts";
import { Events } from "../events.ts";
import { Files } from "../file.ts";
import { Frames } from "../frames.ts";
import { wireHighmem } from "../highmem.ts";
import { Limits } from "../limits.ts";
import { LEAF, NO_TABLE, PageTables } from "../page-table.ts";
import { type ObjectSizes, Slabs, slubPacking } from "../slab.ts";
import { tableDiscards } from "../tables/discard/table-discard.ts";
import type { TlbFlush } from "../tlb-flush.ts";
import { Vma } from "../vma.ts";
import { watermarkPolicies } from "../watermarks.ts";
import { ZONE_NORMAL, Zone } from "../zone.ts";
import type { BlockWindows } from "./chain-memory.ts";
import type { ReverseMapParts, ReverseMapPlacement } from "./reverse-maps.ts";

const objectSizes: ObjectSizes = {
  vma: 88,
  mm: 448,
  anonVma: 12,
  anonVmaChain: 32,
  task: 4096,
  process: {},
  treeNode: 576,
  bufferHead: 0,
};

/** One zone of `count` frames, all free but frame 0. */
export function smallAllocator(count: number): { frames: Frames; memory: PhysicalMemory; allocator: Allocator } {
  const frames = new Frames(count);
  const memory = new PhysicalMemory(count);
  const zone = new Zone(ZONE_NORMAL, 0, count, new Buddy(frames, 0, count));
  zone.addFree(1, count);
  return { frames, memory, allocator: new Allocator(frames, [zone], watermarkPolicies["linux-6.1"], memory) };
}

function* nothingToWaitFor(): Path<void> {}

/** Nobody runs, so no TLB holds anything. */
const noTlbs: TlbFlush = {
  here: 0,
  interrupts: null,
  owes: false,
  settle: nothingToWaitFor,
  evict: nothingToWaitFor,
  idle: () => {},
  current: null,
  load: () => {},
  page: () => {},
  range: () => {},
  all: () => {},
  kernel: () => {},
  kernelAtOnce: () => {},
};

/** What decides how chains are made. */
export type ChainParts = Partial<Pick<ReverseMapParts, "lineBytes" | "tablePlacement" | "placement">>;

export class TestWorld implements ReverseMapParts {
  readonly frames: Frames;
  readonly memory: PhysicalMemory;
  readonly allocator: Allocator;
  readonly entries: Entries;
  readonly tables: PageTables;
  readonly slabs: Slabs;
  readonly files: Files;
  readonly anonVmas: AnonVmas;
  readonly spaces = new Set<AddressSpace>();
  readonly lineBytes: number;
  readonly wordBytes = 4;
  readonly tablePlacement: ReverseMapPlacement;
  readonly placement: ReverseMapPlacement;
  readonly chainedParts = "each";
  readonly windows: BlockWindows;
  readonly cpus = 2;
  readonly where = { here: 0 };
  /** For entries of no area in particular. */
  readonly noArea: Vma;

  constructor(formatName: PagingFormatName, count = 16_384, shape: ChainParts = {}) {
    this.lineBytes = shape.lineBytes ?? 32;
    this.tablePlacement = shape.tablePlacement ?? "lowmem";
    this.placement = shape.placement ?? "lowmem";
    const { frames, memory, allocator } = smallAllocator(count);
    this.frames = frames;
    this.memory = memory;
    this.allocator = allocator;
    const format = pagingFormats[formatName];
    this.entries = new Entries(memory, format);
    const { entries } = this;
    const counters = new Counters();
    const events = new Events();
    const highmem = wireHighmem(
      {
        memory,
        entries,
        allocator,
        counters,
        tlbFlush: noTlbs,
        cpus: 1,
        highmemFrom: count,
        frames: count,
        invalidates: "always",
        kmapSlots: null,
      },
      { kmap: "global", pageTablePlacement: "lowmem", pageTableAccess: "direct", pageTableCache: "none" },
    );
    this.tables = new PageTables({
      format,
      entries,
      frames,
      allocator,
      counters,
      events,
      tlbFlush: noTlbs,
      userTopEntries: 3,
      cpus: 1,
      highmemFrom: count,
      access: highmem.access,
      cache: highmem.cache,
      leaves: tableDiscards.none(),
    });
    this.windows = highmem.atomicMaps;
    this.slabs = new Slabs(allocator, objectSizes, slubPacking(1, 8));
    this.files = new Files(this.slabs.treeNodes);
    this.anonVmas = new ChainedAnonVmas(this.slabs);
    this.noArea = new Vma(this.space(), 0, 1, 0, null, 0);
  }

  space(): AddressSpace {
    const mm = new AddressSpace(this.spaces.size + 1, 0, new Limits());
    this.tables.createRoot(mm);
    this.spaces.add(mm);
    return mm;
  }

  /** The place of the entry of `page`, whose table is made if it is missing. */
  slotOf(mm: AddressSpace, page: Vpn): PteSlot {
    const table = this.tables.tryEnsureLeaf(mm, page);
    if (table === NO_TABLE) throw new Error("the test's machine is too small");
    return this.entries.slotOf(table as OpenTable, this.tables.indexAt(page, LEAF));
  }

  /** What the entry at `slot` maps; -1 for nothing. */
  mappedBy(slot: PteSlot): Pfn {
    const table = this.tables.open(this.entries.tableOf(slot));
    const index = this.entries.indexOf(slot);
    const frame = this.entries.flags(table, index) === 0 ? -1 : this.entries.frame(table, index);
    this.tables.close(table);
    return frame;
  }

  /** Writes the entry at `slot`: present, or none for -1. */
  write(slot: PteSlot, frame: Pfn): void {
    const table = this.tables.open(this.entries.tableOf(slot));
    const index = this.entries.indexOf(slot);
    if (frame < 0) this.entries.clear(table, index);
    else this.entries.set(table, index, frame, PTE_PRESENT | PTE_USER | PTE_ACCESSED);
    this.tables.close(table);
  }
}
