/**
 * One machine, wired from its specification: hardware, the memory that its kernel leaves, one choice for each mechanism,
 * and the processes that run. `wire` is the only reader of a design; nothing below it branches on one.
 *
 * Kernel paths run to completion here, one at a time, on the CPU of the thread that asks.
 */
import { ENOMEM } from "./base/errno.ts";
import { bug, UsageError } from "./base/errors.ts";
import { PAGE_SIZE, type Pfn, pageOf, type Vaddr } from "./base/units.ts";
import { layOutMachine, startAllocator } from "./boot.ts";
import { footprintOf } from "./footprint.ts";
import { formatOf, pageOffsetOf, swapAreasOf, tlbShapeOf, userBytes } from "./geometry.ts";
import { type Access, LOAD, STORE } from "./hw/access.ts";
import { Cpu } from "./hw/cpu.ts";
import { PhysicalMemory } from "./hw/physical-memory.ts";
import { Entries } from "./hw/pte.ts";
import type { AddressSpace } from "./mm/address-space.ts";
import { type Allocator, WANT_KERNEL } from "./mm/allocator.ts";
import { anonVmaRules } from "./mm/anon-vma-rules.ts";
import type { BigPages } from "./mm/bigpages/big-pages.ts";
import { pooledPages } from "./mm/bigpages/huge-pool.ts";
import { bigPageOptions } from "./mm/bigpages/options.ts";
import { vmemmaps } from "./mm/bigpages/vmemmap.ts";
import { Counters } from "./mm/counters.ts";
import { attendDirty } from "./mm/dirty-limits.ts";
import { Events } from "./mm/events.ts";
import { execSpace } from "./mm/exec.ts";
import { exitProcess } from "./mm/exit.ts";
import { handleFaultAlone } from "./mm/fault.ts";
import { Files, type OpenFile } from "./mm/file.ts";
import { writeFile } from "./mm/file-io.ts";
import { forkSpace } from "./mm/fork.ts";
import { Frames, NO_FRAME, PG_RESERVED } from "./mm/frames.ts";
import { wireHighmem } from "./mm/highmem.ts";
import type { Kernel } from "./mm/kernel.ts";
import { KernelStacks } from "./mm/kernel-stacks.ts";
import { addressLayout } from "./mm/layout.ts";
import { Limits } from "./mm/limits.ts";
import { orWait } from "./mm/mapped-frame.ts";
import { mapLayouts } from "./mm/memmap/mem-maps.ts";
import { StructPageUse, wireStructPages } from "./mm/memmap/struct-pages.ts";
import { WindowedMap } from "./mm/memmap/windowed.ts";
import { mlocks } from "./mm/mlock/mlocks.ts";
import { nonlinears } from "./mm/nonlinear/nonlinears.ts";
import { Commitment } from "./mm/overcommit.ts";
import { overcommitGuesses } from "./mm/overcommit-guess.ts";
import { LEAF, PageTables } from "./mm/page-table.ts";
import { personalities } from "./mm/personality.ts";
import { pfnMappingOptions } from "./mm/pfnmap/options.ts";
import { RawMemory } from "./mm/pfnmap/segments.ts";
import { Process, type ProcessState, Thread } from "./mm/process.ts";
import { runKswapd } from "./mm/reclaim/make-room.ts";
import { reclaims } from "./mm/reclaim/reclaims.ts";
import { readRemote } from "./mm/remote.ts";
import { reverseMaps } from "./mm/rmap/reverse-maps.ts";
import { Segments } from "./mm/shm/segments.ts";
import { Slabs, slabPacking, slubPacking } from "./mm/slab.ts";
import { createSpace, switchSpace } from "./mm/space.ts";
import { Swap, usualClusterOrder } from "./mm/swap/swap.ts";
import type { Argument } from "./mm/syscalls.ts";
import { tableDiscards } from "./mm/tables/discard/table-discard.ts";
import { tableFreeings } from "./mm/tables/freeing.ts";
import { tableSharings } from "./mm/tables/sharing/table-sharing.ts";
import { allocateTask, freeTask, releaseTask, type TaskKind, type TaskMemory, waitForTask } from "./mm/task-memory.ts";
import { noteAccess } from "./mm/thp/touched-parts.ts";
import { TransparentPages, transparentPolicies } from "./mm/thp/transparent-pages.ts";
import { tlbFlushes } from "./mm/tlb/tlb-flushes.ts";
import { FAULT_OOM, isRepaired, type Verdict } from "./mm/verdict.ts";
import { OWNER_BOOT } from "./mm/zone.ts";
import type { MachineSpec } from "./presets.ts";
import { startKernel } from "./startup.ts";
import { type Path, runToCompletion } from "./sync/path.ts";
import { Current } from "./sync/task.ts";
import type { Tunables } from "./tunables.ts";

/** An access succeeded. Otherwise its outcome is the verdict on its fault: FAULT_OOM, SEGV_MAPERR and so on. */
export const DONE = 0;

const SIGKILL = 9;

export class Machine {
  readonly spec: MachineSpec;
  readonly kernel: Kernel;
  /** Every process that ever ran, in the order of their birth. */
  readonly processes: Process[];
  private lastTaskId = 0;

  constructor(spec: MachineSpec) {
    this.spec = spec;
    this.kernel = wire(spec);
    this.processes = this.kernel.processes;
  }

  get cpus(): readonly Cpu[] {
    return this.kernel.cpus;
  }

  // Processes.

  /** A process with one thread and an empty address space. It is a KernelBug if there is no memory for that. */
  spawn(name: string): Process {
    const maker = this.processes.find(({ state }) => state === "alive")?.threads[0];
    const memory = this.taskMemory("process", maker) ?? bug(`no memory for a kernel stack of ${name}`);
    const make = () => createSpace(this.kernel, limitsOf(this.spec));
    const mm = maker === undefined ? make() : this.run(maker, orWait(this.kernel.allocator, make));
    if (mm === null) bug(`no memory for the first page table of ${name}`);
    return this.admit(new Process(++this.lastTaskId, name, mm, null), memory);
  }

  /** One more thread of a process; it shares everything but its stack. Or -ENOMEM. */
  spawnThread(process: Process): Thread | number {
    const memory = this.taskMemory("thread", process.threads[0]);
    return memory === null ? -ENOMEM : this.addThread(process, ++this.lastTaskId, memory);
  }

  /** A thread that is not the last of its process ends. */
  exitThread(thread: Thread): void {
    releaseTask(this.kernel, thread);
  }

  /** A copy of the thread's process; or -ENOMEM. */
  fork(thread: Thread): Process | number {
    const { process } = thread;
    const memory = this.taskMemory("process", thread);
    if (memory === null) return -ENOMEM;
    const mm = this.run(thread, forkSpace(this.kernel, thread));
    if (mm !== null) return this.admit(new Process(++this.lastTaskId, process.name, mm, process), memory);
    freeTask(this.kernel, memory);
    return -ENOMEM;
  }

  /** A process that shares the thread's address space (vfork, CLONE_VM without CLONE_THREAD); or -ENOMEM. */
  share(thread: Thread): Process | number {
    const { process } = thread;
    const memory = this.taskMemory("process", thread);
    if (memory === null) return -ENOMEM;
    process.mm.users++;
    return this.admit(new Process(++this.lastTaskId, process.name, process.mm, process), memory);
  }

  /** The thread's process starts over with an empty address space: 0 or -ENOMEM. */
  exec(thread: Thread): number {
    return this.run(thread, execSpace(this.kernel, thread));
  }

  /** The process ends by its own will, with a status. */
  exit(process: Process, status: number): void {
    this.end(process, "exited", status);
  }

  /** The process ends by a signal. */
  kill(process: Process, signal: number): void {
    this.end(process, "killed", signal);
  }

  // What a program does.

  /** A user-mode access: tried again after each fault that could be repaired. DONE, or the verdict that ended it. */
  access(thread: Thread, address: Vaddr, kind: Access): Verdict {
    this.switchTo(thread);
    const page = pageOf(address);
    const verdict = this.kernel.cpus[thread.cpu]!.touch(page, kind)
      ? DONE
      : this.repairAndAccess(thread, address, kind);
    if (verdict === DONE) noteAccess(this.kernel, thread.mm, page);
    return verdict;
  }

  private repairAndAccess(thread: Thread, address: Vaddr, kind: Access): Verdict {
    const cpu = this.kernel.cpus[thread.cpu]!;
    const page = pageOf(address);
    let verdict: Verdict;
    do verdict = handleFaultAlone(this.kernel, thread, address, cpu.mmu.faultError);
    while (isRepaired(verdict) && !cpu.touch(page, kind));
    if (!this.isDue(thread)) return isRepaired(verdict) ? DONE : verdict;
    this.attend(thread);
    if (thread.process.state !== "alive") return FAULT_OOM;
    // What was due may have taken the page again.
    while (isRepaired(verdict) && !cpu.mmu.translate(page, kind))
      verdict = handleFaultAlone(this.kernel, thread, address, cpu.mmu.faultError);
    return isRepaired(verdict) ? DONE : verdict;
  }

  /**
   * What is due when a thread is back in its program: a turn of the thread that writes dirty pages, if there are too many;
   * kswapd's turn, if memory is low; khugepaged's, after so many faults, or that of who makes blocks for it; and the end of its process, if that was chosen to be killed for its memory.
   */
  attend(thread: Thread): void {
    const { dirty } = this.kernel.files;
    if (dirty.due || dirty.isWoken) runToCompletion(attendDirty(this.kernel));
    if (this.kernel.reclaim.wake) runToCompletion(runKswapd(this.kernel));
    const { transparent } = this.kernel;
    if (transparent.isDue(this.kernel)) runToCompletion(transparent.attend(this.kernel));
    if (thread.process.isDoomed) this.kill(thread.process, SIGKILL);
  }

  private isDue({ process }: Thread): boolean {
    const { files, reclaim, transparent } = this.kernel;
    if (files.dirty.due || files.dirty.isWoken || reclaim.wake || process.isDoomed) return true;
    return transparent.isDue(this.kernel);
  }

  /** A system call by its name; its result, or -ERRNO. An unknown name is a KernelBug. */
  call(thread: Thread, name: string, args: readonly Argument[]): number {
    const call = this.kernel.personality.calls[name];
    if (call === undefined) bug(`${this.spec.kernel} has no system call ${name}`);
    return this.run(thread, call.path(this.kernel, thread, args));
  }

  /** The byte that the program sees. Requires: an access there has just succeeded. */
  readByte(thread: Thread, address: Vaddr): number {
    return this.kernel.memory.readByte(this.frameAt(thread, address, LOAD), address % PAGE_SIZE);
  }

  /** Stores a byte. Requires: a store there has just succeeded. */
  writeByte(thread: Thread, address: Vaddr, value: number): void {
    this.kernel.memory.writeByte(this.frameAt(thread, address, STORE), address % PAGE_SIZE, value);
  }

  /** The byte that /proc/PID/mem shows, whatever the area allows; or -EIO. */
  peekByte(process: Process, address: Vaddr): number {
    const reader = process.threads[0] ?? bug(`${process.name} has no thread`);
    return this.run(reader, readRemote(this.kernel, reader, process, address));
  }

  /** Writes to a file from outside any program: bytes written, or -ERRNO. */
  writeFile(file: OpenFile, offset: number, bytes: Uint8Array): number {
    const writer = this.processes.find(({ state }) => state === "alive")?.threads[0];
    if (writer === undefined) bug("nobody is there to write a file");
    return this.run(writer, writeFile(this.kernel, writer, file, bytes, offset));
  }

  /** Runs a kernel path of the thread's, on its CPU. */
  run<T>(thread: Thread, path: Path<T>): T {
    this.switchTo(thread);
    const result = runToCompletion(path);
    this.attend(thread);
    return result;
  }

  /** The thread's CPU runs in its address space from now on. */
  switchTo(thread: Thread): void {
    this.kernel.current.task = thread;
    this.kernel.tlbFlush.here = thread.cpu;
    switchSpace(this.kernel, this.kernel.cpus[thread.cpu]!, thread.mm);
  }

  private frameAt(thread: Thread, address: Vaddr, kind: Access): number {
    const { mmu } = this.kernel.cpus[thread.cpu]!;
    // Reclaim may have taken the page since.
    while (!mmu.translate(pageOf(address), kind)) {
      const verdict = handleFaultAlone(this.kernel, thread, address, mmu.faultError);
      if (!isRepaired(verdict)) bug(`${thread.name} may not reach ${address.toString(16)}`);
    }
    return mmu.lastFrame;
  }

  private admit(process: Process, memory: TaskMemory): Process {
    this.processes.push(process);
    this.addThread(process, process.pid, memory);
    return process;
  }

  private addThread(process: Process, id: number, memory: TaskMemory): Thread {
    const thread = new Thread(id, process);
    thread.cpu = (id - 1) % this.cpus.length;
    thread.memory = memory;
    return thread;
  }

  /** Memory for a task; who makes it waits for that, if somebody does. */
  private taskMemory(kind: TaskKind, maker?: Thread): TaskMemory | null {
    if (maker === undefined) return allocateTask(this.kernel, kind);
    return this.run(maker, waitForTask(this.kernel, kind));
  }

  private end(process: Process, state: ProcessState, status: number): void {
    const thread = process.threads[0];
    if (thread !== undefined) {
      this.kernel.current.task = thread;
      this.kernel.tlbFlush.here = thread.cpu;
    }
    runToCompletion(exitProcess(this.kernel, process, state, status));
  }
}

function limitsOf({ tunables }: MachineSpec): Limits {
  const limits = new Limits();
  limits.stackBytes = tunables.stackLimitBytes ?? Number.POSITIVE_INFINITY;
  limits.lockedBytes = tunables.lockedLimitBytes ?? Number.POSITIVE_INFINITY;
  limits.dataBytes = tunables.dataLimitBytes ?? Number.POSITIVE_INFINITY;
  limits.addressSpaceBytes = tunables.addressSpaceLimitBytes ?? Number.POSITIVE_INFINITY;
  limits.privilege = tunables.privilege;
  return limits;
}

/** Puts the kernel together: hardware first, then memory, then the mechanisms that the design names. */
function wire({ geometry, design, tunables, kernel: name }: MachineSpec): Kernel {
  const format = formatOf(geometry);
  const footprint = footprintOf(name, geometry.paging);
  const personality = personalities[name];
  const softOrder = Number(design.softPageShift);
  const softFrames = 1 << softOrder;
  const pfnOption = pfnMappingOptions[design.pfnMappings];
  const boot = layOutMachine(geometry, footprint, {
    layout: mapLayouts[design.memMap],
    softPageShift: softOrder,
    segments: pfnOption.describesSegments ? "described" : "not described",
  });

  const memory = new PhysicalMemory(boot.allFrames);
  const tableFreeing = tableFreeings[design.pageTableFreeing];
  const shape = tlbShapeOf(geometry);
  const cpus = Array.from({ length: geometry.cpus }, (_, id) => new Cpu(id, memory, format, shape));

  const use = boot.memMap instanceof WindowedMap ? new StructPageUse() : null;
  const frames = new Frames(pfnOption.describesSegments ? boot.allFrames : boot.frames, softOrder, use);
  const entries = tableFreeing.entries(memory, format, frames);
  const allocator = startAllocator(boot, frames, tunables, memory);
  const pageStructBytes = geometry.pageStructBytes ?? footprint.pageStructBytes;
  const placeOf = (head: Pfn, pages: number) =>
    footprint.vmemmap === null ? null : (boot.memMap?.rowOf(head, head + pages) ?? null);
  const vmemmap = vmemmaps[design.vmemmap]({ allocator, pageStructBytes, placeOf });
  const bigPages = bigPageOptions[design.hugePages]({
    allocator,
    format,
    hugePagesCome: personality.hugePagesCome,
    mostSurplus: tunables.hugePagesOvercommit,
    pageStructBytes,
    vmemmap,
  });
  fillGigantic(bigPages, tunables);
  const { wordBytes } = footprint;
  const packing = footprint.slabs === "slub" ? slubPacking(geometry.cpus, wordBytes) : slabPacking(wordBytes);
  const slabs = new Slabs(allocator, footprint.objects, packing);
  const stacks = new KernelStacks(allocator, footprint.stack);
  if (geometry.bootMemory === "kernel") startKernel({ allocator, slabs, stacks }, footprint.startup);
  fillUsual(bigPages, tunables);
  const counters = new Counters();
  const events = new Events();
  const current = new Current();
  const spaces = new Set<AddressSpace>();
  const files = new Files(slabs.treeNodes, softFrames);
  files.dirty.setRatelimit(allocator.managedPages, geometry.cpus);
  const anonVmas = anonVmaRules[personality.anonVmas](slabs);
  const swap = new Swap({
    sizes: swapAreasOf(geometry),
    clusterOrder: tunables.pageCluster ?? usualClusterOrder(boot.frames),
    memory,
    softFrames,
    nodes: slabs.treeNodes,
  });
  const layout = addressLayout(format, userBytes(geometry), tunables.stackLimitBytes ?? 0);

  const tlbFlush = tlbFlushes[design.tlbFlush]({ cpus, counters, events, current }, tunables);
  const highmem = wireHighmem(
    {
      memory,
      // The kernel's own tables, whose entries nobody counts.
      entries: new Entries(memory, format),
      allocator,
      counters,
      tlbFlush,
      cpus: cpus.length,
      highmemFrom: boot.mappedEnd,
      frames: boot.allFrames,
      invalidates: tunables.kmapInvalidates,
      kmapSlots: tunables.kmapSlots,
    },
    design,
  );
  const structPages = wireStructPages({
    memory,
    entries: new Entries(memory, format),
    allocator,
    map: boot.memMap,
    handle: design.pageHandle,
    kernelStart: footprint.directMap ?? pageOffsetOf(geometry),
    slots: tunables.memMapSlots,
    where: tlbFlush,
    use,
  });
  const tableDiscard = tableDiscards[design.pageTableDiscard](frames);
  const pfnMappings = pfnOption.create({ memory, allocator, entriesPerTable: format.entriesPerTable(LEAF) });
  const tables = new PageTables({
    format,
    entries,
    frames,
    allocator,
    counters,
    events,
    tlbFlush,
    userTopEntries: Math.ceil(layout.taskEnd / format.entrySpan(format.levels)),
    cpus: cpus.length,
    highmemFrom: boot.lowmemEnd,
    access: highmem.access,
    cache: pfnMappings.tablesFrom(highmem.cache),
    leaves: tableDiscard,
  });
  const world = { frames, entries, tables, files, anonVmas, spaces };

  const reclaim = reclaims[design.reclaim]({ frames, allocator });
  const locked = mlocks[design.mlock]({
    reverseMap: reverseMaps[design.reverseMap]({
      ...world,
      slabs,
      lineBytes: geometry.cacheLineBytes,
      wordBytes,
      tablePlacement: design.pageTablePlacement,
      placement: design.reverseMapPlacement,
      chainedParts: design.chainedParts,
      windows: highmem.atomicMaps,
      cpus: cpus.length,
      where: tlbFlush,
    }),
    world,
    lists: reclaim,
  });

  const wired: Kernel = {
    memory,
    format,
    entries,
    cpus,
    frames,
    allocator,
    structPages,
    slabs,
    atomicMaps: highmem.atomicMaps,
    kmap: highmem.kmap,
    contents: highmem.contents,
    stacks,
    zeroFrame: zeroFrameOf(allocator, memory),
    rawMemory: new RawMemory(boot.segments, allocator.zones),
    tables,
    tableFreeing: tableFreeing.freeing,
    tableDiscard,
    tableSharing: tableSharings[design.pageTableSharing]({ slabs, wordBytes }),
    reverseMap: locked.reverseMap,
    mlock: locked.mlock,
    tlbFlush,
    nonlinear: nonlinears[design.nonlinear],
    bigPages,
    transparent: new TransparentPages(transparentPolicies[design.transparentPages], format, locked.reverseMap),
    pfnMappings,
    vmemmap,
    reclaim,
    anonVmas,
    files,
    segments: new Segments(),
    swap,
    commitment: new Commitment({
      mode: tunables.overcommitMode,
      ratio: tunables.overcommitRatio,
      totalPages: () => allocator.managedPages,
      hugePages: () => pooledPages(bigPages.pools),
      swapPages: swap.totalPages,
      adminReservePages: tunables.adminReserveBytes / PAGE_SIZE,
      userReservePages: tunables.userReserveBytes / PAGE_SIZE,
      obviousOvercommit: overcommitGuesses[personality.overcommitGuess]({
        allocator,
        swap,
        privilege: tunables.privilege,
      }),
    }),
    spaces,
    processes: [],
    oomVictims: [],
    personality,
    tunables,
    layout,
    current,
    counters,
    events,
  };
  allocator.reclaimFor(wired);
  return wired;
}

/** The pool of pages of 1 GiB gets its own before anybody has a page: as much as was asked for, as far as memory goes. */
function fillGigantic({ pools }: BigPages, { hugePages1G }: Tunables): void {
  const gigantic = pools.slice(1).find(({ pages }) => pages * PAGE_SIZE === 2 ** 30);
  if (hugePages1G > 0 && gigantic === undefined) {
    throw new UsageError("tunables.hugePages1G: this machine has no pool of pages of 1 GiB; use 0");
  }
  gigantic?.resize(hugePages1G);
}

/** The pool of usual huge pages is filled when the kernel has started. */
function fillUsual({ pools: [usual] }: BigPages, { hugePages }: Tunables): void {
  if (hugePages > 0 && usual === undefined) {
    throw new UsageError("tunables.hugePages: this kernel has no pool of huge pages; use hugePages=hugetlbfs, or 0");
  }
  usual?.resize(hugePages);
}

/** The frame that anonymous reads map: nobody counts its users, and it is never freed. */
function zeroFrameOf(allocator: Allocator, memory: PhysicalMemory): Pfn {
  const frame = allocator.tryAllocate(0, WANT_KERNEL, OWNER_BOOT);
  if (frame === NO_FRAME) throw new UsageError("the machine has no frame left for the zero page; give it more memory");
  memory.zero(frame);
  allocator.frames.setFlag(frame, PG_RESERVED);
  return frame;
}
