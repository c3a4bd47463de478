/**
 * A machine whose tasks are interleaved: what a program does, as paths of small steps, and what the scheduler must do to
 * hardware when a CPU goes from one task to another.
 */
import { bug } from "../../base/errors.ts";
import { addressOf, type Vpn } from "../../base/units.ts";
import { type Access, LOAD, STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { MEMORY } from "../../mm/address-space.ts";
import { execSpace } from "../../mm/exec.ts";
import { exitProcess } from "../../mm/exit.ts";
import { handleFault } from "../../mm/fault.ts";
import { forkSpace } from "../../mm/fork.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { Process, Thread } from "../../mm/process.ts";
import type { Argument } from "../../mm/syscalls.ts";
import { isRepaired, type Verdict } from "../../mm/verdict.ts";
import type { MachineSpec } from "../../presets.ts";
import { type Path, point } from "../../sync/path.ts";
import { type Keeping, Scheduler } from "../../sync/scheduler.ts";
import { Task } from "../../sync/task.ts";
import { type LockGraph, Validator } from "../../sync/validator.ts";

export interface InterleavingShape {
  readonly preemption: "on" | "off";
  /** Where orders of locks are noted: runs of one search share it. */
  readonly lockGraph: LockGraph;
  readonly keeps: Keeping;
}

const instruction = point("its next instruction", "user");

export class Interleaving {
  readonly machine: Machine;
  readonly kernel: Kernel;
  readonly scheduler: Scheduler;
  protected readonly lockGraph: LockGraph;
  private readonly idle: readonly Task[];
  private lastPid = 1000;

  constructor(spec: MachineSpec, { preemption, lockGraph, keeps }: InterleavingShape) {
    this.lockGraph = lockGraph;
    this.machine = new Machine(spec);
    const { kernel } = this.machine;
    this.kernel = kernel;
    this.idle = kernel.cpus.map(({ id }) => {
      const task = new Task(-1 - id, `idle ${id}`);
      task.cpu = id;
      return task;
    });
    this.scheduler = new Scheduler({
      cpus: kernel.cpus.length,
      preemption,
      keeps,
      switched: (task) => this.switched(task),
      entered: (cpu, task) => this.entered(cpu, task),
      shared: [{ name: MEMORY, version: () => this.memoryVersion() }],
      atomicMaps: (cpu) => kernel.atomicMaps.heldBy(cpu),
      validator: new Validator(lockGraph),
    });
  }

  // Scripts: what a task does, in steps.

  /** A user's access; `done` runs with it, as one instruction. */
  *access(thread: Thread, page: Vpn, kind: Access, done: () => void = () => {}): Path<Verdict> {
    const { mmu } = this.kernel.cpus[thread.cpu]!;
    for (;;) {
      yield instruction;
      if (mmu.touch(page, kind)) break;
      const verdict = yield* handleFault(this.kernel, thread, addressOf(page), mmu.faultError);
      if (!isRepaired(verdict)) return verdict;
    }
    done();
    return 0;
  }

  *storeByte(thread: Thread, page: Vpn, value: number): Path<Verdict> {
    return yield* this.access(thread, page, STORE, () => this.poke(thread, page, value));
  }

  /** The byte that the program reads, or -1. */
  *loadByte(thread: Thread, page: Vpn): Path<number> {
    let value = -1;
    yield* this.access(thread, page, LOAD, () => {
      value = this.peek(thread, page);
    });
    return value;
  }

  /** Stores the page's first byte. Requires: an access for it has succeeded in this step. */
  protected poke(thread: Thread, page: Vpn, value: number): void {
    this.scheduler.touch(MEMORY, "write");
    this.kernel.memory.writeByte(this.frameAt(thread, page, STORE), 0, value);
  }

  protected peek(thread: Thread, page: Vpn): number {
    this.scheduler.touch(MEMORY, "read");
    return this.kernel.memory.readByte(this.frameAt(thread, page, LOAD), 0);
  }

  *call(thread: Thread, name: string, args: readonly Argument[]): Path<number> {
    const call = this.kernel.personality.calls[name] ?? bug(`no call ${name}`);
    yield instruction;
    return yield* call.path(this.kernel, thread, args);
  }

  *munmap(thread: Thread, page: Vpn, pages: number): Path<number> {
    return yield* this.call(thread, "munmap", [addressOf(page), addressOf(pages)]);
  }

  /** A child on the same CPU; null if there was no memory. */
  *fork(thread: Thread): Path<Thread | null> {
    yield instruction;
    const mm = yield* forkSpace(this.kernel, thread);
    if (mm === null) return null;
    const process = new Process(++this.lastPid, "child", mm, thread.process);
    this.machine.processes.push(process);
    const child = new Thread(process.pid, process);
    child.cpu = thread.cpu;
    return child;
  }

  *exit(process: Process): Path<void> {
    yield instruction;
    yield* exitProcess(this.kernel, process, "exited", 0);
  }

  /** 0, or -ENOMEM. */
  *exec(thread: Thread): Path<number> {
    yield instruction;
    return yield* execSpace(this.kernel, thread);
  }

  /** A task of the kernel's, which has no address space: its CPU keeps the one it had, lazily. */
  kernelTask(name: string, cpu: number, path: Path<unknown>): void {
    const task = new Task(++this.lastPid, name);
    task.cpu = cpu;
    this.scheduler.add(task, path);
  }

  *doNothing(): Path<void> {
    yield point("nothing to do", "user");
  }

  /** From here on CPUs interrupt one another, and whatever they have loaded is only borrowed. */
  protected interleave(): void {
    const { tlbFlush } = this.kernel;
    tlbFlush.interrupts = this.scheduler;
    this.watchSlots();
    for (const cpu of this.kernel.cpus) tlbFlush.idle(cpu);
  }

  private watchSlots(): void {
    const { atomicMaps, current } = this.kernel;
    const { validator } = this.scheduler;
    atomicMaps.watch = {
      mapped: (slot) => validator.slotMapped(current.task, slot),
      unmapped: (slot) => validator.slotUnmapped(current.task, slot),
      maySleep: (doing) => validator.maySleep(current.task, doing),
    };
  }

  private entered(cpu: number, task: Task | undefined): void {
    this.kernel.tlbFlush.here = cpu;
    this.kernel.current.task = task ?? this.idle[cpu]!;
  }

  private switched(task: Task): void {
    const { tlbFlush, cpus } = this.kernel;
    const cpu = cpus[task.cpu]!;
    if (task instanceof Thread) tlbFlush.load(cpu, task.mm);
    else tlbFlush.idle(cpu);
  }

  private frameAt(thread: Thread, page: Vpn, kind: Access): number {
    const { mmu } = this.kernel.cpus[thread.cpu]!;
    if (!mmu.translate(page, kind)) bug("an access that has succeeded fails");
    return mmu.lastFrame;
  }

  /**
   * Moves with every walk, allocation and release, of huge pages too, and with every change of areas, which reclaim looks at
   * without mmap_sem: what a step may do to memory without page_table_lock.
   */
  private memoryVersion(): number {
    const { allocator, bigPages, counters, cpus, spaces } = this.kernel;
    const walks = cpus.reduce((sum, { mmu }) => sum + mmu.walks, 0);
    const pools = bigPages.pools.reduce((sum, { moves }) => sum + moves, 0);
    let areas = 0;
    for (const { vmas } of spaces) areas += vmas.changes;
    return allocator.attempts + pools + counters.gatherFlushes + counters.tablesFreed + walks + areas;
  }
}
