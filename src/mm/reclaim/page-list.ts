/**
 * A list of frames through the frames' own `next` and `previous` (page->lru). A frame is on one list at most; its flags
 * say which. The head is where pages arrive, the tail is where the scan takes them. A huge page is there by its head, and
 * counts as the pages that it is made of.
 *
 *     head -> newest <-> ... <-> oldest <- tail
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import { type Frames, NO_FRAME, PG_HEAD } from "../frames.ts";

export class PageList {
  /** As reports and audits call it: "active", "inactive". */
  readonly name: string;
  head: Pfn = NO_FRAME;
  tail: Pfn = NO_FRAME;
  count = 0;
  private readonly frames: Frames;

  constructor(name: string, frames: Frames) {
    this.name = name;
    this.frames = frames;
  }

  /** `state`: the frame's flags, which the caller may know. */
  addHead(frame: Pfn, state = this.frames.flags.read(frame)): void {
    const { next, previous } = this.frames;
    const { head } = this;
    next.write(frame, head);
    previous.write(frame, NO_FRAME);
    if (head === NO_FRAME) this.tail = frame;
    else previous.write(head, frame);
    this.head = frame;
    this.count += this.weightOf(frame, state);
  }

  /** The same for each of `[first, end)`, in this order: the last of them is the new head. */
  addHeadRun(first: Pfn, end: Pfn): void {
    const { next, previous } = this.frames;
    const { head } = this;
    next.write(first, head);
    next.put(first + 1, end, first, 1);
    previous.put(first, end - 1, first + 1, 1);
    previous.write(end - 1, NO_FRAME);
    if (head === NO_FRAME) this.tail = first;
    else previous.write(head, first);
    this.head = end - 1;
    this.count += end - first;
  }

  addTail(frame: Pfn): void {
    const { next, previous } = this.frames;
    const { tail } = this;
    previous.write(frame, tail);
    next.write(frame, NO_FRAME);
    if (tail === NO_FRAME) this.head = frame;
    else next.write(tail, frame);
    this.tail = frame;
    this.count += this.weightOf(frame, this.frames.flags.read(frame));
  }

  /** Requires: the frame is on this list. */
  remove(frame: Pfn): void {
    const { next, previous } = this.frames;
    const after = next.read(frame);
    const before = previous.read(frame);
    if (before === NO_FRAME) this.head = after;
    else next.write(before, after);
    if (after === NO_FRAME) this.tail = before;
    else previous.write(after, before);
    next.write(frame, NO_FRAME);
    previous.write(frame, NO_FRAME);
    this.count -= this.weightOf(frame, this.frames.flags.read(frame));
    if (this.count < 0) bug(`the ${this.name} list has lost a frame`);
  }

  private weightOf(frame: Pfn, state: number): number {
    return (state & PG_HEAD) === 0 ? 1 : 2 ** this.frames.orderOf(frame);
  }

  /**
   * Requires: all of `[first, end)` are on this list. What came in their order lies side by side, and is cut out together;
   * the frames' own links are undefined afterwards.
   */
  removeRun(first: Pfn, end: Pfn): void {
    const { next } = this.frames;
    for (let oldest = first; oldest < end; ) {
      let stop = oldest + 1;
      while (stop < end && next.read(stop) === stop - 1) stop++;
      this.cut(oldest, stop);
      oldest = stop;
    }
  }

  /** Takes out `[oldest, end)`, each of which is right behind the one after it. */
  private cut(oldest: Pfn, end: Pfn): void {
    const { next, previous } = this.frames;
    const after = next.read(oldest);
    const before = previous.read(end - 1);
    if (before === NO_FRAME) this.head = after;
    else next.write(before, after);
    if (after === NO_FRAME) this.tail = before;
    else previous.write(after, before);
    this.count -= end - oldest;
    if (this.count < 0) bug(`the ${this.name} list has lost a frame`);
  }

  /** From the tail on, oldest first. The frame shown may be removed meanwhile, no other. */
  *[Symbol.iterator](): IterableIterator<Pfn> {
    for (let frame = this.tail; frame !== NO_FRAME; ) {
      const before = this.frames.previous.read(frame);
      yield frame;
      frame = before;
    }
  }
}
