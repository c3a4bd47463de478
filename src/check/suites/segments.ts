/** System V shared memory: what each call refuses, where segments go, and what becomes of the pieces of one. */

const IPC_CREAT = 0o1000;
const IPC_EXCL = 0o2000;
const SHM_HUGETLB = 0o4000;
const SHM_NORESERVE = 0o10000;
const SHM_RDONLY = 0o10000;
const SHM_RND = 0o20000;
const SHM_REMAP = 0o40000;
const SHM_EXEC = 0o100000;
const MAKE = IPC_CREAT | 0o600;

/** By name: operations of process 0, but where another one stands before its words. */
const programs: Readonly<Record<string, string>> = {
  get: `
    shmget 0 0 0 ${MAKE}
    shmget 0 5 0x1000 0
    shmget 0 5 0x1801 ${MAKE}
    shmget 1 5 0x1801 0
    shmget 1 5 0x1802 0
    shmget 1 5 0 0
    shmget 1 5 0x1000 ${IPC_CREAT}
    shmget 1 5 0x1000 ${IPC_CREAT | IPC_EXCL}
    shmget 1 5 0x1000 ${IPC_EXCL}
    shmget 2 0 0x1000 0
    shmget 2 0 0x1000 ${IPC_EXCL}
    shmget 3 6 -1 ${MAKE}
    shmget 3 6 0x7fffffffffffffff ${MAKE}
    shmget 3 6 0x1000000000 ${MAKE | SHM_NORESERVE}
    shmat 0 1000 0
    shmat 1 4000 0
    w 1010 7
    r 4010
    r 5010
    r 6010`,
  address: `
    shmget 0 0 0x3000 ${MAKE}
    shmat 3 1000 0
    shmat 0 1800 0
    shmat 0 1800 ${SHM_RND}
    shmat 0 2000 0
    shmat 0 3000 ${SHM_RND}
    shmat 0 2800 ${SHM_RND | SHM_REMAP}
    shmat 0 - ${SHM_REMAP}
    shmat 0 @800 ${SHM_RND | SHM_REMAP}
    shmat 0 @800 0
    shmat 0 @7ffffffff000 0
    shmat 0 @7ffffffff000 ${SHM_REMAP}
    shmat 0 @fffffffffffff000 0
    shmat 0 - 0
    shmat 0 - ${SHM_RDONLY}
    shmat 0 9000 ${SHM_REMAP | SHM_RDONLY | SHM_EXEC}
    shmat 0 a000 ${SHM_REMAP | SHM_EXEC}
    w 9010 1
    x a800
    shmdt 9800
    shmdt 8000
    shmdt @0`,
  rights: `
    shmget 0 0 0x2000 ${MAKE}
    shmat 0 1000 ${SHM_RDONLY}
    mprotect 1000 0x1000 3
    mprotect 1000 0x1000 5
    shmat 0 4000 0
    w 4010 9
    r 1010
    w 1010 9
    mlock 4000 0x2000
    msync 4000 0x2000 4
    mincore 4000 0x2000
    madvise 4000 0x2000 4
    r 4010
    madvise 4000 0x2000 9
    r 4010
    madvise 1000 0x1000 9
    madvise 4000 0x2000 3`,
  pieces: `
    shmget 0 0 0x6000 ${MAKE}
    shmat 0 1000 0
    mprotect 2000 0x1000 1
    mprotect 2000 0x1000 3
    mprotect 1000 0x1000 1
    mprotect 4000 0x2000 1
    mprotect 4000 0x1000 3
    munmap 3000 0x1000
    shmat 0 8000 0
    mprotect 8000 0x6000 1
    mprotect 9000 0x1000 3
    madvise a000 0x2000 1
    madvise b000 0x1000 0
    shmdt 1000
    shmdt 1000
    shmat 0 1000 0
    munmap 1000 0x1000
    shmdt 2000
    shmdt 1000`,
  moves: `
    shmget 0 0 0x4000 ${MAKE}
    shmat 0 1000 0
    w 1010 3
    w 4010 4
    mremap 1000 0x4000 0x6000 0
    w 6010 5
    mremap 1000 0x6000 0x2000 0
    mremap 1000 0x2000 0x4000 3 10000
    r 10010
    r 13010
    mremap 10000 0 0x4000 1
    shmdt 1000
    shmdt 10000
    shmat 0 20000 0
    mremap 21000 0x1000 0x1000 3 30000
    shmdt 20000
    shmdt 2f000`,
  removal: `
    shmget 0 7 0x2000 ${MAKE}
    shmget 1 7 0x2000 0
    shmat 0 1000 0
    w 1010 5
    fork 1
    shmrm 0
    shmget 2 7 0x2000 0
    shmget 2 7 0x1000 ${MAKE}
    shmat 1 4000 0
    r 4010
    1 shmat 0 8000 0
    1 r 8010
    shmrm 1
    shmdt 1000
    shmdt 4000
    1 w 8010 6
    1 shmdt 8000
    1 shmdt 1000
    shmat 0 1000 0
    1 shmat 1 1000 0
    shmrm 0
    shmat 2 1000 0
    r 1010
    shmrm 3`,
  inheritance: `
    shmget 0 0 0x3000 ${MAKE}
    shmat 0 1000 0
    shmat 0 5000 ${SHM_RDONLY}
    w 2010 1
    madvise 5000 0x1000 10
    fork 1
    1 r 2010
    1 w 1010 2
    r 1010
    1 r 5010
    1 r 6010
    1 shmdt 5000
    1 shmdt 1000
    r 2010
    1 exit
    shmrm 0
    r 2010`,
  locked: `
    shmget 0 0 0x3000 ${MAKE}
    mlockall 2
    shmat 0 1000 0
    munlockall
    shmat 0 8000 0
    rlimit 9 0x1000
    shmat 0 10000 0
    shmget 1 0 0x2000 ${MAKE}`,
  overlays: `
    mmap 1000 0x2000 3 0x32 -1 0
    mmap 5000 0x2000 3 0x31 -1 0
    w 1010 1
    shmget 0 0 0x3000 ${MAKE}
    shmat 0 - 0
    shmat 0 3000 0
    shmat 0 3000 ${SHM_REMAP}
    mmap 4000 0x1000 3 0x32 -1 0
    shmdt 3000
    r 4010
    rfp 3000 0x1000 2 0
    shmat 0 10000 0
    w 10010 6
    w 12010 8
    rfp 10000 0x1000 2 0
    r 10010
    shmdt 10000
    shmdt e000`,
};

/** What is refused where there are no huge pages. */
const huge = `
    shmget 0 0 0x200000 ${MAKE | SHM_HUGETLB}
    shmget 0 0 0x1000 ${MAKE | SHM_HUGETLB}
    shmget 0 0 0 ${MAKE | SHM_HUGETLB}
    shmget 0 0 0x200000 ${(MAKE | SHM_HUGETLB) + 21 * 2 ** 26}
    shmget 0 0 0x200000 ${(MAKE | SHM_HUGETLB) + 22 * 2 ** 26}
    shmget 1 0 0x200000 ${MAKE | SHM_HUGETLB | SHM_NORESERVE}
    shmat 1 200000 0
    shmat 1 201000 0
    shmat 1 - 0
    shmget 0 9 0x200000 ${SHM_HUGETLB}`;

export function segmentPrograms(): string[] {
  return Object.entries({ ...programs, huge }).map(([name, text]) => {
    const lines = text.trim().split("\n");
    const withProcess = lines.map((line) => (/^\d/.test(line.trim()) ? line.trim() : `0 ${line.trim()}`));
    return [`prog segments-${name}`, ...withProcess, "end"].join("\n");
  });
}
