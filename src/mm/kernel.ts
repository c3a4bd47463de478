/**
 * The kernel as its operations see it: every subsystem of one machine, wired once by `machine.ts`. Operations are
 * functions that take it first; nothing in `mm` reads a design or a geometry.
 */
import type { Pfn } from "../base/units.ts";
import type { Cpu } from "../hw/cpu.ts";
import type { PagingFormat } from "../hw/paging-format.ts";
import type { PhysicalMemory } from "../hw/physical-memory.ts";
import type { Entries } from "../hw/pte.ts";
import type { Current } from "../sync/task.ts";
import type { Tunables } from "../tunables.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Allocator } from "./allocator.ts";
import type { AnonVmas } from "./anon-vma.ts";
import type { BigPages } from "./bigpages/big-pages.ts";
import type { Vmemmap } from "./bigpages/vmemmap.ts";
import type { Counters } from "./counters.ts";
import type { Events } from "./events.ts";
import type { Files } from "./file.ts";
import type { Frames } from "./frames.ts";
import type { KernelStacks } from "./kernel-stacks.ts";
import type { AtomicMaps } from "./kmap/atomic.ts";
import type { Kmap } from "./kmap/kmap.ts";
import type { PageContents } from "./kmap/page-contents.ts";
import type { AddressLayout } from "./layout.ts";
import type { StructPages } from "./memmap/struct-pages.ts";
import type { Mlock } from "./mlock/mlock.ts";
import type { Nonlinear } from "./nonlinear/nonlinear.ts";
import type { Commitment } from "./overcommit.ts";
import type { PageTables } from "./page-table.ts";
import type { Personality } from "./personality.ts";
import type { PfnMappings } from "./pfnmap/pfn-mappings.ts";
import type { RawMemory } from "./pfnmap/segments.ts";
import type { Process } from "./process.ts";
import type { OomVictim } from "./reclaim/oom-kill.ts";
import type { Reclaim } from "./reclaim/reclaim.ts";
import type { ReverseMap } from "./rmap/reverse-map.ts";
import type { Segments } from "./shm/segments.ts";
import type { Slabs } from "./slab.ts";
import type { Swap } from "./swap/swap.ts";
import type { TableDiscard } from "./tables/discard/table-discard.ts";
import type { TableFreeing } from "./tables/freeing.ts";
import type { TableSharing } from "./tables/sharing/table-sharing.ts";
import type { TransparentPages } from "./thp/transparent-pages.ts";
import type { TlbFlush } from "./tlb-flush.ts";

export interface Kernel {
  // The hardware below.
  readonly memory: PhysicalMemory;
  readonly format: PagingFormat;
  readonly entries: Entries;
  readonly cpus: readonly Cpu[];

  // Memory and who owns it.
  readonly frames: Frames;
  readonly allocator: Allocator;
  /** Where struct pages are, and how the kernel gets at them. */
  readonly structPages: StructPages;
  /** The caches of small objects: vmas, mms, anon_vmas, radix-tree nodes. */
  readonly slabs: Slabs;
  /** Slots through which highmem is looked at in passing. */
  readonly atomicMaps: AtomicMaps;
  /** Windows on highmem that may be held while sleeping. */
  readonly kmap: Kmap;
  /** How user pages are zeroed, copied, read and written, wherever they are. */
  readonly contents: PageContents;
  readonly stacks: KernelStacks;
  /** ZERO_PAGE: what anonymous reads map. */
  readonly zeroFrame: Pfn;

  /** Memory outside all zones. */
  readonly rawMemory: RawMemory;

  // The mechanisms, one choice each.
  readonly tables: PageTables;
  readonly tableFreeing: TableFreeing;
  readonly tableDiscard: TableDiscard;
  readonly tableSharing: TableSharing;
  readonly reverseMap: ReverseMap;
  readonly mlock: Mlock;
  readonly tlbFlush: TlbFlush;
  readonly nonlinear: Nonlinear;
  readonly bigPages: BigPages;
  readonly transparent: TransparentPages;
  readonly pfnMappings: PfnMappings;
  readonly vmemmap: Vmemmap;
  readonly reclaim: Reclaim;

  readonly anonVmas: AnonVmas;
  readonly files: Files;
  /** System V shared memory. */
  readonly segments: Segments;
  /** Where pages go for which there is no memory. */
  readonly swap: Swap;
  readonly commitment: Commitment;
  /** Every live address space. */
  readonly spaces: Set<AddressSpace>;
  /** Every process that ever ran, in the order of their birth. */
  readonly processes: Process[];
  /** Those of them that were killed for their memory. */
  readonly oomVictims: OomVictim[];

  /** How calls and faults behave where kernels differ. */
  readonly personality: Personality;
  readonly tunables: Tunables;
  readonly layout: AddressLayout;

  /** Who runs now. */
  readonly current: Current;
  readonly counters: Counters;
  readonly events: Events;
}
