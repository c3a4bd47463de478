/**
 * What random programs are about that map memory without struct pages: files that are executed in place, private and shared,
 * written, forked, moved and unmapped. Only the model runs them. Nothing is populated or locked, since how much of a
 * private mapping is copied before it is written is the design's own business.
 */
import { base, type Profile } from "./profiles.ts";

const DONTNEED = 4;
const MADV_REMOVE = 9;
const MADV_COLD = 20;
const MADV_PAGEOUT = 21;
const MAP_NORESERVE = 0x4000;
const MAP_FIXED_NOREPLACE = 0x10_0000;

export const segmentProfiles = {
  xip: {
    ...base,
    about: "files executed in place, on memory without struct pages",
    weights: {
      mmap: 22,
      w: 24,
      r: 14,
      x: 2,
      mprotect: 9,
      munmap: 5,
      mremap: 16,
      madvise: 6,
      fork: 5,
      exit: 2,
      fwrite: 4,
      fread: 2,
      mincore: 2,
      msync: 1,
      rfp: 1,
      ftrunc: 0.5,
      falloc: 0.5,
      stat: 1,
    },
    anonymous: 0.15,
    shared: 0.3,
    onSegment: 0.8,
    extraFlags: { chance: 0.1, flags: [MAP_NORESERVE, MAP_FIXED_NOREPLACE] },
    advice: [DONTNEED, DONTNEED, DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_REMOVE, 0, 1, 2, 3, 10, 11],
    familiar: 0.85,
  },
  "xip-pressure": {
    ...base,
    about: "the same where memory is short: copies go to swap and come back, and what they were made of never leaves",
    weights: {
      mmap: 16,
      fill: 20,
      scan: 9,
      w: 8,
      r: 6,
      mprotect: 5,
      munmap: 3,
      mremap: 5,
      madvise: 5,
      fork: 5,
      exit: 2,
      fwrite: 2,
      fread: 2,
      mincore: 0.5,
    },
    anonymous: 0.4,
    shared: 0.3,
    onSegment: 0.9,
    mostPages: 96,
    mostFilePages: 96,
    hoards: 3,
    extraFlags: { chance: 0.1, flags: [MAP_NORESERVE] },
    advice: [DONTNEED, DONTNEED, MADV_COLD, MADV_PAGEOUT, MADV_PAGEOUT],
    familiar: 0.85,
  },
} as const satisfies Record<string, Profile>;

export type SegmentProfileName = keyof typeof segmentProfiles;
