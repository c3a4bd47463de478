/**
 * How kernels differ below the system calls: what a fault makes ready beforehand, who may write a private page in
 * place, what fork copies, how mremap moves entries and when page tables are freed. One record a kernel.
 */
import { bug } from "../base/errors.ts";
import { PAGE_SIZE, type Pfn, type Vpn } from "../base/units.ts";
import { PTE_DIRTY, PTE_PROT_NONE, PTE_SOFT1 } from "../hw/pte.ts";
import type { Tunables } from "../tunables.ts";
import type { AddressSpace } from "./address-space.ts";
import { type Frames, PG_ANON, PG_EXCLUSIVE } from "./frames.ts";
import type { Kernel } from "./kernel.ts";
import { freeTablesPerArea } from "./tables/per-area.ts";
import { freePmdRanges } from "./tables/pmd-ranges.ts";
import type { Gather } from "./tlb/gather.ts";
import type { Intent } from "./verdict.ts";
import { VM_ACCESS, VM_EXEC, VM_PFNMAP, VM_READ, VM_SHARED, VM_WRITE, type Vma } from "./vma.ts";

/** Frees the tables that covered `vmas` and no neighbour: those lie outside `[floor, ceiling)`. */
export type TableFreeing = (
  kernel: Kernel,
  gather: Gather,
  mm: AddressSpace,
  vmas: readonly Vma[],
  span: { readonly floor: Vpn; readonly ceiling: Vpn },
) => void;

export interface PagePolicy {
  /** The lowest level of tables that a fault of a file makes before it looks for the page. */
  readonly firstTables: 1 | 2;
  /** The window of cached pages, a power of two, that a read fault of a file maps. */
  faultAroundPages(tunables: Tunables): number;
  /** Flags that an entry for the zero page has beside its rights. */
  readonly zeroPageFlags: number;
  /** PG_* bits of a new anonymous page, beside those that say that it is one. */
  readonly newAnonymousFlags: number;
  /** An area needs one of these VM_* bits to be read. */
  readonly readRights: number;
  /** Whether the one who maps this anonymous page is the only one who ever will without a fork. */
  isOwn(frames: Frames, frame: Pfn): boolean;
  /** Whether the one who writes to this anonymous page, mapped read-only, may keep it. */
  mayReuse(frames: Frames, frame: Pfn): boolean;
  /** Whether entries of a shared writable area stay read-only until written, so that the file learns of it. */
  noticesWrites(vma: Vma): boolean;
  /** Whether mprotect may make this entry of a writable area writable at once. */
  mayMakeWritable(frames: Frames, vma: Vma, frame: Pfn, flags: number): boolean;
  /** Whether fork copies the area's entries, rather than leave them to faults. */
  copiesOnFork(vma: Vma): boolean;
  /** How mlock and MAP_POPULATE touch the area's pages. */
  populateIntent(vma: Vma): Intent;
  /** Whether populating for reading leaves untouched anonymous pages alone. */
  readonly sparesZeroPages: boolean;
  /** Whether mremap moves whole tables where both ends are aligned, or each entry alone. */
  readonly moves: "tables" | "entries";
  readonly freeTables: TableFreeing;
}

/**
 * @models linux-6.1 mm/memory.c do_wp_page, vma_needs_copy, do_fault_around; mm/mprotect.c can_change_pte_writable
 * @models linux-6.1 mm/mmap.c vma_wants_writenotify
 */
const linux61: PagePolicy = {
  firstTables: 2,
  faultAroundPages: (tunables) => tunables.faultAroundBytes / PAGE_SIZE,
  zeroPageFlags: PTE_SOFT1, // pte_special: no struct page is counted for it
  newAnonymousFlags: PG_EXCLUSIVE,
  readRights: VM_ACCESS,
  isOwn: (frames, frame) => frames.has(frame, PG_EXCLUSIVE),
  mayReuse: (frames, frame) => frames.has(frame, PG_EXCLUSIVE) || frames.refs.read(frame) === 1,
  noticesWrites: (vma) => isSharedWritable(vma) && vma.file?.kind === "regular",
  mayMakeWritable(frames, vma, frame, flags) {
    if ((flags & PTE_PROT_NONE) !== 0 || (flags & PTE_DIRTY) === 0) return false;
    return (vma.flags & VM_SHARED) !== 0 || frames.has(frame, PG_ANON | PG_EXCLUSIVE);
  },
  copiesOnFork: (vma) => vma.anonVma !== null || (vma.flags & VM_PFNMAP) !== 0,
  populateIntent: (vma) => ((vma.flags & (VM_WRITE | VM_SHARED)) === VM_WRITE ? "write" : "read"),
  sparesZeroPages: false,
  moves: "tables",
  freeTables: freeTablesPerArea,
};

/**
 * @models linux-2.6.11 mm/memory.c do_wp_page, copy_page_range, handle_mm_fault; mm/mremap.c move_one_page
 * @models linux-2.6.11 mm/mmap.c free_pgtables
 */
const linux2611: PagePolicy = {
  firstTables: 1,
  faultAroundPages: () => 1,
  zeroPageFlags: 0,
  newAnonymousFlags: 0,
  readRights: VM_READ | VM_EXEC,
  isOwn: (frames, frame) => frames.mapCount.read(frame) === 1,
  mayReuse: (frames, frame) => frames.mapCount.read(frame) === 1,
  noticesWrites: () => false,
  mayMakeWritable: () => false,
  copiesOnFork: () => true,
  populateIntent: (vma) => ((vma.flags & VM_WRITE) !== 0 ? "write" : "read"),
  sparesZeroPages: true,
  moves: "entries",
  freeTables: freePmdRanges,
};

const policies: Readonly<Record<string, PagePolicy>> = { "linux-2.6.11": linux2611, "linux-6.1": linux61 };

/** The policy of the kernel that runs. */
export function pagePolicy(kernel: Kernel): PagePolicy {
  return policies[kernel.personality.name] ?? bug(`no page policy for ${kernel.personality.name}`);
}

const isSharedWritable = (vma: Vma): boolean => (vma.flags & (VM_WRITE | VM_SHARED)) === (VM_WRITE | VM_SHARED);
