/**
 * How much memory has been promised (vm_committed_as) and whether more may be.
 *
 * @models linux-6.1 mm/util.c __vm_enough_memory, vm_commit_limit
 */
import { ENOMEM } from "../base/errno.ts";
import type { AddressSpace } from "./address-space.ts";

/** vm.overcommit_memory. */
export const OVERCOMMIT_GUESS = 0;
export const OVERCOMMIT_ALWAYS = 1;
export const OVERCOMMIT_NEVER = 2;

/** What a promise is held against, in pages. */
export interface CommitmentSource {
  readonly mode: number;
  /** vm.overcommit_ratio, per cent. */
  readonly ratio: number;
  /** Memory that the allocator has in hand, used or not. */
  totalPages(): number;
  /** Pages in pools of huge pages now: memory that no promise of this kind can be kept with. */
  hugePages(): number;
  readonly swapPages: number;
  /** vm.admin_reserve_kbytes and vm.user_reserve_kbytes. */
  readonly adminReservePages: number;
  readonly userReservePages: number;
  /** Whether a single request of `pages` is obviously too much (mode 0). */
  obviousOvercommit(pages: number): boolean;
}

export class Commitment {
  readonly source: CommitmentSource;
  /** Pages promised so far. */
  pages = 0;
  peakPages = 0;

  constructor(source: CommitmentSource) {
    this.source = source;
  }

  /** CommitLimit. */
  get limitPages(): number {
    const { source } = this;
    const pages = source.totalPages() - source.hugePages();
    return Math.floor((pages * source.ratio) / 100) + source.swapPages;
  }

  get mode(): number {
    return this.source.mode;
  }

  /** Promises `pages` more; 0, or -ENOMEM with nothing promised. `mm` is null for the kernel's own promises. */
  charge(pages: number, mm: AddressSpace | null): number {
    this.pages += pages;
    if (!this.enough(pages, mm)) {
      this.pages -= pages;
      return -ENOMEM;
    }
    if (this.pages > this.peakPages) this.peakPages = this.pages;
    return 0;
  }

  /** Promises `pages` more that are in use already, whatever the limit. */
  chargeAnyway(pages: number): void {
    this.pages += pages;
    if (this.pages > this.peakPages) this.peakPages = this.pages;
  }

  uncharge(pages: number): void {
    this.pages -= pages;
  }

  private enough(pages: number, mm: AddressSpace | null): boolean {
    const { source } = this;
    if (source.mode === OVERCOMMIT_ALWAYS) return true;
    if (source.mode === OVERCOMMIT_GUESS) return !source.obviousOvercommit(pages);
    let allowed = this.limitPages;
    if (mm === null || mm.limits.privilege === "user") allowed -= source.adminReservePages;
    if (mm !== null) allowed -= Math.min(Math.floor(mm.totalPages / 32), source.userReservePages);
    return this.pages < allowed;
  }
}
