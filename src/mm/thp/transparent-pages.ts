/**
 * Huge pages that nobody asks for by name: anonymous memory is mapped by entries of the second level where it can be, and
 * the program never knows. It saves TLB entries, faults and page tables, and costs memory that is resident and was never
 * touched, and work to have 2 MiB in one piece.
 *
 *     never     there are none
 *     madvise   in areas that were advised MADV_HUGEPAGE
 *     always    in all areas but those that were advised MADV_NOHUGEPAGE
 *
 *     huge-fault.ts     the first touch, and copy on write        huge-frames.ts    what a huge page is made of
 *     huge-areas.ts     unmap, fork, mprotect, mremap             huge-entries.ts   large entries, and splitting one
 *     huge-reclaim.ts   when memory is short                      large-map.ts      who maps a page whole
 *     khugepaged.ts     small pages become huge ones later        collapse.ts       how
 *     compaction.ts     moving pages to have a block              migrate.ts        moving one
 *     touched-parts.ts  what programs have accessed of them
 *
 * Where an operation is about a part of a huge page, the large entry is split first, and small pages are all that it meets.
 *
 * @models linux-6.1 mm/huge_memory.c hugepage_vma_check, transhuge_vma_suitable
 * @differs anonymous memory alone: pages of shmem and of files are never huge
 */
import { bug } from "../../base/errors.ts";
import type { Pfn, Vpn } from "../../base/units.ts";
import type { PagingFormat } from "../../hw/paging-format.ts";
import type { Path } from "../../sync/path.ts";
import { NO_FRAME } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { ObjectAnon } from "../rmap/object-anon.ts";
import type { ReverseMap } from "../rmap/reverse-map.ts";
import { VM_HUGEPAGE, VM_NOHUGEPAGE, VM_SPECIAL, type Vma } from "../vma.ts";
import { makeBlock } from "./compaction.ts";
import { HUGE_LEVEL } from "./huge-entries.ts";
import { HugeFrames } from "./huge-frames.ts";
import { Khugepaged } from "./khugepaged.ts";
import type { LargeMap } from "./large-map.ts";

/** Which areas may have huge pages. */
interface Policy {
  /** Whether the kernel has any at all, and a line of them in /proc/meminfo. */
  readonly exist: boolean;
  /** Whether areas with these VM_* bits may have them. */
  admits(flags: number): boolean;
}

export const transparentPolicies = {
  never: { exist: false, admits: () => false },
  madvise: { exist: true, admits: (flags) => (flags & VM_HUGEPAGE) !== 0 },
  always: { exist: true, admits: () => true },
} as const satisfies Record<string, Policy>;

/** What is done for a huge page where no block of its size is free: nothing; it is left to the kernel's threads; or the fault does it. */
type Effort = "none" | "later" | "now";

/** The policies of transparent_hugepage/defrag: for areas that were advised MADV_HUGEPAGE, and for others. */
const defrags = {
  always: { advised: "now", others: "now" },
  defer: { advised: "later", others: "later" },
  "defer+madvise": { advised: "now", others: "later" },
  madvise: { advised: "now", others: "none" },
  never: { advised: "none", others: "none" },
} as const satisfies Record<string, { readonly advised: Effort; readonly others: Effort }>;

export type TransparentName = keyof typeof transparentPolicies;

/** Areas that have no pages of the usual kind, or were asked to have no huge ones. */
const NEVER_HUGE = VM_NOHUGEPAGE | VM_SPECIAL;

export class TransparentPages {
  readonly pages: HugeFrames;
  readonly khugepaged = new Khugepaged();
  /** A fault has left it to the kernel's own thread to move memory (kcompactd). */
  wantsBlocks = false;
  private readonly policy: Policy;
  private readonly isPossible: boolean;
  private readonly largeEntries: LargeMap | null;

  constructor(policy: Policy, format: PagingFormat, reverseMap: ReverseMap) {
    this.policy = policy;
    this.isPossible = format.mayMap(HUGE_LEVEL);
    this.pages = new HugeFrames(Math.log2(format.entrySpan(HUGE_LEVEL)));
    this.largeEntries = reverseMap instanceof ObjectAnon ? reverseMap : null;
    if (policy.exist && this.largeEntries === null) bug("no reverse map that finds large entries");
  }

  get exist(): boolean {
    return this.policy.exist && this.isPossible;
  }

  /** Whether one of the kernel's threads that work for huge pages is due. */
  isDue(kernel: Kernel): boolean {
    return this.wantsBlocks || this.khugepaged.isDue(kernel);
  }

  /** The turns that are due. */
  *attend(kernel: Kernel): Path<void> {
    if (this.wantsBlocks) {
      this.wantsBlocks = false;
      kernel.counters.compactDaemonWake++;
      yield* makeBlock(kernel, this.pages.order);
    }
    if (this.khugepaged.isDue(kernel)) yield* this.khugepaged.turn(kernel);
  }

  /** Who maps a huge page whole. */
  get largeMap(): LargeMap {
    return this.largeEntries ?? bug("there are no transparent huge pages");
  }

  /** What a fault of the area does when there is no block. */
  whenShort(kernel: Kernel, vma: Vma): Effort {
    const { advised, others } = defrags[kernel.tunables.thpDefrag];
    return (vma.flags & VM_HUGEPAGE) !== 0 ? advised : others;
  }

  /** A huge page, for which memory is moved and freed if need be; or NO_FRAME. Requires: no spinlock is held. */
  *takeSlowly(kernel: Kernel): Path<Pfn> {
    const head = this.pages.take(kernel);
    if (head !== NO_FRAME) return head;
    return (yield* makeBlock(kernel, this.pages.order)) ? this.pages.take(kernel) : NO_FRAME;
  }

  /** Whether the area may have a huge page around `page`: all that it would map is the area's. */
  admits(vma: Vma, page: Vpn): boolean {
    return this.policy.admits(vma.flags) && this.fits(vma, page);
  }

  /** The same for who asks by name. */
  fits(vma: Vma, page: Vpn): boolean {
    if (vma.file !== null || !this.exist || (vma.flags & NEVER_HUGE) !== 0) return false;
    const { pages } = this.pages;
    const first = page - (page % pages);
    return first >= vma.start && first + pages <= vma.end;
  }
}
