/**
 * What a regular file holds on the model disk: what its source says, except where pages were written back since, and
 * zero beyond. Only pages that are neither zero nor the source's cost the host anything.
 */
import type { FileIndex, Pfn } from "../base/units.ts";
import type { PhysicalMemory } from "../hw/physical-memory.ts";
import type { ContentSource } from "./file.ts";
import { restorePage, type SavedPage, savePage } from "./saved-page.ts";

export class DiskContents {
  private readonly source: ContentSource | undefined;
  /** The source is asked for pages below this index. */
  private sourceEnd: FileIndex;
  /** By index: what was written back. */
  private readonly written = new Map<FileIndex, SavedPage>();

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
    } else restorePage(memory, frame, words);
  }

  store(memory: PhysicalMemory, frame: Pfn, index: FileIndex): void {
    this.written.set(index, savePage(memory, frame));
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
