/**
 * Small ranges are dropped page by page, larger ones with everything else: beyond some 33 pages refilling the TLB costs
 * less than invalidating one by one.
 *
 * @models linux-6.1 arch/x86/mm/tlb.c flush_tlb_mm_range, tlb_single_page_flush_ceiling
 */
import type { Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import { type FlushParts, Shootdown } from "../tlb-flush.ts";

export class PerRange extends Shootdown {
  /** tlb_single_page_flush_ceiling: the largest range that is dropped page by page. */
  private readonly ceilingPages: number;

  constructor(parts: FlushParts, ceilingPages: number) {
    super(parts);
    this.ceilingPages = ceilingPages;
  }

  range(mm: AddressSpace, first: Vpn, end: Vpn): void {
    this.parts.counters.tlbFlushesRange++;
    if (end - first > this.ceilingPages) this.reach(mm, first, end, (cpu) => this.reload(cpu, mm));
    else this.reach(mm, first, end, (cpu) => this.invalidate(cpu, first, end));
  }
}
