/**
 * What events cost, in estimated cycles. bigmem counts events exactly; a cost table turns the counts into an estimate,
 * and anyone may put a better table in its place. The order of magnitude is what the presets promise.
 */
import type { Cycles } from "../base/units.ts";

/** What is counted, and what one of it means. */
export const costEvents = {
  access: "an instruction fetch, load or store that hits the first-level TLB",
  secondLevelHit: "a translation found in the second-level TLB",
  walkStep: "a page-table entry read by a walk",
  dirtyUpdate: "a store that goes back to memory to set a D bit",
  fault: "entering the kernel for a page fault, and returning",
  systemCall: "entering the kernel for a system call, and returning",
  rootLoad: "loading the page-table root",
  pageFlush: "dropping one page from the TLB",
  fullFlush: "dropping everything from the TLB",
  ipi: "interrupting other CPUs and waiting until they have answered",
  pageZero: "filling a page with zeros",
  pageCopy: "copying a page",
  entryWrite: "writing a page-table entry",
  allocation: "taking a frame from the allocator and giving it back",
} as const;

export type CostEvent = keyof typeof costEvents;

export interface CostTable {
  readonly name: string;
  /** What the figures rest on. */
  readonly rests: string;
  /** Of the CPU: cycles a second. */
  readonly hertz: number;
  readonly cycles: Readonly<Record<CostEvent, number>>;
}

export type EventCounts = Readonly<Partial<Record<CostEvent, number>>>;

/** The estimate for so many events. */
export function estimateCycles(table: CostTable, counts: EventCounts): Cycles {
  let cycles = 0;
  for (const event of Object.keys(counts) as CostEvent[]) cycles += table.cycles[event] * (counts[event] ?? 0);
  return cycles;
}

/** The Pentium III, 700 MHz, of the machines with 64 GiB. */
const p6: CostTable = {
  name: "p6",
  rests: "orders of magnitude of the P6 family: memory at 100 cycles, traps at 300, interrupts between CPUs at 3000",
  hertz: 700e6,
  cycles: {
    access: 1,
    secondLevelHit: 0,
    walkStep: 15,
    dirtyUpdate: 40,
    fault: 600,
    systemCall: 300,
    rootLoad: 100,
    pageFlush: 100,
    fullFlush: 200,
    ipi: 3000,
    pageZero: 2500,
    pageCopy: 5000,
    entryWrite: 10,
    allocation: 200,
  },
};

/** NetBurst at 2.8 GHz: fast clock, dear traps. */
const p4: CostTable = {
  name: "p4",
  rests: "orders of magnitude of NetBurst: a trap costs over 1000 cycles, a locked update over 100",
  hertz: 2.8e9,
  cycles: {
    access: 1,
    secondLevelHit: 0,
    walkStep: 30,
    dirtyUpdate: 150,
    fault: 1700,
    systemCall: 1000,
    rootLoad: 400,
    pageFlush: 500,
    fullFlush: 600,
    ipi: 6000,
    pageZero: 3000,
    pageCopy: 6000,
    entryWrite: 20,
    allocation: 300,
  },
};

const k8: CostTable = {
  name: "k8",
  rests: "orders of magnitude of the first Opterons: memory at 150 cycles behind their own controller",
  hertz: 2e9,
  cycles: {
    access: 1,
    secondLevelHit: 5,
    walkStep: 15,
    dirtyUpdate: 50,
    fault: 700,
    systemCall: 150,
    rootLoad: 150,
    pageFlush: 100,
    fullFlush: 200,
    ipi: 3000,
    pageZero: 1500,
    pageCopy: 3000,
    entryWrite: 10,
    allocation: 200,
  },
};

/** Server cores of today, with mitigations for speculative attacks off. */
const modern: CostTable = {
  name: "modern",
  rests:
    "orders of magnitude of Ice Lake to Zen 4: second-level hits at 7 cycles (Intel's optimization manual), faults at " +
    "1000, invlpg at 200, interrupts between CPUs at 4000",
  hertz: 3e9,
  cycles: {
    access: 1,
    secondLevelHit: 7,
    walkStep: 10,
    dirtyUpdate: 100,
    fault: 1000,
    systemCall: 150,
    rootLoad: 200,
    pageFlush: 200,
    fullFlush: 300,
    ipi: 4000,
    pageZero: 400,
    pageCopy: 800,
    entryWrite: 5,
    allocation: 150,
  },
};

/** By name. */
export const costPresets = { p6, p4, k8, modern } as const satisfies Record<string, CostTable>;

export type CostPresetName = keyof typeof costPresets;
