/**
 * Pages of regular files that are newer than the disk: how many there are on the machine, in which files, and who must
 * do something about it. Pages of shmem files have no disk and do not count.
 *
 * Whoever makes pages dirty looks at the limits once in a while (`due`), not each time; what he finds there is the
 * business of dirty-limits.ts.
 *
 * @models linux-2.6.11 mm/page-writeback.c balance_dirty_pages_ratelimited
 * @models linux-2.6.11 include/linux/page-flags.h struct page_state nr_dirty, nr_writeback
 * @differs counts are exact and the machine's; Linux lets each CPU make so many pages dirty between two looks
 */
import type { FileObject } from "./file.ts";

/** Nobody has asked the kernel's own thread to write. */
export const NOT_WOKEN = -1;

/** What writing back has cost, by who did it. */
export interface WritebackCosts {
  /** Writers that found themselves above the limit, and pages that they wrote or waited for. */
  writersHeld: number;
  pagesByWriters: number;
  /** Turns of the kernel's own thread (pdflush, flusher), and pages that it wrote. */
  backgroundTurns: number;
  pagesInBackground: number;
}

export class DirtyPages {
  /** Dirty pages (nr_dirty). */
  pages = 0;
  /** Pages on their way to the disk (nr_writeback). */
  underWriteback = 0;
  /** Files that may have dirty pages: the one that has been dirty longest comes first. */
  readonly files = new Set<FileObject>();
  /** So many pages have become dirty that somebody must look at the limits. */
  due = false;
  /** Pages that the kernel's own thread is to write at its next turn, even below the limits; `NOT_WOKEN`: no turn. */
  wanted: number = NOT_WOKEN;
  readonly costs: WritebackCosts = { writersHeld: 0, pagesByWriters: 0, backgroundTurns: 0, pagesInBackground: 0 };
  /** Pages that may become dirty between two looks (ratelimit_pages). */
  ratelimit = 32;
  private unseen = 0;

  /** @models linux-2.6.11 mm/page-writeback.c set_ratelimit */
  setRatelimit(totalPages: number, cpus: number): void {
    this.ratelimit = Math.min(Math.max(Math.floor(totalPages / (cpus * 32)), 16), 1024);
  }

  /** So many more pages of 4 KiB of the file are dirty. */
  note(file: FileObject, pages: number): void {
    this.files.add(file);
    this.unseen += pages;
    if (this.unseen < this.ratelimit) return;
    this.unseen = 0;
    this.due = true;
  }

  /** The kernel's own thread is to write `pages` at least, and whatever is above the background limit. */
  wake(pages: number): void {
    this.wanted = Math.max(this.wanted, pages);
  }

  get isWoken(): boolean {
    return this.wanted !== NOT_WOKEN;
  }
}
