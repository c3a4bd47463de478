/**
 * How much memory a TLB reaches with pages of 4 KiB and with big ones, and what it misses when a program reads at
 * random in more than that. The kernel maps all memory that it always reaches with big pages too: its entries are those
 * that the program's big pages have. If it does so with pages of 4 KiB instead, they are the others.
 *
 *     TLB       [ 64 entries of 4 KiB ]  [ 8 entries of 2 MiB ]      16 MiB with big pages, 256 KiB without
 *                     program                   kernel's map
 *
 * TLBs of 32-bit processors run under PAE, the others with four levels, where a page may be of 1 GiB. Only the hardware
 * runs here, on page tables built by hand: no kernel, no faults.
 */
import { UsageError } from "../../base/errors.ts";
import { Rng } from "../../base/rng.ts";
import { formatSize, parseSize } from "../../base/size-text.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vpn } from "../../base/units.ts";
import { FETCH, LOAD } from "../../hw/access.ts";
import { HandBuiltTables } from "../../hw/hand-built-tables.ts";
import { Mmu } from "../../hw/mmu.ts";
import { type PagingFormat, pagingFormats } from "../../hw/paging-format.ts";
import { PhysicalMemory } from "../../hw/physical-memory.ts";
import { PTE_ACCESSED, PTE_GLOBAL, PTE_PRESENT, PTE_USER, PTE_WRITE } from "../../hw/pte.ts";
import type { PageSize, TlbShape } from "../../hw/tlb.ts";
import { tlbPresets } from "../../hw/tlb-presets.ts";
import { type Experiment, type Row, wholeNumber } from "./experiment.ts";

const GIB_PAGES = 2 ** 18;
/** How much of its map the kernel goes through. */
const KERNEL_PAGES = (64 * 2 ** 20) / PAGE_SIZE;
const USER = PTE_PRESENT | PTE_WRITE | PTE_USER | PTE_ACCESSED;
const KERNEL = PTE_PRESENT | PTE_WRITE | PTE_GLOBAL | PTE_ACCESSED;

/** What the kernel does meanwhile: it rests; it uses its map, of the largest pages that there are; or of the smallest. */
const sharings = ["program alone", "kernel too", "kernel in 4K pages"] as const;

/** By level of the entry. */
const pageSizes: readonly PageSize[] = ["4K", "2M", "1G"];

/** TLBs of processors that have no long mode. */
const narrow: readonly string[] = ["p6", "p4", "k7"];

export const bigTlb: Experiment = {
  name: "big-tlb",
  claim:
    "There are 8 TLB entries for large pages of data, and 2 for instructions: 16 MiB with PAE. Of 4 KiB pages 64 are cached, 256 KiB. With large pages the 4 KiB entries would be wasted, and the same entries shared with the kernel.",
  source: 'Andrea Arcangeli, "Re: Virtual address space exhaustion", linux-kernel, 3 May 2002',
  parameters: {
    tlbs: { text: "p6,k8,icelake,zen4", about: `TLB presets, of ${Object.keys(tlbPresets).join(", ")}` },
    sizes: { text: "256K,16M,64M,16G", about: "the area that is read at random; more than 1G only with four levels" },
    reads: { text: "100000", about: "how many reads, each of another place" },
    kernel: { text: "4", about: "the kernel reads its map once for so many reads of the program" },
  },
  published: [
    { what: "reach of the P6's TLB for data, 4 KiB pages, KiB", value: 256, source: "arithmetic: 64 entries" },
    { what: "the same, pages of 2 MiB, MiB", value: 16, source: "arithmetic: 8 entries" },
    { what: "reach of the P6's TLB for instructions, 4 KiB pages, KiB", value: 128, source: "arithmetic: 32 entries" },
    { what: "the same, pages of 2 MiB, MiB", value: 4, source: "arithmetic: 2 entries" },
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
    const areas = sizes!.split(",").map(sizeOf);
    for (const shape of tlbs!.split(",").map(shapeNamed)) {
      for (const areaBytes of areas.filter((bytes) => pageOf(bytes) <= mostPages(shape))) {
        for (const level of levelsOf(shape)) {
          for (const sharing of sharings) rows.push(measure(shape, { areaBytes, level, sharing, reads: count, every }));
        }
      }
    }
    if (rows.length === 0) throw new UsageError(`--sizes ${sizes}: none that the TLBs' processors map`);
    return { rows, verdict: verdictOn(rows) };
  },
};

const formatFor = ({ name }: TlbShape): PagingFormat => pagingFormats[narrow.includes(name) ? "pae" : "x86-64"];

/** The levels whose entries map pages: those that the TLB has entries for. */
function levelsOf({ load }: TlbShape): number[] {
  return pageSizes.flatMap((size, at) => (load.some(({ pages }) => pages.includes(size)) ? [at + 1] : []));
}

/** An area that is larger does not fit below the kernel's map. */
const mostPages = (shape: TlbShape): number => (formatFor(shape).vaddrBits > 32 ? MOST_PAGES : GIB_PAGES);
const MOST_PAGES = 64 * GIB_PAGES;

function shapeNamed(name: string): TlbShape {
  const names = Object.keys(tlbPresets) as (keyof typeof tlbPresets)[];
  const found = names.find((each) => each === name);
  if (found === undefined) throw new UsageError(`--tlbs ${name}: expected some of ${names.join(", ")}`);
  return tlbPresets[found];
}

function sizeOf(text: string): number {
  const bytes = parseSize(text);
  if (bytes >= PAGE_SIZE && bytes % PAGE_SIZE === 0 && pageOf(bytes) <= MOST_PAGES) return bytes;
  throw new UsageError(`--sizes ${text}: expected whole pages, 64G at most`);
}

interface Load {
  readonly areaBytes: number;
  /** Of the entries that map the area. */
  readonly level: number;
  readonly sharing: (typeof sharings)[number];
  readonly reads: number;
  readonly every: number;
}

/** Builds the tables of an area from address 0 on, and of the kernel's map, and a CPU that uses them. */
function build(shape: TlbShape, { areaBytes, level, sharing }: Load): { readonly mmu: Mmu; readonly map: Vpn } {
  const format = formatFor(shape);
  const pages = pageOf(areaBytes);
  const map = 3 * Math.max(GIB_PAGES, mostPages(shape));
  const memory = new PhysicalMemory(map + 2 * GIB_PAGES);
  const tables = new HandBuiltTables(memory, format, map + GIB_PAGES);
  const step = format.entrySpan(level);
  const table = format.entrySpan(2);
  if (level === 1) for (let page = 0; page < pages; page += table) tables.mapTable(page, page, USER);
  else for (let page = 0; page < pages; page += step) tables.map(page, page, USER, level);
  const kernelLevel = sharing === "kernel in 4K pages" ? 1 : levelsOf(shape).at(-1)!;
  const kernelStep = format.entrySpan(kernelLevel);
  for (let page = 0; page < KERNEL_PAGES; page += kernelStep) tables.map(map + page, map + page, KERNEL, kernelLevel);
  const mmu = new Mmu(memory, format, shape);
  mmu.loadRoot(tables.root);
  return { mmu, map };
}

function measure(shape: TlbShape, load: Load): Row {
  const { areaBytes, level, sharing, reads, every } = load;
  const { mmu, map } = build(shape, load);
  const pages = pageOf(areaBytes);
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
    mmu.supervisorTouch(map + rng.below(KERNEL_PAGES), LOAD);
    kernelMisses += mmu.walks - walks;
  }
  return {
    tlb: shape.name,
    pages: pageSizes[level - 1]!,
    sharing,
    areaBytes,
    reachBytes: addressOf(mmu.tlb.reach(LOAD, level)),
    fetchReachBytes: addressOf(mmu.tlb.reach(FETCH, level)),
    missesPerThousand: Math.round((misses / reads) * 1000),
    walkSteps: steps,
    kernelMisses,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const names = [...new Set(rows.map(({ tlb }) => tlb))];
  return names
    .map((name) => {
      const own = rows.filter(({ tlb }) => tlb === name);
      const sizes = [...new Set(own.map(({ pages }) => pages))];
      const parts = sizes.map((pages) => {
        const [alone, shared, small] = sharings.map((sharing) =>
          mean(own.filter((row) => row.pages === pages && row.sharing === sharing)),
        );
        const reach = formatSize(Number(own.find((row) => row.pages === pages)!.reachBytes));
        return `${reach} with pages of ${pages}, where ${alone} of a thousand reads miss, ${shared} with the kernel's map in big pages, ${small} with it in small ones`;
      });
      return `${name} reaches ${parts.join("; ")}.`;
    })
    .join(" ");
}

/** Misses in a thousand reads, over all areas. */
const mean = (rows: readonly Row[]): number =>
  Math.round(rows.reduce((sum, row) => sum + Number(row.missesPerThousand), 0) / rows.length);
