/**
 * TLBs of real processors, from their makers' manuals and CPUID descriptors. How silicon replaces is not published: LRU
 * stands for it. Where a manual gives no associativity for a small array, it is full; the sizes of walk caches are
 * estimates, except K8's.
 */
import type { TlbShape } from "./tlb.ts";

const p6: TlbShape = {
  name: "p6",
  rests: "Pentium Pro, II, III: CPUID descriptors 01h to 04h",
  replacement: "lru",
  instruction: [
    { pages: ["4K"], entries: 32, ways: 4 },
    { pages: ["2M"], entries: 2, ways: "full" },
  ],
  load: [
    { pages: ["4K"], entries: 64, ways: 4 },
    { pages: ["2M"], entries: 8, ways: 4 },
  ],
};

const p4: TlbShape = {
  name: "p4",
  rests: "Pentium 4 and Xeon (NetBurst): CPUID descriptors 50h and 5Bh, the smallest of three sizes",
  replacement: "lru",
  instruction: [{ pages: ["4K", "2M"], entries: 64, ways: "full" }],
  load: [{ pages: ["4K", "2M"], entries: 64, ways: "full" }],
  walkCache: { entries: 16, ways: "full" },
};

const k7: TlbShape = {
  name: "k7",
  rests: "Athlon: AMD's optimization guide (Athlon XP has 32 entries for data)",
  replacement: "lru",
  instruction: [
    { pages: ["4K"], entries: 16, ways: "full" },
    { pages: ["2M"], entries: 8, ways: "full" },
  ],
  load: [
    { pages: ["4K"], entries: 24, ways: "full" },
    { pages: ["2M"], entries: 8, ways: "full" },
  ],
  secondInstruction: [{ pages: ["4K"], entries: 256, ways: 4 }],
  secondData: [{ pages: ["4K"], entries: 256, ways: 4 }],
};

const k8: TlbShape = {
  name: "k8",
  rests: "Opteron: AMD's optimization guide",
  replacement: "lru",
  instruction: [
    { pages: ["4K"], entries: 32, ways: "full" },
    { pages: ["2M"], entries: 8, ways: "full" },
  ],
  load: [
    { pages: ["4K"], entries: 32, ways: "full" },
    { pages: ["2M"], entries: 8, ways: "full" },
  ],
  secondInstruction: [{ pages: ["4K"], entries: 512, ways: 4 }],
  secondData: [{ pages: ["4K"], entries: 512, ways: 4 }],
  walkCache: { entries: 24, ways: "full" },
};

const skylake: TlbShape = {
  name: "skylake-sp",
  rests: "Xeon Scalable, first generation: Intel's optimization manual",
  replacement: "lru",
  instruction: [
    { pages: ["4K"], entries: 128, ways: 8 },
    { pages: ["2M"], entries: 8, ways: "full" },
  ],
  load: [
    { pages: ["4K"], entries: 64, ways: 4 },
    { pages: ["2M"], entries: 32, ways: 4 },
    { pages: ["1G"], entries: 4, ways: "full" },
  ],
  second: [
    { pages: ["4K", "2M"], entries: 1536, ways: 12 },
    { pages: ["1G"], entries: 16, ways: 4 },
  ],
  walkCache: { entries: 32, ways: 4 },
};

const icelake: TlbShape = {
  name: "icelake",
  rests: "Ice Lake (Sunny Cove): Intel's optimization manual",
  replacement: "lru",
  instruction: [
    { pages: ["4K"], entries: 128, ways: 8 },
    { pages: ["2M"], entries: 16, ways: "full" },
  ],
  load: [
    { pages: ["4K"], entries: 64, ways: 4 },
    { pages: ["2M"], entries: 32, ways: 4 },
    { pages: ["1G"], entries: 8, ways: "full" },
  ],
  store: [{ pages: ["4K", "2M", "1G"], entries: 16, ways: "full" }],
  second: [{ pages: ["4K", "2M", "1G"], entries: 2048, ways: 16, largeWays: 8 }],
  walkCache: { entries: 32, ways: 4 },
};

const sapphireRapids: TlbShape = {
  name: "sapphire-rapids",
  rests: "Sapphire Rapids (Golden Cove): Intel's optimization manual",
  replacement: "lru",
  instruction: [
    { pages: ["4K"], entries: 256, ways: 8 },
    { pages: ["2M"], entries: 32, ways: 4 },
  ],
  load: [
    { pages: ["4K"], entries: 96, ways: 6 },
    { pages: ["2M"], entries: 32, ways: 4 },
    { pages: ["1G"], entries: 8, ways: "full" },
  ],
  store: [{ pages: ["4K", "2M", "1G"], entries: 16, ways: "full" }],
  second: [{ pages: ["4K", "2M", "1G"], entries: 2048, ways: 16 }],
  walkCache: { entries: 32, ways: 4 },
};

const zen4: TlbShape = {
  name: "zen4",
  rests: "Zen 4: AMD's optimization guide",
  replacement: "lru",
  instruction: [{ pages: ["4K", "2M", "1G"], entries: 64, ways: "full" }],
  load: [{ pages: ["4K", "2M", "1G"], entries: 72, ways: "full" }],
  secondInstruction: [{ pages: ["4K", "2M"], splits: ["1G"], entries: 512, ways: 4 }],
  secondData: [{ pages: ["4K", "2M"], splits: ["1G"], entries: 3072, ways: 24 }],
  walkCache: { entries: 64, ways: 4 },
};

/** By name. */
export const tlbPresets = {
  p6,
  p4,
  k7,
  k8,
  "skylake-sp": skylake,
  icelake,
  "sapphire-rapids": sapphireRapids,
  zen4,
} as const satisfies Record<string, TlbShape>;

export type TlbPresetName = keyof typeof tlbPresets;
