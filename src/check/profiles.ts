/**
 * What random programs are about: how often each operation comes, and what mappings, advice and places look like. A
 * profile is data; the generator is one.
 */
import type { OperationName } from "./program.ts";

export interface Profile {
  readonly about: string;
  /** How often each operation comes, in parts of their sum. */
  readonly weights: Partial<Record<OperationName, number>>;
  /** The share of mappings that map no file. */
  readonly anonymous: number;
  /** The share of mappings that are shared. */
  readonly shared: number;
  /** How often a mapping has one more flag, and which. */
  readonly extraFlags: { readonly chance: number; readonly flags: readonly number[] };
  /** What madvise is asked for; more often what stands here more often. */
  readonly advice: readonly number[];
  /** The share of ranges and places that lie where something was mapped, or beside it. */
  readonly familiar: number;
  /** The share of new ranges that start and end at large pages. */
  readonly large: number;
  /** The most pages of a new range, where that is not a dozen. */
  readonly mostPages?: number;
  /** The share of files that are on a disk; the model alone has such. */
  readonly onDisk?: number;
  /** The share of files that are frames of a segment, executed in place; the model alone has such. */
  readonly onSegment?: number;
  /** The most pages of a file, where files are not as small as those that were recorded first. */
  readonly mostFilePages?: number;
  /** Mappings that a program makes and fills before anything else; it ends with a look at what it has mapped. */
  readonly hoards?: number;
}

/** The flags of mmap that profiles add. */
export const MAP_FIXED_NOREPLACE = 0x10_0000;
const MAP_GROWSDOWN = 0x100;
const MAP_LOCKED = 0x2000;
const MAP_NORESERVE = 0x4000;
const MAP_POPULATE = 0x8000;
const MAP_STACK = 0x2_0000;
const MAP_HUGETLB = 0x4_0000;

const DONTNEED = 4;
const FREE = 8;
const REMOVE = 9;
const POPULATE_READ = 22;
const POPULATE_WRITE = 23;
const DONTNEED_LOCKED = 24;
const UNKNOWN_ADVICE = 99;
/** Advice that changes nothing but an area's flags: RANDOM, SEQUENTIAL, DONTFORK, DOFORK, DONTDUMP, DODUMP and so on. */
const FLAG_ADVICE = [0, 1, 2, 10, 11, 16, 17, 18, 19];
const DONTFORK = 10;
const DOFORK = 11;
const COLD = 20;
const PAGEOUT = 21;
const WILLNEED = 3;

export const base: Profile = {
  about: "every call, in about the proportions of the programs that were recorded first",
  weights: {
    mmap: 22,
    w: 18,
    r: 13,
    mprotect: 7,
    munmap: 6,
    mremap: 6,
    madvise: 4,
    mincore: 2,
    fork: 3,
    exit: 1,
    fwrite: 3,
    fread: 2,
    brk: 2,
    mlock: 2,
    mlock2: 1,
    munlock: 1,
    mlockall: 0.4,
    munlockall: 0.2,
    rfp: 2,
    ftrunc: 2,
    falloc: 1,
    msync: 1,
    x: 2,
    stat: 1,
  },
  anonymous: 0.6,
  shared: 1 / 3,
  extraFlags: {
    chance: 0.25,
    flags: [MAP_GROWSDOWN, MAP_LOCKED, MAP_NORESERVE, MAP_POPULATE, MAP_STACK, MAP_FIXED_NOREPLACE],
  },
  advice: [
    ...FLAG_ADVICE,
    WILLNEED,
    COLD,
    PAGEOUT,
    DONTNEED,
    DONTNEED,
    DONTNEED,
    FREE,
    FREE,
    REMOVE,
    POPULATE_READ,
    POPULATE_WRITE,
  ].concat([DONTNEED, POPULATE_WRITE, UNKNOWN_ADVICE]),
  familiar: 0.7,
  large: 0,
};

export const profiles = {
  base,
  nonlinear: {
    ...base,
    about: "pages of shared files put where remap_file_pages wants them",
    weights: { ...base.weights, rfp: 18, mmap: 18, ftrunc: 3, fork: 2 },
    anonymous: 0.15,
    shared: 0.8,
    familiar: 0.7,
  },
  locking: {
    ...base,
    about: "locked ranges and what passes over them",
    weights: { ...base.weights, mlock: 9, mlock2: 7, munlock: 6, mlockall: 2, munlockall: 1, madvise: 6 },
    extraFlags: { chance: 0.4, flags: [MAP_LOCKED, MAP_LOCKED, MAP_POPULATE, MAP_GROWSDOWN] },
    advice: [...base.advice, DONTNEED_LOCKED, DONTNEED_LOCKED, DONTNEED_LOCKED],
    familiar: 0.8,
  },
  sharing: {
    ...base,
    about: "processes that share pages: forks, copies on write, shared memory",
    weights: { ...base.weights, fork: 9, exit: 3, w: 26, r: 16, mremap: 8, madvise: 7, rfp: 0 },
    advice: [...base.advice, 10, 10, 18, 18, FREE, DONTNEED],
    familiar: 0.8,
  },
  truncate: {
    ...base,
    about: "files that grow, shrink and get holes while they are mapped",
    weights: { ...base.weights, ftrunc: 10, falloc: 6, fwrite: 8, fread: 5, msync: 4, fadv: 2, fsync: 1, madvise: 6 },
    anonymous: 0.1,
    shared: 0.5,
    advice: [...base.advice, REMOVE, REMOVE, REMOVE],
    familiar: 0.8,
  },
  segments: {
    ...base,
    about: "System V shared memory among other mappings, whole, in pieces, and after a fork",
    // An attached segment that mremap has made larger is detached area by area: where areas end the model does not know.
    weights: { ...base.weights, shmget: 5, shmat: 14, shmdt: 7, shmrm: 2, fork: 4, mremap: 0, rfp: 0, madvise: 5 },
    familiar: 0.8,
  },
  hugetlb: {
    ...base,
    about: "mappings that ask for huge pages of a machine that has none",
    weights: { mmap: 30, w: 8, r: 8, munmap: 6, mprotect: 4, mremap: 4, madvise: 3, fork: 1, mincore: 1, stat: 1 },
    extraFlags: { chance: 0.6, flags: [MAP_HUGETLB, MAP_HUGETLB, MAP_HUGETLB | MAP_POPULATE] },
    large: 0.3,
  },
  "huge-pool": {
    ...base,
    about: "mappings of huge pages, some of which the machine has: promises, private copies, shortages",
    weights: {
      mmap: 20,
      w: 24,
      r: 14,
      munmap: 6,
      mprotect: 5,
      madvise: 6,
      fork: 5,
      exit: 2,
      mlock: 1,
      mlockall: 0.3,
      munlock: 0.5,
      mincore: 1,
      fwrite: 1,
      stat: 1,
    },
    anonymous: 0.95,
    extraFlags: {
      chance: 0.75,
      flags: [MAP_HUGETLB, MAP_HUGETLB, MAP_HUGETLB | MAP_NORESERVE, MAP_HUGETLB | MAP_POPULATE],
    },
    // What else makes areas of parts of others the model does not know.
    advice: [WILLNEED, DONTNEED, DONTNEED, DONTNEED, FREE, REMOVE, REMOVE, DONTFORK, DOFORK].concat([
      POPULATE_READ,
      POPULATE_WRITE,
      DONTNEED_LOCKED,
      COLD,
    ]),
    familiar: 0.75,
    large: 0.9,
  },
} as const satisfies Record<string, Profile>;

export type ProfileName = keyof typeof profiles;

export const profileNames = Object.keys(profiles) as ProfileName[];
