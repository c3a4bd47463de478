/**
 * The page tables of the kernel's own windows: whole tables in lowmem, full of entries for highmem frames. They are
 * never opened, being always mapped, and every process shares them.
 */
import { bug, UsageError } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import type { PhysicalMemory } from "../../hw/physical-memory.ts";
import {
  type Entries,
  type OpenTable,
  PTE_ACCESSED,
  PTE_DIRTY,
  PTE_GLOBAL,
  PTE_PRESENT,
  PTE_WRITE,
} from "../../hw/pte.ts";
import { type Allocator, WANT_KERNEL } from "../allocator.ts";
import { NO_FRAME } from "../frames.ts";
import { OWNER_KMAP } from "../zone.ts";

/** PAGE_KERNEL: what every entry of a window says. */
const WINDOW = PTE_PRESENT | PTE_WRITE | PTE_ACCESSED | PTE_DIRTY | PTE_GLOBAL;

export interface KernelTableParts {
  readonly memory: PhysicalMemory;
  readonly entries: Entries;
  readonly allocator: Allocator;
}

/** As many leaf tables as so many slots take, one after the other. A slot shows a soft page: it has an entry for each part. */
export class KernelTable {
  readonly slots: number;
  readonly frames: readonly Pfn[];
  /** Entries of a slot. */
  readonly span: number;
  private readonly entries: Entries;
  private readonly perTable: number;

  private constructor(parts: KernelTableParts, slots: number, frames: readonly Pfn[]) {
    this.entries = parts.entries;
    this.slots = slots;
    this.frames = frames;
    this.span = parts.allocator.frames.softFrames;
    this.perTable = (1 << parts.entries.format.indexBits) / this.span;
  }

  /** A table with that many empty slots, or null if lowmem has no room for it. */
  static tryCreate(parts: KernelTableParts, slots: number): KernelTable | null {
    const frames: Pfn[] = [];
    const entries = slots * parts.allocator.frames.softFrames;
    for (let covered = 0; covered < entries; covered += 1 << parts.entries.format.indexBits) {
      const frame = parts.allocator.tryAllocateBlock(0, WANT_KERNEL, OWNER_KMAP);
      if (frame === NO_FRAME) {
        for (const taken of frames) parts.allocator.freeBlock(taken, 0);
        return null;
      }
      parts.memory.zero(frame);
      frames.push(frame);
    }
    return new KernelTable(parts, slots, frames);
  }

  /** The same at boot, where there must be room. */
  static create(parts: KernelTableParts, slots: number): KernelTable {
    return (
      KernelTable.tryCreate(parts, slots) ??
      refuse("the machine has no lowmem left for the tables of the kernel's windows; give it more")
    );
  }

  /** The soft page that a slot shows when it shows `frame`. */
  pageOf(frame: Pfn): Pfn {
    return frame - (frame % this.span);
  }

  /** The slot shows the soft page `head` from now on. */
  show(slot: number, head: Pfn): void {
    const table = this.tableOf(slot);
    const first = this.indexOf(slot);
    for (let part = 0; part < this.span; part++) this.entries.set(table, first + part, head + part, WINDOW);
  }

  clear(slot: number): void {
    const table = this.tableOf(slot);
    const first = this.indexOf(slot);
    for (let part = 0; part < this.span; part++) this.entries.clear(table, first + part);
  }

  /** The frame that the slot's first entry names, or NO_FRAME. */
  shown(slot: number): Pfn {
    const table = this.tableOf(slot);
    const index = this.indexOf(slot);
    return this.entries.flags(table, index) === 0 ? NO_FRAME : this.entries.frame(table, index);
  }

  /** Gives its frames back. */
  destroy(allocator: Allocator): void {
    for (const frame of this.frames) allocator.freeBlock(frame, 0);
  }

  private indexOf(slot: number): number {
    return (slot % this.perTable) * this.span;
  }

  /** Kernel tables are in lowmem: they are as good as open all the time. */
  private tableOf(slot: number): OpenTable {
    return (this.frames[Math.floor(slot / this.perTable)] ?? bug(`no window slot ${slot}`)) as OpenTable;
  }
}

function refuse(why: string): never {
  throw new UsageError(why);
}
