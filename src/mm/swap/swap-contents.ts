/** What swap slots hold, kept on the host. Zeros cost it nothing. */
import type { Pfn, SwapSlot } from "../../base/units.ts";
import type { PhysicalMemory } from "../../hw/physical-memory.ts";
import { restorePage, type SavedPage, savePage } from "../saved-page.ts";

export class SwapContents {
  private readonly memory: PhysicalMemory;
  /** By slot: the page written there. Slots are given out close together. */
  private readonly written: (SavedPage | undefined)[] = [];

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /** Whether a page was written there since the slot was free. */
  has(slot: SwapSlot): boolean {
    return this.written[slot as number] !== undefined;
  }

  store(slot: SwapSlot, frame: Pfn): void {
    this.written[slot as number] = savePage(this.memory, frame);
  }

  /** Fills the frame with what the slot holds. */
  load(slot: SwapSlot, frame: Pfn): void {
    const { memory } = this;
    memory.zero(frame);
    restorePage(memory, frame, this.written[slot as number] ?? null);
  }

  /** One word of what the slot holds. */
  word(slot: SwapSlot, word: number): number {
    return this.written[slot as number]?.[word] ?? 0;
  }

  /** The slot is free. */
  forget(slot: SwapSlot): void {
    this.written[slot as number] = undefined;
  }
}
