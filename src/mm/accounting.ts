/**
 * The totals of an address space, and the limits that they are held against.
 *
 * @models linux-6.1 mm/mmap.c may_expand_vm, vm_stat_account, mlock_future_check
 */
import { EAGAIN } from "../base/errno.ts";
import { PAGE_SIZE } from "../base/units.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Kernel } from "./kernel.ts";
import { VM_EXEC, VM_GROWSDOWN, VM_LOCKED, VM_SHARED, VM_WRITE } from "./vma.ts";

const isExec = (flags: number): boolean => (flags & (VM_EXEC | VM_WRITE | VM_GROWSDOWN)) === VM_EXEC;
const isStack = (flags: number): boolean => (flags & VM_GROWSDOWN) !== 0;
const isData = (flags: number): boolean => (flags & (VM_WRITE | VM_SHARED | VM_GROWSDOWN)) === VM_WRITE;

const inPages = (bytes: number): number => Math.floor(bytes / PAGE_SIZE);

/** Whether RLIMIT_AS and (where it counts all data) RLIMIT_DATA leave room for `pages` more pages of such an area. */
export function mayExpand(kernel: Kernel, mm: AddressSpace, flags: number, pages: number): boolean {
  if (mm.totalPages + pages > inPages(mm.limits.addressSpaceBytes)) return false;
  if (kernel.personality.dataLimit === "brk" || !isData(flags)) return true;
  return mm.dataPages + pages <= inPages(mm.limits.dataBytes);
}

/** Adds `pages` pages (or takes, if negative) of an area with these flags to the totals. */
export function account(mm: AddressSpace, flags: number, pages: number): void {
  if (pages < 0) mm.notePeaks();
  mm.totalPages += pages;
  if (isExec(flags)) mm.execPages += pages;
  else if (isStack(flags)) mm.stackPages += pages;
  else if (isData(flags)) mm.dataPages += pages;
}

/** -EAGAIN if an area with these flags would be locked, beyond RLIMIT_MEMLOCK. */
export function checkLockedLimit(mm: AddressSpace, flags: number, pages: number): number {
  if ((flags & VM_LOCKED) === 0 || mm.limits.privilege === "root") return 0;
  return mm.lockedPages + pages > lockedLimitPages(mm) ? -EAGAIN : 0;
}

/** RLIMIT_MEMLOCK in pages. */
export const lockedLimitPages = (mm: AddressSpace): number => inPages(mm.limits.lockedBytes);

/** Whether the process may lock memory at all. */
export const mayLock = (mm: AddressSpace): boolean => mm.limits.privilege === "root" || mm.limits.lockedBytes > 0;
