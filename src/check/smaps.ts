/**
 * What /proc/PID/smaps, pagemap and status say of an address space, computed from the page tables' bits, the
 * frames' state and the counts that the kernel keeps.
 *
 * @models linux-6.1 fs/proc/task_mmu.c smaps_account, show_map_vma, show_smap_vma_flags
 */
import type { Pfn, Vpn } from "../base/units.ts";
import { PTE_DIRTY, PTE_SWAP } from "../hw/pte.ts";
import type { AddressSpace } from "../mm/address-space.ts";
import { PG_ANON, PG_DIRTY } from "../mm/frames.ts";
import type { Kernel } from "../mm/kernel.ts";
import type { Vma } from "../mm/vma.ts";
import * as vm from "../mm/vma.ts";
import { smapsFlags } from "../mm/vma-flags.ts";
import { hasNoStructPage, holdsFrame, walkTables } from "./page-walk.ts";

/** Each in KiB, as smaps prints them. */
export interface Smaps {
  rss: number;
  pss: number;
  sharedClean: number;
  sharedDirty: number;
  privateClean: number;
  privateDirty: number;
  anonymous: number;
  swap: number;
  locked: number;
  /** Of anonymous memory: what transparent huge pages map by large entries. */
  anonHugePages: number;
  /** Of huge pages, which are in none of the above. */
  sharedHugetlb: number;
  privateHugetlb: number;
}

const KIB_PER_PAGE = 4;
/** A page's proportional share is kept in 2^-12 bytes. */
const SHARE_OF_PAGE = 4096 * 4096;
const SHARES_PER_KIB = 1024 * 4096;

/** The counts of one area. */
export function smapsOf(kernel: Kernel, mm: AddressSpace, vma: Vma): Smaps {
  const counts: Smaps = {
    rss: 0,
    pss: 0,
    sharedClean: 0,
    sharedDirty: 0,
    privateClean: 0,
    privateDirty: 0,
    anonymous: 0,
    swap: 0,
    locked: 0,
    anonHugePages: 0,
    sharedHugetlb: 0,
    privateHugetlb: 0,
  };
  const { entries, frames } = kernel;
  let share = 0;
  walkTables(kernel, mm.root, vma.start, vma.end, {
    leaf: (_page, table, index, level) => {
      const flags = entries.flags(table, index);
      if ((vma.flags & vm.VM_BIG) !== 0) {
        const isShared = frames.mapCount.read(entries.frame(table, index)) >= 2;
        counts[isShared ? "sharedHugetlb" : "privateHugetlb"] += kernel.format.entrySpan(level) * KIB_PER_PAGE;
        return;
      }
      if ((flags & PTE_SWAP) !== 0) counts.swap += KIB_PER_PAGE;
      if (!holdsFrame(flags)) return;
      const first = entries.frame(table, index);
      if (hasNoStructPage(kernel, first) || first === kernel.zeroFrame || first === kernel.transparent.pages.zeroHead)
        return;
      const pages = kernel.format.entrySpan(level);
      if (level > 1) counts.anonHugePages += pages * KIB_PER_PAGE;
      for (let frame = first; frame < first + pages; frame++) countFrame(frame, flags);
    },
  });

  function countFrame(part: Pfn, flags: number): void {
    const frame = frames.head(part);
    const state = frames.flags.read(frame);
    const maps = Math.max(1, Math.round(mappersOf(kernel, frame) / frames.softFrames));
    const dirty = (flags & PTE_DIRTY) !== 0 || (state & PG_DIRTY) !== 0;
    counts.rss += KIB_PER_PAGE;
    if ((state & PG_ANON) !== 0) counts.anonymous += KIB_PER_PAGE;
    if (maps >= 2) counts[dirty ? "sharedDirty" : "sharedClean"] += KIB_PER_PAGE;
    else counts[dirty ? "privateDirty" : "privateClean"] += KIB_PER_PAGE;
    share += Math.floor(SHARE_OF_PAGE / maps);
  }
  counts.swap += swappedOfFile(vma) * KIB_PER_PAGE;
  counts.pss = Math.floor(share / SHARES_PER_KIB);
  if ((vma.flags & vm.VM_LOCKED) !== 0) counts.locked = counts.pss;
  return counts;
}

/** How often a page is mapped, counted where programs see it: an entry of a table that several places have counts in each. */
export function mappersOf({ frames, entries, tables, reverseMap }: Kernel, frame: Pfn): number {
  if (!tables.shared.exist) return frames.mapCount.read(frame);
  let mappers = 0;
  reverseMap.forEach(frame, (slot) => {
    mappers += tables.shared.find(entries.tableOf(slot))?.places ?? 1;
    return true;
  });
  return mappers;
}

/**
 * Pages of shared memory that are in swap, where the area shows the file's own pages.
 *
 * @models linux-6.1 fs/proc/task_mmu.c smap_gather_stats; mm/shmem.c shmem_swap_usage
 */
function swappedOfFile({ file, flags, fileIndex, pages }: Vma): number {
  const isPrivate = (flags & (vm.VM_SHARED | vm.VM_WRITE)) === vm.VM_WRITE;
  return file === null || isPrivate ? 0 : file.swapped.within(fileIndex, fileIndex + pages).length;
}

/** Letters of the bits above VM_SOFTDIRTY. */
const AFTER_SOFT_DIRTY = new Set(["mm", "hg", "nh", "mg", "dp"]);

/** The VmFlags line. `sd` (soft-dirty) is on every area that nobody cleared it from, and nobody does. */
export function vmFlags(kernel: Kernel, vma: Vma): string {
  const letters = smapsFlags(vma.flags).split(" ");
  const lock = letters.indexOf("lf");
  if (lock >= 0) letters[lock] = kernel.personality.lockOnFaultLetters;
  const after = letters.findIndex((word) => AFTER_SOFT_DIRTY.has(word));
  return letters.toSpliced(after < 0 ? letters.length : after, 0, "sd").join(" ");
}

/** `rw-p`. */
export function permissions(vma: Vma): string {
  const { flags } = vma;
  return (
    ((flags & vm.VM_READ) !== 0 ? "r" : "-") +
    ((flags & vm.VM_WRITE) !== 0 ? "w" : "-") +
    ((flags & vm.VM_EXEC) !== 0 ? "x" : "-") +
    ((flags & vm.VM_MAYSHARE) !== 0 ? "s" : "p")
  );
}

/** HugetlbPages of /proc/PID/status: what areas of huge pages map, in KiB. */
export function hugetlbKib(kernel: Kernel, mm: AddressSpace): number {
  let kib = 0;
  for (const vma of mm.vmas) {
    if ((vma.flags & vm.VM_HUGETLB) === 0) continue;
    const { sharedHugetlb, privateHugetlb } = smapsOf(kernel, mm, vma);
    kib += sharedHugetlb + privateHugetlb;
  }
  return kib;
}

/** VmPTE: every table of the address space but the top one, which Linux does not count, in KiB. */
export const pageTableKib = ({ format }: Kernel, { tablesByLevel }: AddressSpace): number =>
  tablesByLevel.slice(1, format.levels).reduce((sum, tables) => sum + tables, 0) * KIB_PER_PAGE;

/** One page as pagemap shows it: a frame, whether this is its only mapping, or undefined where nothing is. */
export function pagemapAt(kernel: Kernel, mm: AddressSpace, first: Vpn, pages: number): Int32Array {
  const frames = new Int32Array(pages).fill(NOT_PRESENT);
  walkTables(kernel, mm.root, first, first + pages, {
    leaf: (page, table, index, level) => {
      if (!holdsFrame(kernel.entries.flags(table, index))) return;
      const frame = kernel.entries.frame(table, index);
      const end = Math.min(page + kernel.format.entrySpan(level), first + pages);
      for (let at = Math.max(page, first); at < end; at++) frames[at - first] = frame + (at - page);
    },
  });
  return frames;
}

export const NOT_PRESENT = -1;
