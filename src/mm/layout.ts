/** Where the parts of a user address space lie: given by the paging format, the user/kernel split and the stack limit. */
import { PAGE_SIZE, type Vpn } from "../base/units.ts";
import type { PagingFormat } from "../hw/paging-format.ts";

export interface AddressLayout {
  /** Paging format's name tells the ABI: a 32-bit format has a 32-bit ABI. */
  readonly abi: "i386" | "x86-64";
  /** A page as programs know it (getpagesize()): the unit of all that they map, protect, lock and unmap. */
  readonly pageBytes: number;
  /** The same in pages of 4 KiB, whose entries come and go together. */
  readonly userPages: number;
  /** One past the last user page (TASK_SIZE). */
  readonly taskEnd: Vpn;
  /** One past the highest page of the main stack (STACK_TOP). */
  readonly stackTop: Vpn;
  /** Where a bottom-up search starts (TASK_UNMAPPED_BASE). */
  readonly unmappedBase: Vpn;
  /** Where a top-down search starts, going down (mm->mmap_base); the room above it is the stack's. */
  readonly mmapBase: Vpn;
  /** Where a program's image is loaded when it says nothing else. */
  readonly imageBase: Vpn;
}

/** The least and the greatest room that Linux keeps free for the stack below STACK_TOP. */
const MIN_STACK_GAP = 128 * 1024 * 1024;

/**
 * The layout of an address space without randomisation, in which all begins and ends at multiples of `userPages`.
 *
 * @models linux-6.1 arch/x86/mm/mmap.c mmap_base, mmap_legacy_base
 */
export function addressLayout(
  format: PagingFormat,
  userBytes: number,
  stackLimitBytes: number,
  userPages = 1,
): AddressLayout {
  const wholeBelow = (page: Vpn): Vpn => page - (page % userPages);
  const wholeAbove = (page: Vpn): Vpn => Math.ceil(page / userPages) * userPages;
  const wide = format.entryBytes === 8 && format.levels > 3;
  // The last page below a 64-bit split stays unmapped (TASK_SIZE_MAX), so that a SYSCALL's return address is canonical.
  const taskEnd = wholeBelow((wide ? 2 ** 47 - PAGE_SIZE : userBytes) / PAGE_SIZE);
  const bytes = taskEnd * PAGE_SIZE;
  const gap = Math.min(Math.max(stackLimitBytes + STACK_GUARD_BYTES, MIN_STACK_GAP), Math.floor(bytes / 6) * 5);
  return {
    abi: wide ? "x86-64" : "i386",
    pageBytes: userPages * PAGE_SIZE,
    userPages,
    taskEnd,
    stackTop: taskEnd,
    unmappedBase: wholeAbove(bytes / 3 / PAGE_SIZE),
    mmapBase: wholeBelow(Math.floor((bytes - gap) / PAGE_SIZE)),
    imageBase: wholeAbove((wide ? 0x5555_5555_4000 : 0x0804_8000) / PAGE_SIZE),
  };
}

/** stack_guard_gap's default: 256 pages. */
export const STACK_GUARD_BYTES = 256 * PAGE_SIZE;
