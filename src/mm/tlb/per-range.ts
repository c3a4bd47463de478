/**
 * Small ranges are dropped page by page, larger ones with everything else: beyond some 33 pages refilling the TLB costs
 * less than invalidating one by one.
 *
 * @models linux-6.1 arch/x86/mm/tlb.c flush_tlb_mm_range, tlb_single_page_flush_ceiling
 */
import type { Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import { Shootdown } from "../tlb-flush.ts";

/** tlb_single_page_flush_ceiling. */
const CEILING_PAGES = 33;

export class PerRange extends Shootdown {
  range(mm: AddressSpace, first: Vpn, end: Vpn): void {
    this.parts.counters.tlbFlushesRange++;
    if (end - first > CEILING_PAGES) this.reach(mm, first, end, (cpu) => this.reload(cpu));
    else this.reach(mm, first, end, (cpu) => this.invalidate(cpu, first, end));
  }
}
