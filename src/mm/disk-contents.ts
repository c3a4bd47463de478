/**
 * What a regular file holds on the model disk: what its source says, except where pages were written back since, and
 * zero beyond. Only pages that are neither zero nor the source's cost the host anything.
 */
import type { FileIndex, Pfn } from "../base/units.ts";
import { type PhysicalMemory, WORDS_PER_FRAME } from "../hw/physical-memory.ts";
import type { ContentSource } from "./file.ts";

export class DiskContents {
  private readonly source: ContentSource | undefined;
  /** The source is asked for pages below this index. */
  private sourceEnd: FileIndex;
  /** By index: the words of a page written back; null if they were all zero. */
  private readonly written = new Map<FileIndex, Int32Array | null>();

  constructor(source: ContentSource | undefined, pages: number) {
    this.source = source;
    this.sourceEnd = pages;
  }

  /** Whether page `index` is worth a read: anything else is a hole. */
  has(index: FileIndex): boolean {
    return this.written.has(index) || index < this.sourceEnd;
  }

  /** Reads page `index` into `frame`, which is zero. */
  load(memory: PhysicalMemory, frame: Pfn, index: FileIndex): void {
    const words = this.written.get(index);
    if (words === undefined) {
      if (index < this.sourceEnd) this.source?.(memory, frame, index);
    } else if (words !== null) {
      for (let word = 0; word < WORDS_PER_FRAME; word++) {
        if (words[word] !== 0) memory.write(frame, word, words[word]);
      }
    }
  }

  store(memory: PhysicalMemory, frame: Pfn, index: FileIndex): void {
    if (memory.isBlank(frame)) {
      this.written.set(index, null);
      return;
    }
    const words = new Int32Array(WORDS_PER_FRAME);
    for (let word = 0; word < WORDS_PER_FRAME; word++) words[word] = memory.read(frame, word);
    this.written.set(index, words);
  }

  /** Pages `[first, end)` become holes. */
  punch(first: FileIndex, end: FileIndex): void {
    if (end >= this.sourceEnd) {
      this.sourceEnd = Math.min(this.sourceEnd, first);
      for (const index of [...this.written.keys()]) if (index >= first && index < end) this.written.delete(index);
    } else {
      for (let index = first; index < end; index++) this.written.set(index, null);
    }
  }
}
