/**
 * What it takes to free pages that many processes share: by walking their address spaces, as 2.4, and by asking a reverse
 * map. A segment is in everybody's page tables and nobody has used it for a while; the rest of memory is the kernel's;
 * then a program wants a few pages.
 */
import { PAGE_SIZE, type Vaddr } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { PTE_ACCESSED } from "../../hw/pte.ts";
import { DONE, Machine } from "../../machine.ts";
import { WANT_USER } from "../../mm/allocator.ts";
import { NO_FRAME, PG_REFERENCED } from "../../mm/frames.ts";
import { LEAF, NO_TABLE } from "../../mm/page-table.ts";
import { OWNER_SLAB } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { formatCount } from "../measures.ts";
import { Sharers } from "../memory/sharers.ts";
import { mustCall } from "../memory/static-program.ts";
import { type Experiment, type Row, type Step, steps, wholeNumber } from "./experiment.ts";

const variants = [
  { reverseMap: "none", reclaim: "linux-2.4" },
  { reverseMap: "pte-chain-e", reclaim: "rmap15" },
  { reverseMap: "pte-chain-e", reclaim: "linux-2.6" },
  { reverseMap: "object-anon", reclaim: "linux-2.6" },
] as const;
type Variant = (typeof variants)[number];

const NEED: Vaddr = 0x6000_0000;

export const virtualScan: Experiment = {
  name: "virtual-scan",
  claim:
    "Without a reverse map the swapper can only walk address spaces: to free one page it must meet every mapping of it, and all others on the way.",
  source: "the discussion of reverse mapping on linux-kernel, 2001 to 2003; linux-2.4.22 mm/vmscan.c swap_out",
  parameters: {
    sharers: { text: "1,10,100,1000", about: "processes that share the segment: FIRST..LAST:STEP, or N,N,..." },
    pages: { text: "768", about: "pages of the segment" },
    need: { text: "64", about: "pages that the program wants" },
    memory: { text: "96M", about: "memory of the machine" },
  },
  published: [
    {
      what: "PTEs that 2.4 may have to visit for a page of a segment of 2 GiB and 5000 processes",
      value: 2_621_440_000,
      source: "arithmetic: all mappings of the segment",
    },
    { what: "PTEs that a reverse map visits for it", value: 5000, source: "arithmetic: the page's own mappings" },
  ],
  plot: {
    x: "sharers",
    y: "entriesPerPageHad",
    line: ["reclaim", "reverseMap"],
    xLabel: "processes that share the segment",
    yLabel: "PTEs visited for each page that is wanted",
    yUnit: 1,
  },

  run({ sharers, pages, need, memory }, step) {
    const numbers = steps("sharers", sharers!);
    const segment = wholeNumber("pages", pages!, 1);
    const wanted = wholeNumber("need", need!, 1);
    const rows = variants.flatMap((variant) =>
      numbers.map((count) => load(variant, memory!, { sharers: count, pages: segment, need: wanted }, step)),
    );
    return { rows, verdict: verdictOn(rows) };
  },
};

interface Load {
  readonly sharers: number;
  readonly pages: number;
  readonly need: number;
}

function load(
  { reverseMap, reclaim }: Variant,
  memory: string,
  { sharers: count, pages, need }: Load,
  step: Step,
): Row {
  step(`${reclaim}, ${reverseMap}: ${count} sharers`);
  const settings = [
    `reverseMap=${reverseMap}`,
    `reclaim=${reclaim}`,
    `geometry.memory=${memory}`,
    "geometry.swap=256M",
    "geometry.cpus=1",
  ];
  const machine = new Machine(specOf("nonpae-3g", "linux-2.6.11", settings));
  const { kernel } = machine;
  const sharers = new Sharers(machine, pages * PAGE_SIZE);
  for (let at = 0; at < count; at++) sharers.touch(sharers.join(), LOAD);
  growOld(sharers);
  const program = machine.spawn("program").threads[0]!;
  const args = [NEED, 2 * need * PAGE_SIZE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, null, 0];
  mustCall(machine, program, "mmap", args);
  takeTheRest(machine);
  const { costs } = kernel.reclaim;
  const before = { ...costs };
  let had = 0;
  for (; had < need; had++) if (machine.access(program, NEED + had * PAGE_SIZE, STORE) !== DONE) break;
  const visited = costs.entriesVisited - before.entriesVisited;
  return {
    reclaim,
    reverseMap,
    sharers: count,
    mappings: count * pages,
    pagesWanted: need,
    pagesHad: had,
    pagesFreed: costs.pagesFreed - before.pagesFreed,
    pagesScanned: costs.pagesScanned - before.pagesScanned,
    entriesVisited: visited,
    entriesPerPageHad: had === 0 ? 0 : visited / had,
  };
}

/** Nobody has used the segment for so long that no entry says so any more. */
function growOld({ machine, threads, segment, first, pages }: Sharers): void {
  const { tables, entries, frames } = machine.kernel;
  for (const { mm } of threads) {
    for (let page = first; page < first + pages; page++) {
      const table = tables.openLeaf(mm, page);
      if (table === NO_TABLE) continue;
      const index = tables.indexAt(page, LEAF);
      entries.setFlags(table, index, entries.flags(table, index) & ~PTE_ACCESSED);
      tables.close(table);
    }
    machine.kernel.tlbFlush.all(mm);
  }
  segment.file.pages.forEach(0, pages, (_, frame) => {
    frames.clearFlag(frame, PG_REFERENCED);
    return true;
  });
}

/** The kernel takes what is free, down to where it would have to free some. */
function takeTheRest({ kernel }: Machine): void {
  const { allocator, reclaim } = kernel;
  while (!reclaim.wake && allocator.tryAllocate(0, WANT_USER, OWNER_SLAB) !== NO_FRAME);
  reclaim.wake = false;
}

function verdictOn(rows: readonly Row[]): string {
  const of = (reclaim: string, reverseMap: string) =>
    rows.filter((row) => row.reclaim === reclaim && row.reverseMap === reverseMap).at(-1)!;
  const walk = of("linux-2.4", "none");
  const chains = of("linux-2.6", "pte-chain-e");
  const visits = (row: Row): string => formatCount(Number(row.entriesPerPageHad));
  return `For ${walk.pagesHad} pages of a segment with ${walk.sharers} sharers, the walk of address spaces visits ${formatCount(Number(walk.entriesVisited))} of its ${formatCount(Number(walk.mappings))} PTEs, ${visits(walk)} a page; asking chains visits ${visits(chains)} a page. What chains took comes back with the pages: few need be freed.`;
}
