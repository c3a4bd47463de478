/**
 * Unmapped frames on their way out. A frame, or a page table, whose entry has been cleared may still be used through
 * some CPU's TLB: it is gathered here, and freed only after a flush. The two steps happen together in one place, so
 * that freeing before flushing cannot be written.
 *
 *     clear entries -> add ... add -> flush TLBs of [first, end) -> free all
 *
 * @models linux-6.1 mm/mmu_gather.c tlb_gather_mmu, tlb_flush_mmu, tlb_finish_mmu
 * @differs one batch of fixed size; Linux chains batches and falls back to a small one inside the gather
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { Path, Wait } from "../../sync/path.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { giveSlotBackIfUnmapped } from "../swap/swap-cache.ts";

/** Frames that one flush frees, and the rest of the last whole page. */
const BATCH = 506;

/** The window between clearing entries and flushing them: others may run here, and see both. */
const beforeFlush: Wait = { on: "TLBs to be flushed", ready: () => true };

/** One per unmapping: of one range, or of a whole address space that nobody runs any more. */
export class Gather {
  readonly mm: AddressSpace;
  private readonly kernel: Kernel;
  /** Frames, as runs in the order in which they came: the first of each, and the end. */
  private readonly firsts: Pfn[] = [];
  private readonly ends: Pfn[] = [];
  private count = 0;
  private readonly tables: Pfn[] = [];
  /** By table: its level. */
  private readonly levels: number[] = [];
  private first: Vpn = Number.POSITIVE_INFINITY;
  private end: Vpn = 0;

  constructor(kernel: Kernel, mm: AddressSpace) {
    this.kernel = kernel;
    this.mm = mm;
  }

  /** The entries of `[first, end)` that could be in a TLB have been cleared. */
  cover(first: Vpn, end: Vpn): void {
    if (first < this.first) this.first = first;
    if (end > this.end) this.end = end;
  }

  /** The page `frame` has lost an entry that mapped it, and will lose that entry's reference. Requires: the gather has room. */
  add(frame: Pfn): void {
    this.addRun(frame, frame + 1);
  }

  /** The same for all of `[first, end)`. Requires: there is room for them. */
  addRun(first: Pfn, end: Pfn): void {
    const last = this.ends.length - 1;
    this.count += end - first;
    if (last >= 0 && this.ends[last] === first) this.ends[last] = end;
    else {
      this.firsts.push(first);
      this.ends.push(end);
    }
  }

  /** Frames that may still be added. */
  get room(): number {
    return BATCH - this.count;
  }

  /** Whether it must be flushed before more is added. */
  get isFull(): boolean {
    return this.count >= BATCH;
  }

  /** `table`, of `level`, has been unhung; it covered `[first, end)`. */
  addTable(table: Pfn, level: number, first: Vpn, end: Vpn): void {
    this.cover(first, end);
    this.tables.push(table);
    this.levels.push(level);
  }

  /** Flushes what has been gathered, and frees it. Until then other CPUs may go on using it. */
  *flush(): Path<void> {
    const { kernel, firsts, ends, tables } = this;
    if (this.end > 0) {
      yield beforeFlush;
      this.flushTlb();
      if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
    }
    if (this.count + tables.length > 0) kernel.counters.gatherFlushes++;
    for (let at = 0; at < firsts.length; at++) {
      if (kernel.swap.cachedPages === 0) break;
      for (let frame = firsts[at]!; frame < ends[at]!; frame++) giveSlotBackIfUnmapped(kernel, frame);
    }
    for (let at = 0; at < firsts.length; at++) kernel.allocator.releaseRun(firsts[at]!, ends[at]!);
    for (let at = 0; at < tables.length; at++) kernel.tables.releaseFrame(tables[at]!, this.levels[at]!);
    firsts.length = 0;
    ends.length = 0;
    this.count = 0;
    tables.length = 0;
    this.levels.length = 0;
    this.first = Number.POSITIVE_INFINITY;
    this.end = 0;
  }

  /**
   * Flushes what has been covered so far; what is gathered is freed by `flush`. For entries that have moved: no CPU uses
   * their old place any more when the lock is free, since whoever unmaps the new one knows nothing of it. Requires:
   * page_table_lock is held.
   *
   * @models linux-6.1 mm/mremap.c move_ptes (force_flush)
   */
  *flushLocked(): Path<void> {
    if (this.end === 0) return;
    this.flushTlb();
    if (this.kernel.tlbFlush.owes) yield* this.kernel.tlbFlush.settle();
    this.first = Number.POSITIVE_INFINITY;
    this.end = 0;
  }

  private flushTlb(): void {
    const { tlbFlush } = this.kernel;
    if (this.tables.length > 0) tlbFlush.all(this.mm);
    else if (this.end - this.first === 1) tlbFlush.page(this.mm, this.first);
    else tlbFlush.range(this.mm, this.first, this.end);
  }
}
