/**
 * The struct pages of a huge page are alike but for the first ones: the pages that hold them can all be the first one,
 * mapped again and again, and the others be given back (hugetlb_optimize_vmemmap).
 *
 *     2 MiB    512 struct pages of 64 bytes       8 pages of them        7 given back
 *     1 GiB    262144                             4096                   4095
 *
 * @models linux-6.1 mm/hugetlb_vmemmap.c hugetlb_vmemmap_optimizable_size; Documentation/mm/vmemmap_dedup.rst
 */
import { PAGE_SIZE } from "../../base/units.ts";

/** The pages of struct pages that a huge page keeps. */
const KEPT_PAGES = 1;

/** Bytes that the struct pages of one huge page, of `pages` pages of 4 KiB, can do without. */
export function vmemmapFreed(pages: number, pageStructBytes: number): number {
  // Where a struct page lies across two pages, they are mapped as they are.
  if (!Number.isInteger(Math.log2(pageStructBytes))) return 0;
  return Math.max(0, (pages * pageStructBytes) / PAGE_SIZE - KEPT_PAGES) * PAGE_SIZE;
}
