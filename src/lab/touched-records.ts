/**
 * Tells a machine which pages the records of a replay have accessed: what its huge pages hold beside those is memory that
 * nobody touched. The access path is not asked; records are looked through once more, before anything that may change what
 * their pages lead to, and only while there are huge pages.
 */
import type { Kernel } from "../mm/kernel.ts";
import type { Thread } from "../mm/process.ts";
import { noteAccess } from "../mm/thp/touched-parts.ts";
import { PAGE_INDEX_SHIFT } from "./trace/format.ts";

export class TouchedRecords {
  private readonly kernel: Kernel;
  private words = new Uint32Array(0);
  private pages = new Float64Array(0);
  /** The record of the chunk that is looked at next. */
  private at = 0;
  /** By page index: the last round in which the page was noted. */
  private noted = new Uint32Array(0);
  private round = 0;

  constructor(kernel: Kernel) {
    this.kernel = kernel;
  }

  /** A chunk begins: its records, and by page index its pages. */
  begin(words: Uint32Array, pages: Float64Array): void {
    this.words = words as Uint32Array<ArrayBuffer>;
    this.pages = pages as Float64Array<ArrayBuffer>;
    this.at = 0;
  }

  /** The records before this one are no accesses, or of no interest any more. */
  skipTo(record: number): void {
    this.at = record;
  }

  /** The thread has made the accesses of all records before this one. */
  noteUntil({ mm }: Thread, record: number): void {
    const { words, pages } = this;
    const from = this.at;
    this.at = record;
    if (this.kernel.transparent.pages.count === 0) return;
    if (this.noted.length < pages.length) this.noted = new Uint32Array(pages.length);
    const round = ++this.round;
    for (let at = from; at < record; at++) {
      const index = words[at]! >>> PAGE_INDEX_SHIFT;
      if (this.noted[index] === round) continue;
      this.noted[index] = round;
      noteAccess(this.kernel, mm, pages[index]!);
    }
  }
}
