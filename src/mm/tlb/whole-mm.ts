/**
 * A range of any size drops the whole address space: one reload of CR3, and every other translation is lost with it.
 *
 * @models linux-2.6.11 include/asm-i386/tlbflush.h flush_tlb_range
 */
import type { Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import { Shootdown } from "../tlb-flush.ts";

export class WholeMm extends Shootdown {
  range(mm: AddressSpace, first: Vpn, end: Vpn): void {
    this.parts.counters.tlbFlushesRange++;
    this.reach(mm, first, end, (cpu) => this.reload(cpu, mm));
  }
}
