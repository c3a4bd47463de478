/**
 * A small machine for tests: a whole kernel over a few thousand frames, one process with one thread, and a user who
 * touches pages. A picture says what is mapped, one letter or word a page.
 */
import { bug } from "../base/errors.ts";
import { addressOf, type FrameRun, type Pfn, type Vpn } from "../base/units.ts";
import { FETCH, LOAD, STORE } from "../hw/access.ts";
import { Cpu } from "../hw/cpu.ts";
import { type PagingFormatName, pagingFormats } from "../hw/paging-format.ts";
import { PhysicalMemory } from "../hw/physical-memory.ts";
import { type OpenTable, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT, PTE_PROT_NONE, PTE_SWAP, PTE_WRITE } from "../hw/pte.ts";
import { tlbPresets } from "../hw/tlb-presets.ts";
import { type Path, runToCompletion } from "../sync/path.ts";
import { Current } from "../sync/task.ts";
import { defaultTunables, type Tunables } from "../tunables.ts";
import { Allocator } from "./allocator.ts";
import { anonVmaRules } from "./anon-vma-rules.ts";
import { pooledPages } from "./bigpages/huge-pool.ts";
import { type BigPagesName, bigPageOptions } from "./bigpages/options.ts";
import { fullVmemmap } from "./bigpages/vmemmap.ts";
import { Buddy, MAX_ORDERS } from "./buddy.ts";
import { Counters } from "./counters.ts";
import { Events } from "./events.ts";
import { exitProcess } from "./exit.ts";
import { handleFault, isRepaired, type Verdict } from "./fault.ts";
import { type FileKind, type FileObject, Files, OpenFile } from "./file.ts";
import { forkSpace } from "./fork.ts";
import { Frames, PG_EXCLUSIVE, PG_RESERVED } from "./frames.ts";
import { type HighmemChoice, wireHighmem } from "./highmem.ts";
import type { Kernel } from "./kernel.ts";
import { KernelStacks } from "./kernel-stacks.ts";
import { addressLayout } from "./layout.ts";
import { Limits } from "./limits.ts";
import { unplacedStructPages } from "./memmap/struct-pages.ts";
import { type MlockName, mlocks } from "./mlock/mlocks.ts";
import { type NonlinearName, nonlinears } from "./nonlinear/nonlinears.ts";
import { Commitment } from "./overcommit.ts";
import { LEAF, NO_TABLE, PageTables } from "./page-table.ts";
import { type PersonalityName, personalities } from "./personality.ts";
import { type PfnMappingName, pfnMappingOptions } from "./pfnmap/options.ts";
import { RawMemory } from "./pfnmap/segments.ts";
import { Process, Thread } from "./process.ts";
import { type ReclaimName, reclaims } from "./reclaim/reclaims.ts";
import { type ReverseMapName, type ReverseMapPlacement, reverseMaps } from "./rmap/reverse-maps.ts";
import { Segments } from "./shm/segments.ts";
import { Slabs, slubPacking } from "./slab.ts";
import { createSpace, switchSpace } from "./space.ts";
import { Swap, usualClusterOrder } from "./swap/swap.ts";
import type { Argument } from "./syscalls.ts";
import { tableDiscards } from "./tables/discard/table-discard.ts";
import { type TableFreeingName, tableFreeings } from "./tables/freeing.ts";
import { type TableSharingName, tableSharings } from "./tables/sharing/table-sharing.ts";
import { type TransparentName, TransparentPages, transparentPolicies } from "./thp/transparent-pages.ts";
import { tlbFlushes } from "./tlb/tlb-flushes.ts";
import { watermarkPolicies } from "./watermarks.ts";
import { OWNER_BOOT, ZONE_HIGHMEM, ZONE_NORMAL, Zone } from "./zone.ts";

export interface TestMachine {
  readonly format?: PagingFormatName;
  readonly kernel?: PersonalityName;
  readonly reverseMap?: ReverseMapName;
  readonly reverseMapPlacement?: ReverseMapPlacement;
  readonly mlock?: MlockName;
  readonly tableFreeing?: TableFreeingName;
  readonly tableSharing?: TableSharingName;
  readonly tlbFlush?: keyof typeof tlbFlushes;
  readonly reclaim?: ReclaimName;
  readonly nonlinear?: NonlinearName;
  readonly hugePages?: BigPagesName;
  readonly transparentPages?: TransparentName;
  readonly frames?: number;
  readonly cpus?: number;
  readonly tunables?: Partial<Tunables>;
  /** The first frame of highmem; the machine has none unless it is said. */
  readonly highmemFrom?: number;
  readonly highmem?: Partial<HighmemChoice>;
  /** Pages of each swap area, its header included; none unless it is said. */
  readonly swap?: readonly number[];
  readonly pfnMappings?: PfnMappingName;
  /** Pages of each segment; none unless it is said. They lie right above memory. */
  readonly segments?: readonly number[];
}

export const PROT_NONE = 0;
export const READ = 1;
export const READ_WRITE = 3;
export const MAP_SHARED = 0x1;
export const MAP_PRIVATE = 0x2;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;

const lowDesign: HighmemChoice = {
  kmap: "global",
  pageTablePlacement: "lowmem",
  pageTableAccess: "direct",
  pageTableCache: "none",
};

const objectSizes = {
  vma: 88,
  mm: 448,
  anonVma: 12,
  anonVmaChain: 32,
  task: 4096,
  process: {},
  treeNode: 576,
  bufferHead: 0,
};

export function wireTestKernel(machine: TestMachine = {}): Kernel {
  const count = machine.frames ?? 4096;
  const format = pagingFormats[machine.format ?? "x86-64"];
  const personality = personalities[machine.kernel ?? "linux-6.1"];
  const tunables = { ...defaultTunables, ...machine.tunables };
  const segments: FrameRun[] = [];
  let allFrames = count;
  for (const pages of machine.segments ?? []) {
    segments.push({ first: allFrames, end: allFrames + pages });
    allFrames += pages;
  }
  const pfnOption = pfnMappingOptions[machine.pfnMappings ?? "special-bit"];
  const memory = new PhysicalMemory(allFrames);
  const frames = new Frames(pfnOption.describesSegments ? allFrames : count);
  const highmemFrom = machine.highmemFrom ?? count;
  const windowsFrom = machine.highmemFrom ?? allFrames;
  const zone = new Zone(ZONE_NORMAL, 0, highmemFrom, new Buddy(frames, 0, highmemFrom, MAX_ORDERS, tunables.mobility));
  zone.addFree(2, highmemFrom);
  zone.addReserved(2, OWNER_BOOT);
  const zones = [zone];
  if (highmemFrom < count) {
    const high = new Zone(
      ZONE_HIGHMEM,
      highmemFrom,
      count,
      new Buddy(frames, highmemFrom, count, MAX_ORDERS, tunables.mobility),
    );
    high.addFree(highmemFrom, count);
    zones.push(high);
  }
  const allocator = new Allocator(frames, zones, watermarkPolicies["linux-6.1"], memory);
  const tableFreeing = tableFreeings[machine.tableFreeing ?? "pmd-ranges"];
  const entries = tableFreeing.entries(memory, format, frames);
  const counters = new Counters();
  const events = new Events();
  const current = new Current();
  const cpus = Array.from(
    { length: machine.cpus ?? 1 },
    (_, id) => new Cpu(id, memory, format, tlbPresets[format.levels < 4 ? "p6" : "icelake"]),
  );
  const tlbFlush = tlbFlushes[machine.tlbFlush ?? "per-range"]({ cpus, counters, events, current }, tunables);
  const highmem = wireHighmem(
    {
      memory,
      entries,
      allocator,
      counters,
      tlbFlush,
      cpus: cpus.length,
      highmemFrom: windowsFrom,
      frames: allFrames,
      invalidates: tunables.kmapInvalidates,
      kmapSlots: tunables.kmapSlots,
    },
    { ...lowDesign, ...machine.highmem },
  );
  const tableDiscard = tableDiscards.none();
  const pfnMappings = pfnOption.create({ memory, allocator, entriesPerTable: format.entriesPerTable(LEAF) });
  const tables = new PageTables({
    format,
    entries,
    frames,
    allocator,
    counters,
    events,
    tlbFlush,
    userTopEntries: 3,
    cpus: cpus.length,
    highmemFrom,
    access: highmem.access,
    cache: pfnMappings.tablesFrom(highmem.cache),
    leaves: tableDiscard,
  });
  const slabs = new Slabs(allocator, objectSizes, slubPacking(1, 8));
  const anonVmas = anonVmaRules[personality.anonVmas](slabs);
  const files = new Files(slabs.treeNodes);
  const spaces: Kernel["spaces"] = new Set();
  const zeroFrame: Pfn = 1;
  frames.refs.write(zeroFrame, 1);
  frames.setFlag(zeroFrame, PG_RESERVED);
  const bigPages = bigPageOptions[machine.hugePages ?? "none"]({
    allocator,
    format,
    hugePagesCome: personality.hugePagesCome,
    mostSurplus: tunables.hugePagesOvercommit,
    vmemmap: fullVmemmap,
    pageStructBytes: 64,
  });
  const world = { frames, entries, tables, files, anonVmas, spaces };
  const userBytes = format.levels > 3 ? 2 ** 47 : 3 * 2 ** 30;
  const reclaim = reclaims[machine.reclaim ?? "linux-2.6"]({ frames, allocator });
  const locked = mlocks[machine.mlock ?? "chained"]({
    reverseMap: reverseMaps[machine.reverseMap ?? "object-anon"]({
      ...world,
      slabs,
      lineBytes: 32,
      wordBytes: 4,
      tablePlacement: machine.highmem?.pageTablePlacement ?? "lowmem",
      placement: machine.reverseMapPlacement ?? "lowmem",
      chainedParts: "each",
      windows: highmem.atomicMaps,
      cpus: cpus.length,
      where: tlbFlush,
    }),
    world,
    lists: reclaim,
  });
  const kernel: Kernel = {
    memory,
    format,
    entries,
    cpus,
    frames,
    allocator,
    structPages: unplacedStructPages(),
    slabs,
    atomicMaps: highmem.atomicMaps,
    kmap: highmem.kmap,
    contents: highmem.contents,
    stacks: new KernelStacks(allocator, { order: 1, placement: "one block" }),
    zeroFrame,
    tables,
    tableFreeing: tableFreeing.freeing,
    tableDiscard,
    tableSharing: tableSharings[machine.tableSharing ?? "none"]({ slabs, wordBytes: 4 }),
    tlbFlush,
    anonVmas,
    files,
    segments: new Segments(),
    swap: new Swap({
      sizes: machine.swap ?? [],
      clusterOrder: tunables.pageCluster ?? usualClusterOrder(count),
      memory,
      nodes: slabs.treeNodes,
    }),
    spaces,
    processes: [],
    oomVictims: [],
    personality,
    tunables,
    current,
    counters,
    events,
    reverseMap: locked.reverseMap,
    mlock: locked.mlock,
    nonlinear: nonlinears[machine.nonlinear ?? "emulated"],
    bigPages,
    transparent: new TransparentPages(
      transparentPolicies[machine.transparentPages ?? "never"],
      format,
      locked.reverseMap,
    ),
    pfnMappings,
    rawMemory: new RawMemory(segments, zones),
    vmemmap: fullVmemmap,
    reclaim,
    commitment: new Commitment({
      mode: 0,
      ratio: 50,
      totalPages: () => count,
      hugePages: () => pooledPages(bigPages.pools),
      swapPages: 0,
      adminReservePages: 0,
      userReservePages: 0,
      obviousOvercommit: (pages) => pages > count + (machine.swap ?? []).reduce((sum, size) => sum + size, 0),
    }),
    layout: addressLayout(format, userBytes, tunables.stackLimitBytes ?? Number.POSITIVE_INFINITY),
  };
  allocator.reclaimFor(kernel);
  return kernel;
}

/** A kernel and its first process, which runs on CPU 0. */
export class TestKernel {
  readonly kernel: Kernel;
  readonly thread: Thread;
  private lastPid = 1;

  constructor(machine: TestMachine = {}) {
    this.kernel = wireTestKernel(machine);
    const mm = createSpace(this.kernel, new Limits()) ?? bug("no memory for the first process");
    this.thread = this.start(new Process(1, "first", mm, null));
    this.runs(this.thread);
  }

  /** The thread's CPU runs it. */
  runs(thread: Thread): void {
    switchSpace(this.kernel, this.kernel.cpus[thread.cpu]!, thread.mm);
    this.kernel.current.task = thread;
    this.kernel.tlbFlush.here = thread.cpu;
  }

  run<T>(path: Path<T>): T {
    const result = runToCompletion(path);
    if (this.kernel.tables.openTables !== 0) bug(`${this.kernel.tables.openTables} tables stay open`);
    return result;
  }

  call(name: string, args: readonly Argument[], thread: Thread = this.thread): number {
    const { calls } = this.kernel.personality;
    const { path } = calls[name] ?? bug(`no call ${name}`);
    return this.run(path(this.kernel, thread, args));
  }

  /** Maps `pages` pages at `page`; returns it. */
  map(page: Vpn, pages: number, prot: number, flags: number, file: FileObject | null = null, firstIndex = 0): Vpn {
    const opened = file === null ? null : new OpenFile(file, "read-write");
    const all = flags | MAP_FIXED | (file === null ? MAP_ANONYMOUS : 0);
    const args = [addressOf(page), addressOf(pages), prot, all, opened, addressOf(firstIndex)];
    const result = this.call("mmap", args);
    if (result < 0) bug(`mmap fails: ${result}`);
    return page;
  }

  /** A file of `pages` pages. */
  file(pages: number, kind: FileKind = "shmem"): FileObject {
    return this.kernel.files.create({ name: "file", kind, sizeBytes: addressOf(pages) });
  }

  /** A user's access, tried until it succeeds or ends in a signal: how it ended. */
  touch(page: Vpn, kind: number, thread: Thread = this.thread): Verdict {
    this.runs(thread);
    const { mmu } = this.kernel.cpus[thread.cpu]!;
    while (!mmu.touch(page, kind)) {
      const verdict = this.run(handleFault(this.kernel, thread, addressOf(mmu.faultPage), mmu.faultError));
      if (!isRepaired(verdict)) return verdict;
    }
    return 0;
  }

  load(page: Vpn, thread: Thread = this.thread): Verdict {
    return this.touch(page, LOAD, thread);
  }

  store(page: Vpn, thread: Thread = this.thread): Verdict {
    return this.touch(page, STORE, thread);
  }

  fetch(page: Vpn, thread: Thread = this.thread): Verdict {
    return this.touch(page, FETCH, thread);
  }

  /** A child of `thread`'s process, on the same CPU; null if there was no memory. */
  fork(thread: Thread = this.thread): Thread | null {
    const mm = this.run(forkSpace(this.kernel, thread));
    if (mm === null) return null;
    return this.start(new Process(++this.lastPid, "child", mm, thread.process));
  }

  private start(process: Process): Thread {
    this.kernel.processes.push(process);
    return new Thread(process.pid, process);
  }

  exit(thread: Thread): void {
    this.run(exitProcess(this.kernel, thread.process, "exited", 0));
  }

  /** The entry's flags, 0 if it is none, and its frame, or -1. */
  entry(page: Vpn, thread: Thread = this.thread): { flags: number; frame: Pfn } {
    const { tables, entries } = this.kernel;
    const frame = tables.tableAt(thread.mm, page, LEAF);
    if (frame === NO_TABLE) return { flags: 0, frame: -1 };
    const index = tables.indexAt(page, LEAF);
    const table = frame as OpenTable;
    const flags = entries.flags(table, index);
    return { flags, frame: (flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0 ? -1 : entries.frame(table, index) };
  }

  /**
   * The pages of `[first, first + pages)`, a word each: `.` none, `Z` the zero page, `S` in swap, otherwise `r` or `w` (or `-`,
   * PROT_NONE), `a` and `d` for Accessed and Dirty, `!` if the page is nobody else's.
   */
  picture(first: Vpn, pages: number, thread: Thread = this.thread): string {
    return Array.from({ length: pages }, (_, at) => this.word(first + at, thread)).join(" ");
  }

  private word(page: Vpn, thread: Thread): string {
    const { flags, frame } = this.entry(page, thread);
    if (flags === 0) return ".";
    if (flags === PTE_SWAP) return "S";
    if (frame === this.kernel.zeroFrame) return "Z";
    let word = (flags & PTE_WRITE) !== 0 ? "w" : "r";
    if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === PTE_PROT_NONE) word = "-";
    if ((flags & PTE_ACCESSED) !== 0) word += "a";
    if ((flags & PTE_DIRTY) !== 0) word += "d";
    return this.kernel.frames.has(frame, PG_EXCLUSIVE) ? `${word}!` : word;
  }

  /** Page tables by level, leaf tables first, the top one left out. */
  tables(thread: Thread = this.thread): number[] {
    return thread.mm.tablesByLevel.slice(LEAF, this.kernel.tables.levels);
  }
}
