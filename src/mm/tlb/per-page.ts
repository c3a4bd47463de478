/**
 * Every flush drops exactly the pages it names, one instruction each: nothing else is lost, and a large range takes long.
 *
 * @models linux-2.4.22 include/asm-i386/pgalloc.h __flush_tlb_one
 * @differs no kernel flushes large ranges so; this is the fine end of the scale
 */
import type { Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import { Shootdown } from "../tlb-flush.ts";

export class PerPage extends Shootdown {
  range(mm: AddressSpace, first: Vpn, end: Vpn): void {
    this.parts.counters.tlbFlushesRange++;
    this.reach(mm, first, end, (cpu) => this.invalidate(cpu, first, end));
  }
}
