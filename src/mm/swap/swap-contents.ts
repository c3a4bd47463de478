/** What swap slots hold, kept on the host. Zeros cost it nothing. */
import type { Pfn, SwapSlot } from "../../base/units.ts";
import { type PhysicalMemory, WORDS_PER_FRAME } from "../../hw/physical-memory.ts";

export class SwapContents {
  private readonly memory: PhysicalMemory;
  /** By slot: the words of the page written there; null if they were all zero. */
  private readonly written = new Map<SwapSlot, Int32Array | null>();

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  /** Whether a page was written there since the slot was free. */
  has(slot: SwapSlot): boolean {
    return this.written.has(slot);
  }

  store(slot: SwapSlot, frame: Pfn): void {
    const { memory } = this;
    if (memory.isBlank(frame)) {
      this.written.set(slot, null);
      return;
    }
    const words = new Int32Array(WORDS_PER_FRAME);
    for (let word = 0; word < WORDS_PER_FRAME; word++) words[word] = memory.read(frame, word);
    this.written.set(slot, words);
  }

  /** Fills the frame with what the slot holds. */
  load(slot: SwapSlot, frame: Pfn): void {
    const { memory } = this;
    const words = this.written.get(slot) ?? null;
    memory.zero(frame);
    if (words === null) return;
    for (let word = 0; word < WORDS_PER_FRAME; word++) {
      if (words[word] !== 0) memory.write(frame, word, words[word]);
    }
  }

  /** One word of what the slot holds. */
  word(slot: SwapSlot, word: number): number {
    return this.written.get(slot)?.[word] ?? 0;
  }

  /** The slot is free. */
  forget(slot: SwapSlot): void {
    this.written.delete(slot);
  }
}
