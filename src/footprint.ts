/**
 * What a kernel takes for itself before the first program runs, and how large its objects are: data about builds of
 * kernels. The sizes of 6.1 were fitted to what real kernels (Debian's amd64, 686-pae and 686 builds) say at boot with
 * 512 MiB to 16 GiB, and with hundreds of processes; those of 2.6.11 are typical of kernels of that year, except struct
 * page and the vma, which are counted from the source.
 */
import type { Vaddr } from "./base/units.ts";
import type { PagingFormatName } from "./hw/paging-format.ts";
import type { StackShape } from "./mm/kernel-stacks.ts";
import type { PersonalityName } from "./mm/personality.ts";
import type { ObjectSizes } from "./mm/slab.ts";

const KIB = 2 ** 10;
const MIB = 2 ** 20;

/** What a kernel takes between the end of boot and the first program: MemTotal counts it, MemFree does not. */
export interface Startup {
  /** Kernel threads, each with its stack. */
  readonly threads: number;
  /** Slabs that memory pressure could shrink: names, inodes, and the like. */
  readonly reclaimableSlabBytes: number;
  readonly otherSlabBytes: number;
  /** Modules and the rest of vmalloc, per-CPU areas, frames on per-CPU free lists. */
  readonly otherBytes: number;
}

export interface Footprint {
  readonly pageStructBytes: number;
  /** Where the kernel is loaded, and what its text, data and bss take. */
  readonly imageAt: number;
  readonly imageBytes: number;
  /** What else boot takes for ever: per-CPU areas, direct-map tables, and so on. */
  readonly bootBytes: number;
  /** Whether the first MiB is left alone, or given to programs as far as it is memory. */
  readonly firstMiB: "reserved" | "used";
  /** swiotlb's buffers, on machines with memory above 4 GiB. */
  readonly bounceBytes: number;
  /** How much memory the kernel always has mapped with a 3:1 split; the rest of the fourth GiB is for its windows. */
  readonly lowmemBytes: number;
  /** Whether memory from 16 MiB to 4 GiB is a zone of its own. */
  readonly hasDma32: boolean;
  /** Where mem_map has sections: their size. */
  readonly sectionBytes: number;
  /** Where the kernel has the first frame mapped; null: as its split says. Signed, as are all addresses of 64 bits. */
  readonly directMap: Vaddr | null;
  /** Where it maps struct pages in a row, holes left out; null: its address space has no room for that. */
  readonly vmemmap: Vaddr | null;
  readonly wordBytes: 4 | 8;
  readonly slabs: "slab" | "slub";
  readonly stack: StackShape;
  readonly startup: Startup;
  readonly objects: ObjectSizes;
}

const objects32 = {
  vma: 76,
  mm: 640,
  anonVma: 56,
  anonVmaChain: 32,
  task: 3_264,
  process: { signal_cache: 704, sighand_cache: 1_344, files_cache: 384, fs_cache: 64, cred_jar: 128, other: 2_344 },
  treeNode: 304,
  bufferHead: 0,
} as const;

/** What has no vmemmap and is mapped as the split says. */
const narrowAddresses = { directMap: null, vmemmap: null } as const;

const linux61pae: Footprint = {
  ...narrowAddresses,
  pageStructBytes: 40,
  imageAt: 16 * MIB,
  imageBytes: 12 * MIB,
  bootBytes: 3_132 * KIB,
  firstMiB: "reserved",
  bounceBytes: 64 * MIB,
  lowmemBytes: 0x36ffd * 4 * KIB,
  hasDma32: false,
  sectionBytes: 512 * MIB,
  wordBytes: 4,
  slabs: "slub",
  stack: { order: 1, placement: "one block" },
  startup: {
    threads: 43,
    reclaimableSlabBytes: 5_940 * KIB,
    otherSlabBytes: 3_120 * KIB,
    otherBytes: 6_260 * KIB,
  },
  objects: objects32,
};

const linux61i386: Footprint = {
  ...linux61pae,
  bootBytes: 2_506 * KIB,
  lowmemBytes: 0x36bfd * 4 * KIB,
  sectionBytes: 64 * MIB,
  objects: { ...objects32, vma: 72 },
};

const linux61wide: Footprint = {
  ...linux61pae,
  pageStructBytes: 64,
  imageBytes: 43 * MIB,
  bootBytes: 3_732 * KIB,
  hasDma32: true,
  sectionBytes: 128 * MIB,
  directMap: -0x7780_0000_0000,
  vmemmap: -0x1600_0000_0000,
  wordBytes: 8,
  stack: { order: 2, placement: "single frames" },
  startup: {
    threads: 44,
    reclaimableSlabBytes: 8_740 * KIB,
    otherSlabBytes: 6_410 * KIB,
    otherBytes: 29_850 * KIB,
  },
  objects: {
    vma: 152,
    mm: 1_152,
    anonVma: 104,
    anonVmaChain: 64,
    task: 6_080,
    process: { signal_cache: 1_152, sighand_cache: 2_112, files_cache: 704, fs_cache: 64, cred_jar: 192, other: 5_264 },
    treeNode: 576,
    bufferHead: 0,
  },
};

/**
 * What is derived from a running 6.18 (amd64, 24 GiB): the sizes of objects (slabinfo) and of the image (text, data and
 * bss of the boot log). Assumed to be 6.1's: what else boot takes, start-up, and everything on 32 bits.
 */
const linux618wide: Footprint = {
  ...linux61wide,
  imageBytes: 32 * MIB,
  objects: {
    vma: 192,
    mm: 1_600,
    anonVma: 104,
    anonVmaChain: 64,
    task: 5_888,
    process: { signal_cache: 1_152, sighand_cache: 2_112, files_cache: 704, fs_cache: 64, cred_jar: 192, other: 4_000 },
    treeNode: 584,
    bufferHead: 0,
  },
};

/** With five levels the kernel's half starts earlier. */
const fiveLevels = { directMap: -0xef_0000_0000_0000, vmemmap: -0x2c_0000_0000_0000 } as const;

const linux2611narrow: Footprint = {
  ...narrowAddresses,
  pageStructBytes: 32,
  imageAt: 1 * MIB,
  imageBytes: 3 * MIB,
  bootBytes: 2 * MIB,
  firstMiB: "used",
  bounceBytes: 0,
  lowmemBytes: 896 * MIB,
  hasDma32: false,
  sectionBytes: 64 * MIB,
  wordBytes: 4,
  slabs: "slab",
  stack: { order: 1, placement: "one block" },
  startup: { threads: 0, reclaimableSlabBytes: 0, otherSlabBytes: 0, otherBytes: 0 },
  objects: {
    vma: 88,
    mm: 580,
    anonVma: 12,
    anonVmaChain: 32,
    task: 1_760,
    process: { signal_cache: 448, sighand_cache: 1_344, files_cache: 512, fs_cache: 64, cred_jar: 64 },
    treeNode: 276,
    bufferHead: 48,
  },
};

const linux2611pae: Footprint = { ...linux2611narrow, sectionBytes: 1024 * MIB };

const linux2611wide: Footprint = {
  ...linux2611narrow,
  sectionBytes: 128 * MIB,
  directMap: -0x7f00_0000_0000,
  pageStructBytes: 56,
  imageBytes: 5 * MIB,
  bootBytes: 4 * MIB,
  bounceBytes: 64 * MIB,
  wordBytes: 8,
  objects: {
    vma: 176,
    mm: 900,
    anonVma: 24,
    anonVmaChain: 64,
    task: 2_240,
    process: { signal_cache: 704, sighand_cache: 2_112, files_cache: 896, fs_cache: 64, cred_jar: 128 },
    treeNode: 536,
    bufferHead: 88,
  },
};

const footprints: Readonly<Record<PersonalityName, Readonly<Record<PagingFormatName, Footprint>>>> = {
  "linux-2.6.11": {
    i386: linux2611narrow,
    pae: linux2611pae,
    "x86-64": linux2611wide,
    "x86-64-la57": linux2611wide,
  },
  "linux-6.1": {
    i386: linux61i386,
    pae: linux61pae,
    "x86-64": linux61wide,
    "x86-64-la57": { ...linux61wide, ...fiveLevels },
  },
  "linux-6.18": {
    i386: linux61i386,
    pae: linux61pae,
    "x86-64": linux618wide,
    "x86-64-la57": { ...linux618wide, ...fiveLevels },
  },
};

/** What that kernel takes when built for that paging format. */
export const footprintOf = (kernel: PersonalityName, paging: PagingFormatName): Footprint => footprints[kernel][paging];
