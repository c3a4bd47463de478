/**
 * Pages that come and go whole: where a page as programs know it is a soft page (BSD on the VAX), every area holds whole ones,
 * and what happens to one of its entries happens to all. Elsewhere a page as programs know it has one entry, and the same code
 * does its work once.
 *
 *     entries     0 . . . | 4 5 6 7 | . . . .        a fault at 6 is one at 4: four entries that map four parts
 *
 * So the entries of a whole page are all none, or all name parts of one soft page or one swap slot, in order and with the same
 * rights; what the MMU notes (A and D) may differ.
 *
 * Source: Babaoglu and Joy, "Converting a Swap-Based System to do Paging in an Architecture Lacking Page-Referenced Bits",
 * 1981; William Lee Irwin III, linux-kernel, July 2003.
 */
import { ENOMEM } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import type { Pfn, PteSlot, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_ACCESSED, PTE_DIRTY } from "../../hw/pte.ts";
import type { Kernel } from "../kernel.ts";
import { mapNewAnonymous, mapShared } from "../mapped-frame.ts";
import { VM_RAW, type Vma } from "../vma.ts";

/** How many entries of the area come and go together. Memory without struct pages is mapped frame by frame everywhere. */
export const entriesTogether = ({ layout }: Kernel, vma: Vma): number =>
  (vma.flags & VM_RAW) === 0 ? layout.userPages : 1;

/** The first page of 4 KiB of the whole page that `page` is in. */
export function firstOfWhole(kernel: Kernel, vma: Vma, page: Vpn): Vpn {
  const together = entriesTogether(kernel, vma);
  return together === 1 ? page : page - (page % together);
}

/** The entries of a whole page, the first of which is at `index`, map the parts from `frame` on; only the first was used. */
export function setWhole(kernel: Kernel, table: OpenTable, index: number, frame: Pfn, flags: number): void {
  const { entries, layout } = kernel;
  entries.set(table, index, frame, flags);
  const others = flags & ~(PTE_ACCESSED | PTE_DIRTY);
  for (let part = 1; part < layout.userPages; part++) entries.set(table, index + part, frame + part, others);
}

/** The entries of a whole page have all of `bits`. */
export function widenWhole(kernel: Kernel, table: OpenTable, index: number, bits: number): void {
  const { entries, layout } = kernel;
  for (let at = index; at < index + layout.userPages; at++) {
    entries.setFlags(table, at, entries.flags(table, at) | bits);
  }
}

/**
 * The entries from `slot` on, of a whole page, map a file's parts from `frame` on, each with a reference: 0, or -ENOMEM with
 * nothing changed. Only the first entry may need memory: it stands for all.
 */
export function mapWholeShared(kernel: Kernel, vma: Vma, frame: Pfn, slot: PteSlot): number {
  const { userPages } = kernel.layout;
  if (mapShared(kernel, vma, frame, slot) < 0) return -ENOMEM;
  for (let part = 1; part < userPages; part++) requireRoom(mapShared(kernel, vma, frame + part, slot + part));
  return 0;
}

/** The same for the parts of a new anonymous page, which has one reference. */
export function mapWholeAnonymous(kernel: Kernel, vma: Vma, page: Vpn, frame: Pfn, slot: PteSlot): number {
  const { frames, layout } = kernel;
  if (mapNewAnonymous(kernel, vma, page, frame, slot) < 0) return -ENOMEM;
  for (let part = 1; part < layout.userPages; part++) {
    requireRoom(mapNewAnonymous(kernel, vma, page + part, frame + part, slot + part));
    frames.addReference(frames.head(frame));
  }
  return 0;
}

function requireRoom(result: number): void {
  if (result < 0) bug("an entry that another stands for needs memory of its own");
}
