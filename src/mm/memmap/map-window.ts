/**
 * A window onto a mem_map that is in highmem: slots in a part of the kernel's address space, each of which shows a frame
 * of the array, or nothing. What was once shown stays until its slot is wanted for another frame: only then is a
 * translation flushed, and on no CPU but those that run the owner.
 *
 * A frame may be in many tasks' windows, so that its struct page cannot say where: each window has an index of its own.
 */
import type { Pfn } from "../../base/units.ts";
import { NO_FRAME } from "../frames.ts";
import { NOT_INDEXED, WindowIndex } from "../kmap/index-of-frames.ts";
import type { KernelTable } from "../kmap/kernel-table.ts";

/** What windows did so far. */
export interface WindowCosts {
  /** Struct pages that were turned to: each is looked up. */
  lookups: number;
  /** Nodes of indexes that this went through. */
  lookupSteps: number;
  /** Frames of the array that no slot showed. */
  misses: number;
  /** Slots that showed another frame before: translations flushed on the CPU that misses. */
  flushes: number;
  /** The same on other CPUs, which run the same address space. */
  remoteFlushes: number;
  /** Times the running task, and so the window, was another than at the use before. */
  switches: number;
  /** Struct pages that lie across two frames: both must be shown. */
  straddles: number;
  /** Links followed as pointers: what was there was the right struct page. */
  followed: number;
  /** Links followed as pointers to where no window showed the struct page. */
  strays: number;
}

export const noWindowCosts = (): WindowCosts => ({
  lookups: 0,
  lookupSteps: 0,
  misses: 0,
  flushes: 0,
  remoteFlushes: 0,
  switches: 0,
  straddles: 0,
  followed: 0,
  strays: 0,
});

export class MapWindow {
  readonly table: KernelTable;
  /** By slot: the frame that it shows, or NO_FRAME. */
  readonly shown: Int32Array;
  private readonly costs: WindowCosts;
  private readonly index: WindowIndex;
  /** The slot that is taken next: they go round. */
  private next = 0;

  constructor(table: KernelTable, costs: WindowCosts) {
    this.table = table;
    this.costs = costs;
    this.shown = new Int32Array(table.slots).fill(NO_FRAME);
    this.index = new WindowIndex(this.shown);
  }

  /** Sees to it that a slot shows `frame`; how many translations had to be flushed for it: 0 or 1. */
  show(frame: Pfn): number {
    const found = this.index.find(frame);
    this.costs.lookupSteps += this.index.steps;
    if (found !== NOT_INDEXED) return 0;
    this.costs.misses++;
    const slot = this.next;
    this.next = (slot + 1) % this.shown.length;
    const flushes = this.shown[slot] === NO_FRAME ? 0 : 1;
    if (flushes > 0) this.index.remove(slot);
    this.costs.flushes += flushes;
    this.shown[slot] = frame;
    this.table.show(slot, frame);
    this.index.add(slot);
    return flushes;
  }

  /** Whether a slot shows `frame`; asking costs the kernel nothing. */
  shows(frame: Pfn): boolean {
    return this.index.find(frame) !== NOT_INDEXED;
  }

  /** What disagrees between slots, entries in memory and the index, one line each. */
  *disagreements(): Generator<string> {
    for (const [slot, frame] of this.shown.entries()) {
      const entry = this.table.shown(slot);
      if (entry !== frame) yield `slot ${slot}: entry ${entry}, frame ${frame}`;
      if (frame !== NO_FRAME && this.index.find(frame) !== slot)
        yield `slot ${slot}: frame ${frame} is not found there`;
    }
  }
}
