/**
 * Where an area of big pages goes: to the place asked for if it is free, up to the next big page; else to where any area of
 * that size and one page less would go, aligned within it.
 *
 * @models linux-6.1 fs/hugetlbfs/inode.c generic_hugetlb_get_unmapped_area
 */
import { ENOMEM } from "../../base/errno.ts";
import { addressOf, pageOf, type Vaddr, type Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { findPlace } from "../placement.ts";
import type { HugePool } from "./huge-pool.ts";

/** The first page, or -ENOMEM. */
export function findBigPlace(kernel: Kernel, mm: AddressSpace, pool: HugePool, hint: Vaddr, pages: number): Vpn {
  const unit = pool.pages;
  if (hint > 0) {
    const page = Math.ceil(pageOf(hint) / unit) * unit;
    if (page + pages <= kernel.layout.taskEnd && mm.vmas.intersecting(page, page + pages) === null) return page;
  }
  const room = findPlace(kernel, mm, { address: 0, pages: pages + unit - 1, flags: 0, backing: "file" });
  if (room < 0) return -ENOMEM;
  const first = pageOf(room);
  const isTopDown = kernel.personality.placement === "top-down";
  return isTopDown ? Math.floor((first + unit - 1) / unit) * unit : Math.ceil(first / unit) * unit;
}

/** The same as an address. */
export function findBigAddress(kernel: Kernel, mm: AddressSpace, pool: HugePool, hint: Vaddr, pages: number): number {
  const page = findBigPlace(kernel, mm, pool, hint, pages);
  return page < 0 ? page : addressOf(page);
}
