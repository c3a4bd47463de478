/**
 * A bit of the entry that the hardware ignores says what the entry names. As pte_special it is on what has no struct page, so
 * that copies are entries like any other, and come back from swap as such. As a COW bit, the way that was proposed first,
 * it is on copies, and whoever maps a page in such an area must remember to set it.
 *
 * Cost: one bit of every entry, which an architecture must have.
 *
 * @models linux-6.1 mm/memory.c vm_normal_page (CONFIG_ARCH_HAS_PTE_SPECIAL); arch/x86/include/asm/pgtable_types.h _PAGE_SPECIAL
 * @models MAIL-NOPFN (a "COW bits" macro)
 */
import type { Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_SOFT1 } from "../../hw/pte.ts";
import type { Kernel } from "../kernel.ts";
import type { Vma } from "../vma.ts";
import { RawMappings } from "./pfn-mappings.ts";

export class SpecialBit extends RawMappings {
  override readonly rawBits = PTE_SOFT1;

  normalPage({ entries }: Kernel, _vma: Vma, _page: Vpn, table: OpenTable, index: number): boolean {
    return (entries.flags(table, index) & PTE_SOFT1) === 0;
  }
}

export class CowBit extends RawMappings {
  override readonly pageBits = PTE_SOFT1;

  normalPage({ entries }: Kernel, _vma: Vma, _page: Vpn, table: OpenTable, index: number): boolean {
    return (entries.flags(table, index) & PTE_SOFT1) !== 0;
  }
}
