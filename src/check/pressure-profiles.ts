/**
 * What random programs are about that run where memory is short: ranges of many pages, filled and looked at again after
 * others were, so that pages have left memory meanwhile. Only the model runs them: they fill and scan, their files may be
 * on a disk, and what a real kernel would do depends on everything else on the machine.
 */
import { base, type Profile } from "./profiles.ts";

const DONTNEED = 4;
const MADV_WILLNEED = 3;
const MADV_REMOVE = 9;
const MADV_COLD = 20;
const MADV_PAGEOUT = 21;
const MAP_LOCKED = 0x2000;
const MAP_POPULATE = 0x8000;
const MAP_NORESERVE = 0x4000;
const MAP_HUGETLB = 0x4_0000;

export const tight: Profile = {
  ...base,
  about: "more pages of every kind than there is memory for",
  weights: {
    mmap: 16,
    fill: 22,
    scan: 9,
    w: 8,
    r: 6,
    mprotect: 4,
    munmap: 3,
    mremap: 4,
    madvise: 5,
    fork: 4,
    exit: 2,
    fwrite: 2,
    fread: 3,
    ftrunc: 1,
    falloc: 1,
    msync: 1,
    fsync: 0.5,
    mlock: 0.7,
    munlock: 0.7,
    mincore: 0.5,
    brk: 1,
    x: 0.5,
    stat: 0.5,
  },
  anonymous: 0.65,
  extraFlags: { chance: 0.15, flags: [MAP_POPULATE, MAP_POPULATE, MAP_NORESERVE] },
  advice: [...base.advice, MADV_COLD, MADV_COLD, MADV_PAGEOUT, MADV_PAGEOUT, MADV_WILLNEED, DONTNEED],
  familiar: 0.85,
  mostPages: 120,
  mostFilePages: 96,
  onDisk: 0.5,
  hoards: 6,
};

export const pressureProfiles = {
  tight,
  "tight-files": {
    ...tight,
    about: "files, on disk and in memory, that do not fit, and are cut and punched while pages are on their way",
    weights: { ...tight.weights, ftrunc: 5, falloc: 4, fwrite: 7, fread: 6, msync: 3, fsync: 2, fadv: 2 },
    anonymous: 0.15,
    shared: 0.6,
    advice: [...tight.advice, MADV_REMOVE, MADV_REMOVE],
  },
  "tight-nonlinear": {
    ...tight,
    about: "pages of shared files in any order, which come back to their place after they had to go",
    weights: { ...tight.weights, rfp: 16, ftrunc: 4, falloc: 2, mmap: 12 },
    anonymous: 0.12,
    shared: 0.85,
  },
  "tight-locks": {
    ...tight,
    about: "locked ranges among others that have to go",
    // Not mlockall: it would lock the whole image of the program, which is as large as memory.
    weights: { ...tight.weights, mlock: 8, munlock: 7, mlock2: 3, munlockall: 1 },
    extraFlags: { chance: 0.25, flags: [MAP_LOCKED, MAP_POPULATE] },
    mostPages: 50,
  },
  "tight-forks": {
    ...tight,
    about: "pages that several processes share while they come and go",
    weights: { ...tight.weights, fork: 10, exit: 4, fill: 26, scan: 12, mremap: 7 },
    anonymous: 0.8,
    mostPages: 80,
  },
  "tight-huge": {
    ...tight,
    about: "huge pages, where the kernel keeps some, among others that have to go",
    extraFlags: {
      chance: 0.5,
      flags: [MAP_HUGETLB, MAP_HUGETLB, MAP_HUGETLB | MAP_POPULATE, MAP_HUGETLB | MAP_NORESERVE],
    },
    weights: { ...tight.weights, mmap: 24, fork: 6 },
    shared: 0.3,
    large: 0.6,
  },
} as const satisfies Record<string, Profile>;

export type PressureProfileName = keyof typeof pressureProfiles;

export const pressureProfileNames = Object.keys(pressureProfiles) as PressureProfileName[];
