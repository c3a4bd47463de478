/**
 * How translations that the page tables no longer give are dropped from TLBs: on this CPU, and by an interrupt on every
 * other CPU that has the address space loaded. Strategies differ in how finely they flush: a flush that is too fine
 * costs instructions, one that is too coarse costs the misses that follow.
 *
 * A flush may drop more than it is asked for, never less. Entries that were not present need none: x86 does not cache
 * them.
 *
 * A path that runs to completion flushes every CPU at once. While tasks are interleaved a flush drops what this CPU holds,
 * and the others are owed an interrupt: `settle` sends it, and waits until each CPU has acknowledged it.
 *
 *     change entries -> page/range/all -> settle: lock, send, wait for all of cpu_vm_mask, unlock -> free
 *
 * A CPU that runs no program of its own keeps the address space that it had, lazily: asked to flush, it leaves it.
 *
 * @models linux-2.6.11 arch/i386/kernel/smp.c flush_tlb_others, smp_invalidate_interrupt, leave_mm
 * @models linux-2.6.11 include/asm-i386/mmu_context.h switch_mm, enter_lazy_tlb
 */
import type { Vpn } from "../base/units.ts";
import type { Cpu } from "../hw/cpu.ts";
import type { Interrupts } from "../sync/interrupts.ts";
import { SpinLock } from "../sync/lock.ts";
import type { Path } from "../sync/path.ts";
import type { Current, Task } from "../sync/task.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Counters } from "./counters.ts";
import { EVENT_FLUSH, type Events } from "./events.ts";

export interface TlbFlush {
  /** The CPU on which kernel code runs now: the one that flushes without an interrupt. Whoever runs a task sets it. */
  here: number;
  /** `cpu` runs in `mm` from now on, or (null) in nobody's. */
  load(cpu: Cpu, mm: AddressSpace | null): void;
  /** `cpu` runs a task without an address space: what it has loaded it keeps, lazily. */
  idle(cpu: Cpu): void;
  /** How CPUs interrupt one another while tasks are interleaved; null: whatever is asked for happens at once. */
  interrupts: Interrupts | null;
  /** Whether other CPUs must yet be told of flushes that the running task has asked for. */
  readonly owes: boolean;
  /** Tells them, and waits until they have flushed. */
  settle(): Path<void>;
  /** Every CPU leaves `mm`, which dies. */
  evict(mm: AddressSpace): Path<void>;
  /** One page of `mm`. */
  page(mm: AddressSpace, page: Vpn): void;
  /** The pages `[first, end)` of `mm`. */
  range(mm: AddressSpace, first: Vpn, end: Vpn): void;
  /** Everything of `mm`: also what CPUs may have cached of its upper levels. */
  all(mm: AddressSpace): void;
  /** The kernel's own translations, on every CPU: everything that it holds goes with them. */
  kernel(): void;
  /** The same without waiting for an interrupt, even while tasks are interleaved. */
  kernelAtOnce(): void;
  /** The address space that the CPU on which kernel code runs has loaded, or null. */
  readonly current: AddressSpace | null;
}

export interface FlushParts {
  readonly cpus: readonly Cpu[];
  readonly counters: Counters;
  readonly events: Events;
  readonly current: Current;
}

/** A flush that other CPUs have not been told of. */
interface Owed {
  readonly task: Task;
  /** null: the kernel's own translations, on every CPU. */
  readonly mm: AddressSpace | null;
  readonly flush: (cpu: Cpu) => void;
}

/** Which CPUs a flush reaches, and what it counts; the strategies say what each CPU does. */
export abstract class Shootdown implements TlbFlush {
  here = 0;
  protected readonly parts: FlushParts;
  /** By CPU: the address space whose root it has loaded. */
  private readonly loaded: (AddressSpace | null)[];
  /** By CPU: whether what it has loaded is only borrowed (TLBSTATE_LAZY). */
  private readonly lazy: boolean[];
  interrupts: Interrupts | null = null;
  private owed: Owed[] = [];
  /** One shootdown at a time in the whole machine. */
  private readonly lock = new SpinLock("tlbstate_lock");

  constructor(parts: FlushParts) {
    this.parts = parts;
    this.loaded = parts.cpus.map(() => null);
    this.lazy = parts.cpus.map(() => false);
  }

  load(cpu: Cpu, mm: AddressSpace | null): void {
    const before = this.loaded[cpu.id] ?? null;
    this.lazy[cpu.id] = false;
    if (before === mm) return;
    if (before !== null) this.clearMask(cpu, before);
    this.loaded[cpu.id] = mm;
    if (mm !== null) this.parts.current.task.watch?.touch(maskOf(mm), "write");
    if (mm === null) cpu.mmu.flushUser();
    else {
      mm.cpus.add(cpu.id);
      cpu.loadRoot(mm.root);
    }
  }

  idle(cpu: Cpu): void {
    this.lazy[cpu.id] = true;
  }

  get owes(): boolean {
    return this.owed.length > 0 && this.owed.some(({ task }) => task === this.parts.current.task);
  }

  *settle(): Path<void> {
    const { task } = this.parts.current;
    const mine = this.owed.filter((owed) => owed.task === task);
    this.owed = this.owed.filter((owed) => owed.task !== task);
    for (const { mm, flush } of mine) yield* this.shootDown(task, mm, flush);
  }

  *evict(mm: AddressSpace): Path<void> {
    const { current, cpus } = this.parts;
    if (mm.cpus.has(current.task.cpu)) this.leave(cpus[current.task.cpu]!, mm);
    yield* this.shootDown(current.task, mm, (cpu) => this.leave(cpu, mm));
  }

  /** Makes every other CPU that may hold translations of `mm` flush, and waits for it. */
  private *shootDown(task: Task, mm: AddressSpace | null, flush: (cpu: Cpu) => void): Path<void> {
    if (mm !== null) task.watch?.touch(maskOf(mm), "read");
    if (this.othersIn(mm, task.cpu).length === 0) return;
    if (!this.lock.tryAcquire(task)) yield* this.lock.acquire(task);
    const waiting = new Set(this.othersIn(mm, task.cpu));
    const name = `flush by ${task.name}`;
    for (const id of waiting) {
      this.interrupts?.send(
        id,
        `flushes ${mm === null ? "the kernel's windows" : `mm ${mm.id}`}, asked by CPU ${task.cpu}`,
        () => {
          this.handle(this.parts.cpus[id]!, mm, flush);
          task.watch?.touch(name, "write");
          waiting.delete(id);
        },
      );
    }
    yield {
      get on() {
        return `CPU ${[...waiting].join(", ")} to acknowledge a flush`;
      },
      how: "spin",
      ready: () => waiting.size === 0,
    };
    task.watch?.touch(name, "write");
    this.lock.release(task);
  }

  /** What an interrupted CPU does. */
  private handle(cpu: Cpu, mm: AddressSpace | null, flush: (cpu: Cpu) => void): void {
    const loaded = this.loaded[cpu.id] ?? null;
    if (mm !== null && loaded !== mm) return;
    if (mm === null || this.lazy[cpu.id] !== true) flush(cpu);
    if (loaded !== null && this.lazy[cpu.id] === true) this.leave(cpu, loaded);
  }

  /** The CPU gives up an address space that it kept lazily, or that dies. */
  protected leave(cpu: Cpu, mm: AddressSpace): void {
    this.clearMask(cpu, mm);
    this.loaded[cpu.id] = null;
    cpu.mmu.flushUser();
  }

  protected clearMask(cpu: Cpu, mm: AddressSpace): void {
    mm.cpus.delete(cpu.id);
    this.parts.current.task.watch?.touch(maskOf(mm), "write");
  }

  private othersIn(mm: AddressSpace | null, here: number): number[] {
    const cpus = mm === null ? this.parts.cpus.keys() : mm.cpus;
    return [...cpus].filter((id) => id !== here);
  }

  page(mm: AddressSpace, page: Vpn): void {
    this.parts.counters.tlbFlushesPage++;
    this.reach(mm, page, page + 1, (cpu) => this.invalidate(cpu, page, page + 1));
  }

  abstract range(mm: AddressSpace, first: Vpn, end: Vpn): void;

  all(mm: AddressSpace): void {
    this.parts.counters.tlbFlushesAll++;
    this.reach(mm, 0, 0, (cpu) => this.reload(cpu, mm));
  }

  /** @models linux-2.6.11 arch/i386/kernel/smp.c flush_tlb_all */
  kernel(): void {
    if (this.interrupts === null) this.kernelAtOnce();
    else {
      const flush = (cpu: Cpu) => cpu.mmu.flushAll();
      flush(this.parts.cpus[this.here]!);
      this.owed.push({ task: this.parts.current.task, mm: null, flush });
      this.countKernelFlush();
    }
  }

  kernelAtOnce(): void {
    for (const cpu of this.parts.cpus) cpu.mmu.flushAll();
    this.countKernelFlush();
  }

  private countKernelFlush(): void {
    const { cpus, counters, events } = this.parts;
    counters.tlbFlushesKernel++;
    counters.tlbReloads += cpus.length;
    counters.tlbShootdowns += cpus.length - 1;
    events.record(EVENT_FLUSH, 0, 0, 0, -1, 0, cpus.length - 1);
  }

  get current(): AddressSpace | null {
    return this.loaded[this.here] ?? null;
  }

  /** Runs `flush` on every CPU that has `mm` loaded, and counts the interrupts. */
  protected reach(mm: AddressSpace, first: Vpn, end: Vpn, flush: (cpu: Cpu) => void): void {
    let interrupts = 0;
    for (const id of mm.cpus) {
      if (id !== this.here) interrupts++;
      if (id === this.here || this.interrupts === null) flush(this.parts.cpus[id]!);
    }
    if (this.interrupts !== null) this.owed.push({ task: this.parts.current.task, mm, flush });
    this.parts.counters.tlbShootdowns += interrupts;
    this.parts.events.record(EVENT_FLUSH, mm.id, first, end - first, -1, 0, interrupts);
  }

  protected invalidate(cpu: Cpu, first: Vpn, end: Vpn): void {
    this.parts.counters.tlbInvalidations += end - first;
    for (let page = first; page < end; page++) cpu.mmu.flushPage(page);
  }

  /** Drops everything but global translations, and reads again what the CPU keeps of the top table. */
  protected reload(cpu: Cpu, mm: AddressSpace): void {
    this.parts.counters.tlbReloads++;
    cpu.mmu.loadRoot(mm.root);
  }
}

/** cpu_vm_mask, by the name that the scheduler knows it by. */
const maskOf = (mm: AddressSpace): string => `cpu_vm_mask of ${mm.id}`;
