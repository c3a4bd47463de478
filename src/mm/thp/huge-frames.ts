/**
 * The frames of transparent huge pages. Such a page is one block of the buddy system, and one page on the page lists, by
 * its head; all else is kept for each of its frames as if it were a page of its own, so that nobody who meets one through
 * an entry of a leaf table need know what it belongs to:
 *
 *     references   of each frame: one for each entry that maps it, whether a leaf table's or a large one
 *     map counts   the same, as page_mapcount() has them; beside that `largeMaps` counts large entries, for the head
 *     flags        of each frame; PG_PART on all, PG_HEAD, PG_LRU and PG_ACTIVE on the head alone
 *
 * A frame that has lost its last reference while others of its page are in use cannot be given back: it is idle until the
 * page is split, which happens when memory is short, or until the last of the others goes, and all go as the block that
 * they were.
 *
 *     mapped whole -> some frames idle (the deferred list) -> split under pressure -> single frames, the idle ones free
 *                                      `-> all idle -> one block again, free
 *
 * @models linux-6.1 mm/huge_memory.c prep_transhuge_page, free_transhuge_page, deferred_split_huge_page
 * @models linux-6.1 mm/huge_memory.c get_huge_zero_page
 * @differs references are the frames' own, not the head's alone; the huge zero page is held by entries, not by address spaces
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import { WANT_USER } from "../allocator.ts";
import { NO_FRAME, PG_ACTIVE, PG_HEAD, PG_LRU, PG_PART, PG_RESERVED } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { OWNER_BOOT, OWNER_USER } from "../zone.ts";
import { TouchedParts } from "./touched-parts.ts";

/** What a frame keeps of its flags while it is idle: what it is of its page. */
const OF_PAGE = PG_PART | PG_HEAD;

export class HugeFrames {
  /** 2^order frames make a page. */
  readonly order: number;
  readonly pages: number;
  /** The head of a page of zeros, for reads; NO_FRAME until somebody reads. */
  zeroHead: Pfn = NO_FRAME;
  /** Large entries that map it. */
  zeroMaps = 0;
  /** Pages that some large entry maps (nr_anon_transparent_hugepages). */
  mapped = 0;
  /** Huge pages there are, mapped so or not. */
  count = 0;
  /** What programs have accessed of them. */
  readonly touched: TouchedParts;
  /** By head, of pages with idle frames, in the order in which they got the first: how many. */
  private readonly idle = new Map<Pfn, number>();

  constructor(order: number) {
    this.order = order;
    this.pages = 2 ** order;
    this.touched = new TouchedParts(this.pages);
  }

  /** A page with one reference to each frame, contents unknown; or NO_FRAME. */
  take({ allocator, frames }: Kernel): Pfn {
    const head = allocator.tryAllocateSpare(this.order, WANT_USER, OWNER_USER);
    if (head !== NO_FRAME) this.bind(frames, head);
    return head;
  }

  private bind(frames: Kernel["frames"], head: Pfn): void {
    const end = head + this.pages;
    frames.owner.fill(head, end, OWNER_USER);
    frames.refs.fill(head, end, 1);
    frames.flags.fill(head, end, PG_PART);
    frames.makeCompound(head, this.order);
    this.touched.begin(head);
    this.count++;
  }

  /** The page of zeros, made if there is none yet; or NO_FRAME. */
  takeZero({ allocator, frames, contents, counters }: Kernel): Pfn {
    if (this.zeroHead !== NO_FRAME) return this.zeroHead;
    const head = allocator.tryAllocateSpare(this.order, WANT_USER, OWNER_BOOT);
    if (head === NO_FRAME) {
      counters.thpZeroPageAllocFailed++;
      return NO_FRAME;
    }
    for (let frame = head; frame < head + this.pages; frame++) {
      frames.setFlag(frame, PG_RESERVED);
      contents.zero(frame);
    }
    counters.thpZeroPageAlloc++;
    this.zeroHead = head;
    return head;
  }

  /**
   * Gives the page of zeros back if nobody maps it; how many frames that was.
   *
   * @models linux-6.1 mm/huge_memory.c shrink_huge_zero_page_scan
   */
  freeZero({ allocator, frames }: Kernel): number {
    const head = this.zeroHead;
    if (head === NO_FRAME || this.zeroMaps > 0) return 0;
    this.zeroHead = NO_FRAME;
    frames.flags.fill(head, head + this.pages, 0);
    allocator.free(head, this.order);
    return this.pages;
  }

  /** Whether the frame is one of the page of zeros. */
  isZero(frame: Pfn): boolean {
    const { zeroHead } = this;
    return zeroHead !== NO_FRAME && frame >= zeroHead && frame < zeroHead + this.pages;
  }

  /** Frames of the page of zeros, while nobody maps it. */
  get idleZeros(): number {
    return this.zeroHead !== NO_FRAME && this.zeroMaps === 0 ? this.pages : 0;
  }

  /** Frames that wait for their page to be split, or for the others to go. */
  get idleFrames(): number {
    let sum = 0;
    for (const frames of this.idle.values()) sum += frames;
    return sum;
  }

  /** Frames that somebody has, and no program has ever accessed. */
  get untouchedFrames(): number {
    return this.count * this.pages - this.idleFrames - this.touched.count;
  }

  /** Of the page at `head`. */
  idleOf(head: Pfn): number {
    return this.idle.get(head) ?? 0;
  }

  /** Heads of pages that would have free frames if they were split, the one that has had them longest first. */
  get partly(): readonly Pfn[] {
    return [...this.idle.keys()];
  }

  /** The frames `[first, end)`, all parts of huge pages, have lost their last references. */
  lost(kernel: Kernel, first: Pfn, end: Pfn): void {
    for (let at = first; at < end; ) {
      const head = kernel.frames.headOf(at);
      const stop = Math.min(end, head + this.pages);
      this.lostOf(kernel, head, at, stop);
      at = stop;
    }
  }

  private lostOf(kernel: Kernel, head: Pfn, first: Pfn, end: Pfn): void {
    const { frames, reclaim, counters } = kernel;
    if (first === head && frames.has(head, PG_LRU)) reclaim.forget(head);
    const now = this.idleOf(head) + end - first;
    if (now === this.pages) {
      this.idle.delete(head);
      this.free(kernel, head);
      return;
    }
    for (let frame = first; frame < end; frame++) {
      if (frames.mapCount.read(frame) !== 0) bug(`frame ${frame} of huge page ${head} is mapped, and nobody's`);
      frames.refs.write(frame, 0);
      frames.flags.write(frame, frames.flags.read(frame) & OF_PAGE);
    }
    this.touched.unmark(head, first, end);
    if (!this.idle.has(head)) counters.thpDeferredSplitPage++;
    this.idle.set(head, now);
  }

  private free({ frames, allocator }: Kernel, head: Pfn): void {
    frames.flags.fill(head, head + this.pages, 0);
    frames.mapping.fill(head, head + this.pages, 0);
    frames.refs.fill(head, head + this.pages, 0);
    frames.unmakeCompound(head);
    this.touched.end(head);
    this.count--;
    allocator.free(head, this.order);
  }

  /** Gives back a page that nobody has seen. */
  giveBack(kernel: Kernel, head: Pfn): void {
    this.free(kernel, head);
  }

  /**
   * The page is so many single pages from now on; those of its frames that nobody uses are free. Requires: no large entry
   * maps it.
   *
   * @models linux-6.1 mm/huge_memory.c __split_huge_page, __split_huge_page_tail
   * @differs the parts go to the young end of the list that the page was on, not beside it
   */
  unbind(kernel: Kernel, head: Pfn): void {
    const { frames, allocator, reclaim, counters } = kernel;
    if (frames.largeMaps.read(head) !== 0) bug(`huge page ${head} is mapped whole`);
    const state = frames.flags.read(head);
    if ((state & PG_LRU) !== 0) reclaim.forget(head);
    this.idle.delete(head);
    this.touched.end(head);
    this.count--;
    frames.unmakeCompound(head);
    allocator.zoneOf(head).buddy.breakUp(head, this.order);
    counters.thpSplitPage++;
    for (let frame = head; frame < head + this.pages; frame++) {
      frames.clearFlag(frame, PG_PART);
      if (frames.refs.read(frame) === 0) allocator.free(frame, 0);
      // Whoever holds the head off its list puts it back.
      else if (frame !== head || (state & PG_LRU) !== 0) {
        reclaim.adopt(frame);
        if ((state & PG_ACTIVE) === 0) reclaim.deactivate(frame);
      }
    }
  }
}
