/** What swap slots hold, kept on the host. Zeros cost it nothing. */
import type { Pfn, SwapSlot } from "../../base/units.ts";
import type { PhysicalMemory } from "../../hw/physical-memory.ts";
import { restorePage, type SavedPage, savePage } from "../saved-page.ts";

export class SwapContents {
  private readonly memory: PhysicalMemory;
  /** By slot and part of it: the page written there. Slots are given out close together. */
  private readonly written: (SavedPage | undefined)[] = [];

  /** Pages of a slot. */
  private readonly parts: number;

  constructor(memory: PhysicalMemory, parts = 1) {
    this.memory = memory;
    this.parts = parts;
  }

  /** Whether a page was written there since the slot was free. */
  has(slot: SwapSlot): boolean {
    return this.written[slot * this.parts] !== undefined;
  }

  /** The slot holds what is in the soft page from `head` on. */
  store(slot: SwapSlot, head: Pfn): void {
    const { memory, written, parts } = this;
    for (let part = 0; part < parts; part++) written[slot * parts + part] = savePage(memory, head + part);
  }

  /** Fills the soft page with what the slot holds. */
  load(slot: SwapSlot, head: Pfn): void {
    const { memory, written, parts } = this;
    for (let part = 0; part < parts; part++) {
      memory.zero(head + part);
      restorePage(memory, head + part, written[slot * parts + part] ?? null);
    }
  }

  /** One word of what the slot holds. */
  word(slot: SwapSlot, part: number, word: number): number {
    return this.written[slot * this.parts + part]?.[word] ?? 0;
  }

  /** The slot is free. */
  forget(slot: SwapSlot): void {
    for (let part = 0; part < this.parts; part++) this.written[slot * this.parts + part] = undefined;
  }
}
