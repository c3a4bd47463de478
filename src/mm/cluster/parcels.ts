/**
 * Blocks smaller than a soft page: page tables, which the hardware wants at 4 KiB, and kernel stacks. Soft pages are cut into
 * equal blocks for one purpose, and a soft page goes back when none of its blocks is in use. Each block has what a struct
 * page says of it in its first frame's place, as if that were a page.
 *
 *     soft page of 4 frames, page tables    [ in use | idle | in use | in use ]      charged to page tables: 4 frames
 *
 * @models pgcl-2.5.66 (pte and pmd caches of MMUPAGE_SIZE)
 * @differs what is noted of a block, Linux would have to keep outside of struct page, of which a soft page has one
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import type { Allocator, FrameContents, Want } from "../allocator.ts";
import { NO_FRAME } from "../frames.ts";
import type { Owner } from "../zone.ts";

/** A soft page that is cut up, and its blocks that are not in use. */
interface Cut {
  readonly head: Pfn;
  readonly idle: Pfn[];
  readonly owner: Owner;
  /** Soft pages of the same purpose that have idle blocks. */
  readonly open: Cut[];
}

export class Parcels {
  private readonly allocator: Allocator;
  private readonly contents: FrameContents;
  private readonly order: number;
  /** By zone and owner: soft pages with idle blocks, the one that was cut or given to last at the end. */
  private readonly open = new Map<string, Cut[]>();
  private readonly byHead = new Map<Pfn, Cut>();

  /** Blocks of 2^order frames. */
  constructor(allocator: Allocator, contents: FrameContents, order: number) {
    this.allocator = allocator;
    this.contents = contents;
    this.order = order;
  }

  /** A block with one reference, contents unknown; or NO_FRAME. */
  take(want: Want, owner: Owner): Pfn {
    const { frames } = this.allocator;
    const cut = this.openFor(want, owner).at(-1) ?? this.cut(want, owner);
    if (cut === undefined) return NO_FRAME;
    const block = cut.idle.pop()!;
    if (cut.idle.length === 0) cut.open.pop();
    frames.owner.write(block, owner);
    frames.refs.write(block, 1);
    return block;
  }

  give(block: Pfn): void {
    const { frames } = this.allocator;
    const cut = this.byHead.get(frames.head(block)) ?? bug(`frame ${block} is no part of a soft page that is cut up`);
    if (frames.refs.read(block) > 1 || frames.mapCount.read(block) !== 0) bug(`block ${block} is given back in use`);
    frames.refs.write(block, 0);
    frames.flags.write(block, 0);
    frames.mapping.write(block, 0);
    this.contents.forgetRun(block, block + (1 << this.order));
    if (cut.idle.length === 0) cut.open.push(cut);
    cut.idle.push(block);
    if (cut.idle.length << this.order === frames.softFrames) this.join(cut);
  }

  /** Frames of blocks that are not in use, and charged to `owner`. */
  idleOf(owner: Owner): number {
    let blocks = 0;
    for (const cut of this.byHead.values()) if (cut.owner === owner) blocks += cut.idle.length;
    return blocks << this.order;
  }

  private openFor(want: Want, owner: Owner): Cut[] {
    const key = `${want} ${owner}`;
    let open = this.open.get(key);
    if (open === undefined) {
      open = [];
      this.open.set(key, open);
    }
    return open;
  }

  /** A soft page more, in as many blocks as it has; the lowest is taken first. */
  private cut(want: Want, owner: Owner): Cut | undefined {
    const head = this.allocator.tryAllocate(0, want, owner);
    if (head === NO_FRAME) return undefined;
    const size = 1 << this.order;
    const idle: Pfn[] = [];
    for (let block = head + this.allocator.frames.softFrames - size; block >= head; block -= size) idle.push(block);
    const open = this.openFor(want, owner);
    const cut = { head, idle, owner, open };
    this.byHead.set(head, cut);
    open.push(cut);
    return cut;
  }

  /** A soft page without blocks in use goes back. */
  private join(cut: Cut): void {
    const { allocator } = this;
    cut.open.splice(cut.open.indexOf(cut), 1);
    this.byHead.delete(cut.head);
    allocator.frames.owner.write(cut.head, cut.owner);
    allocator.frames.refs.write(cut.head, 1);
    allocator.free(cut.head, 0);
  }
}
