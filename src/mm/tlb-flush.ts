/**
 * How translations that the page tables no longer give are dropped from TLBs: on this CPU, and by an interrupt on every
 * other CPU that has the address space loaded. Strategies differ in how finely they flush: a flush that is too fine
 * costs instructions, one that is too coarse costs the misses that follow.
 *
 * A flush may drop more than it is asked for, never less. Entries that were not present need none: x86 does not cache
 * them.
 */
import type { Vpn } from "../base/units.ts";
import type { Cpu } from "../hw/cpu.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Counters } from "./counters.ts";
import { EVENT_FLUSH, type Events } from "./events.ts";

export interface TlbFlush {
  /** The CPU on which kernel code runs now: the one that flushes without an interrupt. Whoever runs a task sets it. */
  here: number;
  /** `cpu` runs in `mm` from now on, or (null) in nobody's. */
  load(cpu: Cpu, mm: AddressSpace | null): void;
  /** One page of `mm`. */
  page(mm: AddressSpace, page: Vpn): void;
  /** The pages `[first, end)` of `mm`. */
  range(mm: AddressSpace, first: Vpn, end: Vpn): void;
  /** Everything of `mm`: also what CPUs may have cached of its upper levels. */
  all(mm: AddressSpace): void;
}

export interface FlushParts {
  readonly cpus: readonly Cpu[];
  readonly counters: Counters;
  readonly events: Events;
}

/** Which CPUs a flush reaches, and what it counts; the strategies say what each CPU does. */
export abstract class Shootdown implements TlbFlush {
  here = 0;
  protected readonly parts: FlushParts;
  /** By CPU: the address space whose root it has loaded. */
  private readonly loaded: (AddressSpace | null)[];

  constructor(parts: FlushParts) {
    this.parts = parts;
    this.loaded = parts.cpus.map(() => null);
  }

  load(cpu: Cpu, mm: AddressSpace | null): void {
    const before = this.loaded[cpu.id] ?? null;
    if (before === mm) return;
    before?.cpus.delete(cpu.id);
    this.loaded[cpu.id] = mm;
    if (mm === null) cpu.mmu.flushUser();
    else {
      mm.cpus.add(cpu.id);
      cpu.loadRoot(mm.root);
    }
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

  /** Runs `flush` on every CPU that has `mm` loaded, and counts the interrupts. */
  protected reach(mm: AddressSpace, first: Vpn, end: Vpn, flush: (cpu: Cpu) => void): void {
    let interrupts = 0;
    for (const id of mm.cpus) {
      if (id !== this.here) interrupts++;
      flush(this.parts.cpus[id]!);
    }
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
