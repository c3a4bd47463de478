/**
 * How much memory a TLB reaches with pages of 4 KiB and with big ones, and what it misses when a program reads at
 * random in more than that. A 32-bit kernel maps all memory that it always reaches with big pages too: they share the few
 * entries that the program's big pages have.
 *
 * Only the hardware runs here, on page tables built by hand: no kernel, no faults.
 */
import { UsageError } from "../../base/errors.ts";
import { Rng } from "../../base/rng.ts";
import { parseSize } from "../../base/size-text.ts";
import { PAGE_SIZE, pageOf } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { HandBuiltTables } from "../../hw/hand-built-tables.ts";
import { Mmu } from "../../hw/mmu.ts";
import { pagingFormats } from "../../hw/paging-format.ts";
import { PhysicalMemory } from "../../hw/physical-memory.ts";
import { PTE_GLOBAL, PTE_PRESENT, PTE_USER, PTE_WRITE } from "../../hw/pte.ts";
import type { TlbShape } from "../../hw/tlb.ts";
import { tlbPresets } from "../../hw/tlb-presets.ts";
import { type Experiment, type Row, wholeNumber } from "./experiment.ts";

const GIB_PAGES = 2 ** 18;
/** Where the kernel's direct map starts, and how much of it the kernel goes through. */
const DIRECT_MAP = 3 * GIB_PAGES;
const KERNEL_PAGES = (64 * 2 ** 20) / PAGE_SIZE;
const USER = PTE_PRESENT | PTE_WRITE | PTE_USER;
const KERNEL = PTE_PRESENT | PTE_WRITE | PTE_GLOBAL;

/** Whether the kernel uses its direct map meanwhile. */
const sharings = ["program alone", "kernel too"] as const;

export const bigTlb: Experiment = {
  name: "big-tlb",
  claim:
    "There are 8 TLB entries for large pages of data, and 2 for instructions: 16 MiB with PAE. Of 4 KiB pages 64 are cached, 256 KiB. With large pages the 4 KiB entries would be wasted, and the same entries shared with the kernel.",
  source: 'Andrea Arcangeli, "Re: Virtual address space exhaustion", linux-kernel, 3 May 2002',
  parameters: {
    tlbs: { text: "p6,k8,icelake", about: `TLB presets, of ${Object.keys(tlbPresets).join(", ")}` },
    sizes: { text: "256K,4M,16M,64M", about: "the area that is read at random" },
    reads: { text: "100000", about: "how many reads, each of another place" },
    kernel: { text: "4", about: "the kernel reads its map once for so many reads of the program" },
  },
  published: [
    { what: "reach of the P6's TLB for data, 4 KiB pages, KiB", value: 256, source: "arithmetic: 64 entries" },
    { what: "the same, pages of 2 MiB, MiB", value: 16, source: "arithmetic: 8 entries" },
  ],
  plot: {
    x: "areaBytes",
    y: "missesPerThousand",
    line: ["tlb", "pages", "sharing"],
    xLabel: "memory that is read at random (MiB)",
    yLabel: "TLB misses in a thousand reads",
    yUnit: 1,
  },

  run({ tlbs, sizes, reads, kernel }) {
    const count = wholeNumber("reads", reads!, 1);
    const every = wholeNumber("kernel", kernel!, 1);
    const rows: Row[] = [];
    for (const shape of tlbs!.split(",").map(shapeNamed)) {
      for (const areaBytes of sizes!.split(",").map(sizeOf)) {
        for (const level of [1, 2]) {
          for (const sharing of sharings) rows.push(measure(shape, { areaBytes, level, sharing, reads: count, every }));
        }
      }
    }
    return { rows, verdict: verdictOn(rows) };
  },
};

function shapeNamed(name: string): TlbShape {
  const names = Object.keys(tlbPresets) as (keyof typeof tlbPresets)[];
  const found = names.find((each) => each === name);
  if (found === undefined) throw new UsageError(`--tlbs ${name}: expected some of ${names.join(", ")}`);
  return tlbPresets[found];
}

function sizeOf(text: string): number {
  const bytes = parseSize(text);
  if (bytes >= PAGE_SIZE && bytes % PAGE_SIZE === 0 && pageOf(bytes) <= GIB_PAGES) return bytes;
  throw new UsageError(`--sizes ${text}: expected whole pages, 1G at most`);
}

interface Load {
  readonly areaBytes: number;
  /** Of the entries that map the area. */
  readonly level: number;
  readonly sharing: (typeof sharings)[number];
  readonly reads: number;
  readonly every: number;
}

function measure(shape: TlbShape, { areaBytes, level, sharing, reads, every }: Load): Row {
  const format = pagingFormats.pae;
  const pages = pageOf(areaBytes);
  const memory = new PhysicalMemory(4 * GIB_PAGES);
  const tables = new HandBuiltTables(memory, format, 2 * GIB_PAGES);
  const big = format.entrySpan(2);
  const step = format.entrySpan(level);
  for (let page = 0; page < pages; page += step) tables.map(page, page, USER, level);
  for (let page = 0; page < KERNEL_PAGES; page += big) tables.map(DIRECT_MAP + page, GIB_PAGES + page, KERNEL, 2);
  const mmu = new Mmu(memory, format, shape);
  mmu.loadRoot(tables.root);
  const rng = new Rng(1);
  let misses = 0;
  let kernelMisses = 0;
  let steps = 0;
  for (let at = 0; at < reads; at++) {
    const before = mmu.walks;
    const stepsBefore = mmu.walkSteps;
    mmu.touch(rng.below(pages), LOAD);
    misses += mmu.walks - before;
    steps += mmu.walkSteps - stepsBefore;
    if (sharing === "program alone" || at % every !== 0) continue;
    const walks = mmu.walks;
    mmu.supervisorTouch(DIRECT_MAP + rng.below(KERNEL_PAGES), LOAD);
    kernelMisses += mmu.walks - walks;
  }
  return {
    tlb: shape.name,
    pages: level === 1 ? "4K" : "2M",
    sharing,
    areaBytes,
    missesPerThousand: Math.round((misses / reads) * 1000),
    walkSteps: steps,
    kernelMisses,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const of = (pages: string, sharing: string): Row[] =>
    rows.filter((row) => row.pages === pages && row.sharing === sharing);
  const mean = (some: readonly Row[]): number =>
    Math.round(some.reduce((sum, row) => sum + Number(row.missesPerThousand), 0) / some.length);
  const [alone, shared] = sharings;
  return `Of a thousand reads ${mean(of("4K", alone))} miss with pages of 4 KiB, and ${mean(of("2M", alone))} with big ones; with the kernel in the same entries ${mean(of("4K", shared))} and ${mean(of("2M", shared))}.`;
}
