/**
 * What transparent huge pages gain, and what they cost: the same load under each policy, on a machine that has just started
 * and on one whose memory is in pieces.
 *
 *     dense    every page of the area is written, in order           huge pages: fewer faults, fewer misses, nothing lost
 *     sparse   one page in so many is written, all over the area     huge pages: the same, and memory that nobody touched
 *
 *     fresh        [  free                                          ]
 *     fragmented   [..x......x....x......x.....x......x....x.....x..]     as much is free, and no block of 2 MiB
 */
import { UsageError } from "../../base/errors.ts";
import { Rng } from "../../base/rng.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { DONE, Machine } from "../../machine.ts";
import type { Thread } from "../../mm/process.ts";
import { specOf } from "../../presets.ts";
import { neededCall } from "../memory/load.ts";
import { freeContiguity, hugeCoverage } from "../memory-shape.ts";
import { anonymousByPageSize, memorySnapshot } from "../snapshot.ts";
import { type Experiment, type Row, type Step, wholeNumber, wholePages } from "./experiment.ts";

/** Where the area is, and where the one is that takes memory to pieces: at the start of huge pages. */
const ADDRESS = 0x4000_0000;
const HOG_ADDRESS = 0x10_0000_0000;
const PRIVATE_ANONYMOUS_FIXED = 0x32;
const READ_WRITE = 3;
const MADV_DONTNEED = 4;
const MADV_HUGEPAGE = 14;
const MADV_NOHUGEPAGE = 15;

const loads = ["dense", "sparse"] as const;
const states = ["fresh", "fragmented"] as const;

interface Plan {
  readonly load: (typeof loads)[number];
  readonly state: (typeof states)[number];
  /** transparentPages, and what a fault does for a block (tunables.thpDefrag). */
  readonly policy: string;
  readonly defrag: string;
  readonly settings: readonly string[];
  readonly machine: string;
  readonly pages: number;
  /** Of the sparse load: one page in so many is written. */
  readonly every: number;
  /** Of the fragmented machine: one page in so many is kept. */
  readonly kept: number;
  readonly reads: number;
}

export const thp: Experiment = {
  name: "thp",
  claim:
    "Huge pages of anonymous memory, given without being asked for, make programs faster by fewer TLB misses and fewer faults; where the memory is used sparsely they waste it, and where memory is fragmented they cost time to be had.",
  source:
    'Andrea Arcangeli, "Transparent Hugepage Support", KVM Forum, August 2010; Documentation/admin-guide/mm/transhuge.rst',
  parameters: {
    machine: { text: "amd64-8g", about: "a machine preset" },
    memory: { text: "192M", about: "its memory" },
    size: { text: "48M", about: "the area that the program uses" },
    every: { text: "16", about: "the sparse load writes one page in so many" },
    kept: { text: "4", about: "on the fragmented machine somebody keeps one page in so many" },
    policies: {
      text: "never:never,madvise:madvise,always:never,always:defer,always:always",
      about: "transparentPages and defrag, of each run; under madvise the program asks",
    },
    mobility: { text: "grouped", about: "where the kernel's frames lie: grouped, or mixed among the others" },
    reads: { text: "20000", about: "reads at random afterwards, whose TLB misses are counted" },
  },
  published: [
    { what: "pages that one fault of a dense load maps", value: 512, source: "arithmetic: 2 MiB" },
    {
      what: "page-table bytes that are saved for each huge page",
      value: 0,
      source: "Linux 6.1, mm/huge_memory.c: the leaf table is kept in reserve (pgtable_trans_huge_deposit)",
    },
  ],
  plot: {
    x: "bloatBytes",
    y: "missesPerThousand",
    line: ["load", "state"],
    xLabel: "memory that is resident and was never touched (MiB)",
    yLabel: "TLB misses in a thousand reads",
    yUnit: 1,
  },

  run({ machine, memory, size, every, kept, policies, mobility, reads }, step) {
    const common = {
      settings: [`geometry.memory=${memory!}`, `tunables.mobility=${mobility!}`],
      machine: machine!,
      pages: wholePages("size", size!, 512),
      every: wholeNumber("every", every!, 1),
      kept: wholeNumber("kept", kept!, 2),
      reads: wholeNumber("reads", reads!, 1),
    };
    const rows = loads.flatMap((load) =>
      states.flatMap((state) =>
        policies!.split(",").map((text) => measure({ ...common, load, state, ...policyOf(text) }, step)),
      ),
    );
    return { rows, verdict: verdictOn(rows) };
  },
};

function policyOf(text: string): { readonly policy: string; readonly defrag: string } {
  const [, policy, defrag] = /^([a-z]+):([a-z+]+)$/.exec(text) ?? [];
  if (policy !== undefined && defrag !== undefined) return { policy, defrag };
  throw new UsageError(`--policies ${text}: expected policy:defrag, such as always:defer`);
}

function measure(plan: Plan, step: Step): Row {
  const { load, state, policy, defrag } = plan;
  step(`${load} on a ${state} machine, ${policy} and ${defrag}`);
  const settings = [...plan.settings, `transparentPages=${policy}`, `tunables.thpDefrag=${defrag}`];
  const machine = new Machine(specOf(plan.machine, undefined, settings));
  if (state === "fragmented") fragment(machine, plan);
  const { kernel } = machine;
  const thread = machine.spawn("program").threads[0]!;
  neededCall(machine, thread, "mmap", [ADDRESS, plan.pages * PAGE_SIZE, READ_WRITE, PRIVATE_ANONYMOUS_FIXED, null, 0]);
  if (policy === "madvise") neededCall(machine, thread, "madvise", [ADDRESS, plan.pages * PAGE_SIZE, MADV_HUGEPAGE]);
  const before = { ...kernel.counters };
  const written = write(machine, thread, plan);
  const { counters } = kernel;
  const memory = memorySnapshot(kernel);
  const coverage = hugeCoverage({ anonymousByPageSize: anonymousByPageSize(kernel, [thread.mm]) });
  const did = (name: "minorFaults" | "thpFaultAlloc" | "thpFaultFallback" | "thpCollapseAlloc" | "pgmigrateSuccess") =>
    counters[name] - before[name];
  return {
    load,
    state,
    policy,
    defrag,
    faults: did("minorFaults"),
    coveragePercent: Math.round(coverage ?? 0),
    residentBytes: thread.mm.resident.anon * PAGE_SIZE,
    bloatBytes: memory.anonHugeUntouchedBytes,
    freeContiguityPercent: Math.round(freeContiguity(memory.freeBlocksByOrder, kernel.transparent.pages.order) ?? 0),
    pageTablesBytes: (thread.mm.tablesByLevel[1] ?? 0) * PAGE_SIZE,
    missesPerThousand: missesOf(machine, thread, written, plan.reads),
    hugeFaults: did("thpFaultAlloc"),
    fallbacks: did("thpFaultFallback"),
    collapsed: did("thpCollapseAlloc"),
    pagesZeroed: counters.pagesZeroed - before.pagesZeroed,
    pagesMoved: did("pgmigrateSuccess"),
    compactionsFailed: counters.compactFail - before.compactFail,
  };
}

/** Somebody takes most of memory, and gives back all but one page in `kept`. */
function fragment(machine: Machine, { kept, pages: wanted }: Plan): void {
  const { allocator, transparent } = machine.kernel;
  const hog = machine.spawn("hog").threads[0]!;
  const low = allocator.zones.reduce((sum, zone) => sum + zone.high, 0);
  const pages = allocator.freePages - low - transparent.pages.pages;
  if (pages - Math.ceil(pages / kept) < wanted)
    throw new UsageError(
      `the program's ${wanted} pages do not fit beside what is kept: more memory, or a smaller size`,
    );
  neededCall(machine, hog, "mmap", [HOG_ADDRESS, pages * PAGE_SIZE, READ_WRITE, PRIVATE_ANONYMOUS_FIXED, null, 0]);
  neededCall(machine, hog, "madvise", [HOG_ADDRESS, pages * PAGE_SIZE, MADV_NOHUGEPAGE]);
  for (let page = 0; page < pages; page++) machine.access(hog, HOG_ADDRESS + page * PAGE_SIZE, STORE);
  for (let page = 0; page < pages; page += kept) {
    const count = Math.min(kept, pages - page) - 1;
    if (count > 0)
      neededCall(machine, hog, "madvise", [HOG_ADDRESS + (page + 1) * PAGE_SIZE, count * PAGE_SIZE, MADV_DONTNEED]);
  }
}

/** Writes the load's pages; which they are. */
function write(machine: Machine, thread: Thread, { load, pages, every }: Plan): number[] {
  const written: number[] = [];
  for (let page = 0; page < pages; page += load === "dense" ? 1 : every) {
    if (machine.access(thread, ADDRESS + page * PAGE_SIZE, STORE) !== DONE) break;
    written.push(page);
  }
  return written;
}

/** TLB misses in a thousand reads of pages that were written. */
function missesOf(machine: Machine, thread: Thread, written: readonly number[], reads: number): number {
  const rng = new Rng(1);
  const { mmu } = machine.cpus[thread.cpu]!;
  const before = mmu.walks;
  for (let at = 0; at < reads; at++) machine.access(thread, ADDRESS + rng.pick(written) * PAGE_SIZE, LOAD);
  return Math.round(((mmu.walks - before) / reads) * 1000);
}

const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;

function verdictOn(rows: readonly Row[]): string {
  const find = (load: string, state: string, isBest: (row: Row) => boolean): Row | undefined =>
    rows.find((row) => row.load === load && row.state === state && isBest(row));
  const small = find("dense", "fresh", ({ policy }) => policy === "never");
  const huge = find("dense", "fresh", ({ policy }) => policy === "always");
  const sparse = find("sparse", "fresh", ({ policy }) => policy === "always");
  const light = find("dense", "fragmented", ({ policy, defrag }) => policy === "always" && defrag === "never");
  const hard = find("dense", "fragmented", ({ policy, defrag }) => policy === "always" && defrag === "always");
  const parts: string[] = [];
  if (small !== undefined && huge !== undefined)
    parts.push(
      `A dense load takes ${huge.faults} faults instead of ${small.faults}, and ${huge.missesPerThousand} of a thousand reads miss the TLB instead of ${small.missesPerThousand}`,
    );
  if (sparse !== undefined)
    parts.push(`a sparse one has ${mib(Number(sparse.bloatBytes))} resident that it never touched`);
  if (light !== undefined && hard !== undefined)
    parts.push(
      `on fragmented memory ${light.coveragePercent} % of the dense load is huge if khugepaged alone works for it, and ${hard.coveragePercent} % if its faults move ${hard.pagesMoved} pages`,
    );
  return `${parts.join("; ")}.`;
}
