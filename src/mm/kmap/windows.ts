/**
 * Where a 32-bit kernel's own part of the address space goes: the direct map of lowmem, and above it the windows through
 * which everything else is reached.
 *
 *     page offset                                                                              4 GiB
 *     | direct map of lowmem | 8 MiB hole | vmalloc ...            | pkmap (kmap) |  ... fixmap |
 *                            high memory    one 4 or 2 MiB table ->  slot 0..        slot 0 at the top, growing down
 *
 * @models linux-2.6.11 include/asm-i386/pgtable.h, highmem.h, fixmap.h
 * @differs fixmap slots of other uses (APICs, the vsyscall page) are counted, not named
 */
import { PAGE_SIZE, type Vaddr } from "../../base/units.ts";
import { ATOMIC_TYPES } from "./atomic-types.ts";

const MIB = 2 ** 20;
const FOUR_GIB = 2 ** 32;

/** Kept free between the direct map and vmalloc, so that a stray pointer faults. */
const VMALLOC_OFFSET = 8 * MIB;
/** The last page of the address space stays unmapped. */
const FIXMAP_TOP = 0xffff_f000;
/** Slots of the fixmap that are not kmap_atomic's. */
const OTHER_FIXMAP_SLOTS = 37;

export interface KernelWindows {
  /** Where the direct map starts (PAGE_OFFSET). */
  readonly pageOffset: Vaddr;
  /** Where it ends: the address of the first frame that has none (high_memory). */
  readonly highMemory: Vaddr;
  readonly vmallocStart: Vaddr;
  readonly vmallocEnd: Vaddr;
  /** kmap's slot 0; the others follow. */
  readonly pkmapBase: Vaddr;
  /** kmap's slots: what one page table maps. */
  readonly pkmapSlots: number;
  /** The lowest page of the fixmap. */
  readonly fixmapStart: Vaddr;
  /** kmap_atomic's slot 0; the others lie below it, one page each. */
  readonly atomicTop: Vaddr;
}

export interface WindowSizes {
  readonly pageOffset: Vaddr;
  readonly lowmemBytes: number;
  /** Pages that one leaf table maps: 1024, or 512 with PAE. */
  readonly tablePages: number;
  readonly cpus: number;
}

const alignDown = (address: Vaddr, bytes: number): Vaddr => Math.floor(address / bytes) * bytes;

/** The address map of a kernel with highmem. */
export function kernelWindows({ pageOffset, lowmemBytes, tablePages, cpus }: WindowSizes): KernelWindows {
  const highMemory = pageOffset + lowmemBytes;
  const fixmapStart = FIXMAP_TOP - (OTHER_FIXMAP_SLOTS + ATOMIC_TYPES * cpus) * PAGE_SIZE;
  const pkmapBase = alignDown(fixmapStart - (tablePages + 1) * PAGE_SIZE, tablePages * PAGE_SIZE);
  return {
    pageOffset,
    highMemory,
    vmallocStart: alignDown(highMemory + 2 * VMALLOC_OFFSET - 1, VMALLOC_OFFSET),
    vmallocEnd: pkmapBase - 2 * PAGE_SIZE,
    pkmapBase,
    pkmapSlots: tablePages,
    fixmapStart,
    atomicTop: FIXMAP_TOP - OTHER_FIXMAP_SLOTS * PAGE_SIZE,
  };
}

/** VMALLOC_RESERVE: what the windows above lowmem are given, the fixmap of pages of 4 KiB among them. */
const WINDOW_RESERVE = 128 * MIB;

/**
 * Lowmem that the addresses leave room for where a page is 2^softPageShift hardware pages: each slot of kmap_atomic shows
 * a whole one, so that the fixmap outgrows the reserve, and lies above it.
 *
 * @models linux-2.5.66-pgcl include/asm-i386/fixmap.h, page.h MAXMEM
 */
export function scaledLowmemBytes(sizes: {
  readonly pageOffset: Vaddr;
  readonly tablePages: number;
  readonly cpus: number;
  readonly softPageShift: number;
  /** null: the kernel's own. */
  readonly atomicTypes: number | null;
}): number {
  const { pageOffset, tablePages } = sizes;
  const start = scaledFixmapStart(sizes);
  return alignDown(start, tablePages * PAGE_SIZE) - WINDOW_RESERVE - pageOffset;
}

/** The lowest page of that fixmap. */
export function scaledFixmapStart(sizes: {
  readonly cpus: number;
  readonly softPageShift: number;
  readonly atomicTypes: number | null;
}): Vaddr {
  const atomicPages = (sizes.atomicTypes ?? ATOMIC_TYPES) * sizes.cpus * 2 ** sizes.softPageShift;
  return FIXMAP_TOP - (OTHER_FIXMAP_SLOTS + atomicPages) * PAGE_SIZE;
}

/** The address of kmap's slot. */
export const pkmapAddress = (windows: KernelWindows, slot: number): Vaddr => windows.pkmapBase + slot * PAGE_SIZE;

/** The address of kmap_atomic's slot. */
export const atomicAddress = (windows: KernelWindows, slot: number): Vaddr => windows.atomicTop - slot * PAGE_SIZE;

/** Whether the windows leave room for vmalloc: at least a page. */
export const fitsAddressSpace = (windows: KernelWindows): boolean =>
  windows.vmallocStart < windows.vmallocEnd && windows.fixmapStart < FOUR_GIB;
