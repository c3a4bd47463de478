/**
 * What random programs are about that use memory in pieces of huge pages, on machines with room for some: large ranges
 * that are filled, and then unmapped, protected, moved, advised and forked in part.
 */
import { tight } from "./pressure-profiles.ts";
import type { Profile } from "./profiles.ts";

const DONTNEED = 4;
const FREE = 8;
const HUGEPAGE = 14;
const NOHUGEPAGE = 15;
const POPULATE_READ = 22;
const POPULATE_WRITE = 23;

export const hugeProfiles = {
  huge: {
    ...tight,
    about: "large private ranges of which parts are unmapped, protected, moved, advised and forked",
    weights: {
      ...tight.weights,
      fill: 8,
      scan: 5,
      w: 24,
      r: 14,
      munmap: 6,
      mprotect: 7,
      mremap: 6,
      madvise: 20,
      fork: 5,
    },
    anonymous: 0.9,
    shared: 0.1,
    advice: [
      HUGEPAGE,
      HUGEPAGE,
      HUGEPAGE,
      NOHUGEPAGE,
      DONTNEED,
      DONTNEED,
      FREE,
      POPULATE_READ,
      POPULATE_WRITE,
      20,
      21,
      1,
    ],
    familiar: 0.85,
    large: 0.75,
    onDisk: 0,
    hoards: 1,
  },
} as const satisfies Record<string, Profile>;

export type HugeProfileName = keyof typeof hugeProfiles;
