/**
 * The memory system calls as traces hold them: one name and one order of arguments for every spelling that a kernel or
 * a tool has, and the names of the flags that text formats use.
 */

/** What a trace records of system calls, by the name it has there: its arguments. */
export const memoryCalls = {
  mmap: ["address", "length", "protection", "flags", "descriptor", "offset"],
  munmap: ["address", "length"],
  mprotect: ["address", "length", "protection"],
  mremap: ["address", "oldLength", "newLength", "flags", "newAddress"],
  brk: ["address"],
  madvise: ["address", "length", "advice"],
  mlock: ["address", "length"],
  mlock2: ["address", "length", "flags"],
  munlock: ["address", "length"],
  mlockall: ["flags"],
  munlockall: [],
  msync: ["address", "length", "flags"],
  mincore: ["address", "length", "vector"],
  remap_file_pages: ["address", "length", "protection", "index", "flags"],
  shmat: ["id", "address", "flags"],
  shmdt: ["address"],
} as const satisfies Record<string, readonly string[]>;
export type MemoryCall = keyof typeof memoryCalls;

const spellings: ReadonlyMap<string, MemoryCall> = new Map([
  ...Object.keys(memoryCalls).map((name): [string, MemoryCall] => [name, name as MemoryCall]),
  ["mmap2", "mmap"],
  ["mmap_pgoff", "mmap"],
  ["old_mmap", "mmap"],
  ["pkey_mprotect", "mprotect"],
]);

/** The name in a trace of a call that a tool spells `name` ("sys_mmap2"); undefined if traces do not hold it. */
export const memoryCallNamed = (name: string): MemoryCall | undefined =>
  spellings.get(name.replace(/^(sys_|old_)/, ""));

/** What mmap2 counts its offset in. */
const MMAP2_UNIT = 4096;
const WORD_32 = 2 ** 32;
const ALL_ONES_32 = WORD_32 - 1;

/** The arguments as a trace has them: an offset in bytes, descriptors signed, no more than the call takes. */
export function traceArguments(spelling: string, call: MemoryCall, args: readonly number[]): number[] {
  const taken = args.slice(0, memoryCalls[call].length).map(signed);
  if (call === "mmap") {
    if (taken[4] === ALL_ONES_32) taken[4] = -1;
    if (/mmap2|pgoff/.test(spelling)) taken[5] *= MMAP2_UNIT;
  }
  return taken;
}

/** A 64-bit word as C's long. */
export const signed = (word: number): number => (word >= 2 ** 63 ? word - 2 ** 64 : word);

export const PROT_READ = 1;
export const PROT_WRITE = 2;
export const PROT_EXEC = 4;
export const MAP_SHARED = 1;
export const MAP_PRIVATE = 2;
export const MAP_FIXED = 0x10;
export const MAP_ANONYMOUS = 0x20;
export const MAP_GROWSDOWN = 0x100;
export const MAP_FIXED_NOREPLACE = 0x10_0000;
export const MREMAP_MAYMOVE = 1;
export const MREMAP_FIXED = 2;
export const MREMAP_DONTUNMAP = 4;
export const CLONE_VM = 0x100;
export const CLONE_VFORK = 0x4000;
export const CLONE_THREAD = 0x1_0000;

/** Linux's flags by name (include/uapi/asm-generic/mman*.h), as strace prints them. */
export const flagValues: ReadonlyMap<string, number> = new Map(
  Object.entries({
    NULL: 0,
    PROT_NONE: 0,
    PROT_READ,
    PROT_WRITE,
    PROT_EXEC,
    PROT_SEM: 8,
    PROT_GROWSDOWN: 0x100_0000,
    PROT_GROWSUP: 0x200_0000,
    MAP_FILE: 0,
    MAP_SHARED,
    MAP_PRIVATE,
    MAP_SHARED_VALIDATE: 3,
    MAP_FIXED,
    MAP_ANONYMOUS,
    MAP_32BIT: 0x40,
    MAP_GROWSDOWN,
    MAP_DENYWRITE: 0x800,
    MAP_EXECUTABLE: 0x1000,
    MAP_LOCKED: 0x2000,
    MAP_NORESERVE: 0x4000,
    MAP_POPULATE: 0x8000,
    MAP_NONBLOCK: 0x1_0000,
    MAP_STACK: 0x2_0000,
    MAP_HUGETLB: 0x4_0000,
    MAP_SYNC: 0x8_0000,
    MAP_FIXED_NOREPLACE,
    MAP_UNINITIALIZED: 0x400_0000,
    MREMAP_MAYMOVE,
    MREMAP_FIXED,
    MREMAP_DONTUNMAP,
    MADV_NORMAL: 0,
    MADV_RANDOM: 1,
    MADV_SEQUENTIAL: 2,
    MADV_WILLNEED: 3,
    MADV_DONTNEED: 4,
    MADV_FREE: 8,
    MADV_REMOVE: 9,
    MADV_DONTFORK: 10,
    MADV_DOFORK: 11,
    MADV_MERGEABLE: 12,
    MADV_UNMERGEABLE: 13,
    MADV_HUGEPAGE: 14,
    MADV_NOHUGEPAGE: 15,
    MADV_DONTDUMP: 16,
    MADV_DODUMP: 17,
    MADV_WIPEONFORK: 18,
    MADV_KEEPONFORK: 19,
    MADV_COLD: 20,
    MADV_PAGEOUT: 21,
    MADV_POPULATE_READ: 22,
    MADV_POPULATE_WRITE: 23,
    MADV_DONTNEED_LOCKED: 24,
    MADV_COLLAPSE: 25,
    MADV_HWPOISON: 100,
    MADV_SOFT_OFFLINE: 101,
    MCL_CURRENT: 1,
    MCL_FUTURE: 2,
    MCL_ONFAULT: 4,
    MLOCK_ONFAULT: 1,
    MS_ASYNC: 1,
    MS_INVALIDATE: 2,
    MS_SYNC: 4,
    SHM_RDONLY: 0o10000,
    SHM_RND: 0o20000,
    SHM_REMAP: 0o40000,
    SHM_EXEC: 0o100000,
  }),
);
