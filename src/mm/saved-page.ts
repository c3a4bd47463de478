/** What a page held when it left memory, kept on the host for a disk or a swap area. A page of zeros costs it nothing. */
import type { Pfn } from "../base/units.ts";
import { type PhysicalMemory, WORDS_PER_FRAME } from "../hw/physical-memory.ts";

/** The words of a page; null if they are all zero. */
export type SavedPage = Int32Array | null;

export function savePage(memory: PhysicalMemory, frame: Pfn): SavedPage {
  if (memory.contentsOf(frame) === "zero" || memory.contentsOf(frame) === "none") return null;
  const words = new Int32Array(WORDS_PER_FRAME);
  let any = 0;
  for (let word = 0; word < WORDS_PER_FRAME; word++) any |= words[word] = memory.read(frame, word);
  return any === 0 ? null : words;
}

/** Requires: the frame is zero. */
export function restorePage(memory: PhysicalMemory, frame: Pfn, words: SavedPage): void {
  if (words === null) return;
  for (let word = 0; word < WORDS_PER_FRAME; word++) {
    if (words[word] !== 0) memory.write(frame, word, words[word]!);
  }
}
