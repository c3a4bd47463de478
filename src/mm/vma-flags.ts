/**
 * VM_* bits: from the arguments of mmap and mprotect, and as /proc/PID/smaps spells them.
 *
 * @models linux-6.1 include/linux/mman.h calc_vm_prot_bits, calc_vm_flag_bits; fs/proc/task_mmu.c show_smap_vma_flags
 */
import {
  VM_ACCOUNT,
  VM_DONTCOPY,
  VM_DONTDUMP,
  VM_DONTEXPAND,
  VM_DROPPABLE,
  VM_EXEC,
  VM_GROWSDOWN,
  VM_HUGEPAGE,
  VM_HUGETLB,
  VM_IO,
  VM_LOCKED,
  VM_LOCKONFAULT,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_MERGEABLE,
  VM_MIXEDMAP,
  VM_NOHUGEPAGE,
  VM_NORESERVE,
  VM_PFNMAP,
  VM_RAND_READ,
  VM_READ,
  VM_SEQ_READ,
  VM_SHARED,
  VM_SYNC,
  VM_WIPEONFORK,
  VM_WRITE,
} from "./vma.ts";

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;
/** Means nothing here; Linux has it for atomic operations of other machines. */
export const PROT_SEM = 8;
export const PROT_GROWSDOWN = 0x100_0000;
export const PROT_GROWSUP = 0x200_0000;

export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;
export const MAP_SHARED_VALIDATE = 3;
export const MAP_DROPPABLE = 8;
export const MAP_TYPE = 0xf;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_32BIT = 0x40;
export const MAP_GROWSDOWN = 0x100;
export const MAP_DENYWRITE = 0x800;
export const MAP_EXECUTABLE = 0x1000;
export const MAP_LOCKED = 0x2000;
export const MAP_NORESERVE = 0x4000;
export const MAP_POPULATE = 0x8000;
export const MAP_NONBLOCK = 0x1_0000;
export const MAP_STACK = 0x2_0000;
export const MAP_SYNC = 0x8_0000;
export const MAP_HUGETLB = 0x4_0000;
export const MAP_FIXED_NOREPLACE = 0x10_0000;
export const MAP_HUGE_SHIFT = 26;
export const MAP_HUGE_MASK = 0x3f;

/** The rights that `prot` asks for. PROT_READ, WRITE and EXEC are VM_READ, WRITE and EXEC. */
export const vmFlagsOfProt = (prot: number): number => prot & (VM_READ | VM_WRITE | VM_EXEC);

/** MAP_GROWSDOWN and MAP_LOCKED as VM_GROWSDOWN and VM_LOCKED, which have the same values, in every kernel. */
export const vmFlagsOfMap = (flags: number): number => flags & (VM_GROWSDOWN | VM_LOCKED);

/** In the order of their bits. */
const letters: readonly (readonly [bit: number, letters: string])[] = [
  [VM_READ, "rd"],
  [VM_WRITE, "wr"],
  [VM_EXEC, "ex"],
  [VM_SHARED, "sh"],
  [VM_MAYREAD, "mr"],
  [VM_MAYWRITE, "mw"],
  [VM_MAYEXEC, "me"],
  [VM_MAYSHARE, "ms"],
  [VM_GROWSDOWN, "gd"],
  [VM_PFNMAP, "pf"],
  [VM_LOCKED, "lo"],
  [VM_IO, "io"],
  [VM_SEQ_READ, "sr"],
  [VM_RAND_READ, "rr"],
  [VM_DONTCOPY, "dc"],
  [VM_DONTEXPAND, "de"],
  [VM_LOCKONFAULT, "lf"],
  [VM_ACCOUNT, "ac"],
  [VM_NORESERVE, "nr"],
  [VM_HUGETLB, "ht"],
  [VM_SYNC, "sf"],
  [VM_WIPEONFORK, "wf"],
  [VM_DONTDUMP, "dd"],
  [VM_MIXEDMAP, "mm"],
  [VM_HUGEPAGE, "hg"],
  [VM_NOHUGEPAGE, "nh"],
  [VM_MERGEABLE, "mg"],
  [VM_DROPPABLE, "dp"],
];

/** The VmFlags line of smaps: two letters a flag, "rd wr mr mw me ac". */
export const smapsFlags = (flags: number): string =>
  letters
    .filter(([bit]) => (flags & bit) !== 0)
    .map(([, name]) => name)
    .join(" ");

/** The rights as /proc/PID/maps shows them: "rw-p". */
export const permissions = (flags: number): string =>
  ((flags & VM_READ) !== 0 ? "r" : "-") +
  ((flags & VM_WRITE) !== 0 ? "w" : "-") +
  ((flags & VM_EXEC) !== 0 ? "x" : "-") +
  ((flags & VM_MAYSHARE) !== 0 ? "s" : "p");
