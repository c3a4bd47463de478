/**
 * Which frames of transparent huge pages a program has ever loaded from or stored to. The kernel cannot know: a large entry
 * has one A bit and one D bit for all its frames. Whoever lets programs run says what they access; what is kept here is when a
 * page comes, what of it was touched already, and when frames of it go.
 *
 *     a new huge page   [ . . . . . . . . ]      nothing is touched
 *     accesses          [ . x . . x . . . ]      told by `noteAccess`
 *     collapse          [ x . x x . . . . ]      what was a small page before was touched; empty entries were not
 *
 * What has lost its last reference is not resident, and not counted. 64 bytes of the host's a huge page; no cost where there
 * are none.
 */
import { bug } from "../../base/errors.ts";
import type { Pfn, Vpn } from "../../base/units.ts";
import { PTE_PRESENT } from "../../hw/pte.ts";
import type { AddressSpace } from "../address-space.ts";
import { PG_PART } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { headOfHuge, hugeEntryAt } from "./huge-entries.ts";

const WORD_SHIFT = 5;
const WORD_BITS = 1 << WORD_SHIFT;

export class TouchedParts {
  /** Frames that are marked, of all pages. */
  count = 0;
  /** By head: one bit a frame. */
  private readonly byHead = new Map<Pfn, Uint32Array>();
  private readonly words: number;

  constructor(pages: number) {
    this.words = Math.ceil(pages / WORD_BITS);
  }

  /** There is a huge page at `head`, of which nothing is touched. */
  begin(head: Pfn): void {
    this.byHead.set(head, new Uint32Array(this.words));
  }

  /** There is none any more. */
  end(head: Pfn): void {
    this.unmark(head, head, head + this.words * WORD_BITS);
    this.byHead.delete(head);
  }

  mark(head: Pfn, frame: Pfn): void {
    const words = this.of(head);
    const at = frame - head;
    const bit = 1 << (at % WORD_BITS);
    if ((words[at >>> WORD_SHIFT]! & bit) !== 0) return;
    words[at >>> WORD_SHIFT]! |= bit;
    this.count++;
  }

  has(head: Pfn, frame: Pfn): boolean {
    const at = frame - head;
    return (this.of(head)[at >>> WORD_SHIFT]! & (1 << (at % WORD_BITS))) !== 0;
  }

  /** The frames `[first, end)` of the page at `head` hold nothing any more. */
  unmark(head: Pfn, first: Pfn, end: Pfn): void {
    const words = this.of(head);
    for (let frame = first; frame < end; frame++) {
      const at = frame - head;
      const bit = 1 << (at % WORD_BITS);
      if ((words[at >>> WORD_SHIFT]! & bit) === 0) continue;
      words[at >>> WORD_SHIFT]! &= ~bit;
      this.count--;
    }
  }

  /** Heads of the pages that are known. */
  get heads(): Iterable<Pfn> {
    return this.byHead.keys();
  }

  private of(head: Pfn): Uint32Array {
    return this.byHead.get(head) ?? bug(`no huge page begins at frame ${head}`);
  }
}

/** A program has accessed its page, which is mapped. */
export function noteAccess(kernel: Kernel, mm: AddressSpace, page: Vpn): void {
  const { transparent, frames } = kernel;
  const { pages } = transparent;
  if (pages.count === 0) return;
  const entry = hugeEntryAt(kernel, mm, page);
  if (entry !== null) {
    const head = headOfHuge(kernel, entry);
    if (!pages.isZero(head)) pages.touched.mark(head, head + page - entry.page);
    return;
  }
  const frame = smallFrameAt(kernel, mm, page);
  if (frame !== undefined && frame < frames.count && frames.has(frame, PG_PART))
    pages.touched.mark(frames.headOf(frame), frame);
}

function smallFrameAt({ tables, entries }: Kernel, mm: AddressSpace, page: Vpn): Pfn | undefined {
  const table = tables.openLeaf(mm, page);
  if (table === NO_TABLE) return undefined;
  const index = tables.indexAt(page, LEAF);
  const isPresent = (entries.flags(table, index) & PTE_PRESENT) !== 0;
  const frame = isPresent ? entries.frame(table, index) : undefined;
  tables.close(table);
  return frame;
}
