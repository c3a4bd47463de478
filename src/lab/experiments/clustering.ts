/**
 * Page clustering: what the kernel saves when its own pages have 8 to 64 KiB, and what it pays. For each size the struct pages of
 * a large machine and the lowmem that they leave; the chains of a shared segment, with every entry chained and with one for
 * all that lie side by side; small files and small areas, which fill such pages badly; and the faults and reads that are spared, there and to a recorded program.
 */

import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { layOutMemory } from "../../boot.ts";
import { footprintOf } from "../../footprint.ts";
import { Machine } from "../../machine.ts";
import { mapLayouts } from "../../mm/memmap/mem-maps.ts";
import { blocksFor } from "../../mm/rmap/chains.ts";
import { OWNER_MEM_MAP } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { Sharers } from "../memory/sharers.ts";
import { freeEveryOther, type Held, readSmallFiles, writeSmallAreas } from "../memory/soft-page-loads.ts";
import { replayProgram } from "../memory/soft-page-program.ts";
import { freeContiguity } from "../memory-shape.ts";
import { memorySnapshot } from "../snapshot.ts";
import { type Experiment, type Row, type Step, wholeNumber, wholePages } from "./experiment.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;
const orders = [0, 1, 2, 3, 4] as const;

/** 2^9 pages: what a large entry of PAE and x86-64 maps. */
const HUGE_ORDER = 9;

/** Entries of a block of chains: a line of 32 bytes, places of 4. */
const BLOCK = { entries: 7, bytes: 32 };
/** The central case: so many processes, each of which has mapped all of so many pages. */
const CENTRAL = { processes: 5000, pages: (2 * GIB) / PAGE_SIZE };

export const clustering: Experiment = {
  name: "clustering",
  claim:
    'BSD-style page clustering preserves virtual contiguity of a software page, but the new things don\'t; the desired behavior can in principle be partially recovered by scanning within a "blast radius" for each chain element and only chaining enough elements to find the relevant ptes that way.',
  source: 'William Lee Irwin III, "Re: What to expect with the 2.6 VM", linux-kernel, July 2003',
  parameters: {
    processes: { text: "24", about: "how many map and read the segment" },
    size: { text: "1M", about: "the segment" },
    files: { text: "200", about: "small files that are read" },
    areas: { text: "100", about: "small areas that a program writes to here and there" },
    trace: { text: "samples/sort.bmt", about: "a recorded program, or a workload" },
    machine: { text: "piii-4g", about: "a machine preset, for all that is run" },
    filled: { text: "64M", about: "its memory, where two programs fill it and one of them ends" },
    large: { text: "piii-xeon-64g", about: "a machine preset, whose struct pages are counted" },
  },
  published: [
    ...[704, 352, 176, 88, 44].map((value, order) => ({
      what: `struct pages of 64 GiB at 44 bytes, pages of ${4 << order} KiB, MiB`,
      value,
      source: "arithmetic; the NUMA-Q of 2003 shows the first and the fourth",
    })),
    ...[11.17, 5.59, 2.79, 1.4, 0.7].map((value, order) => ({
      what: `chains of 5000 processes with 2 GiB each, one entry a page of ${4 << order} KiB and process, GiB`,
      value,
      source: "arithmetic: 715 lines of 32 bytes a page",
    })),
    ...[0, 2, 6, 14, 30].map((value, order) => ({
      what: `left unused at the end of a file, pages of ${4 << order} KiB, KiB`,
      value,
      source: "arithmetic: half of what a page has beyond 4 KiB",
    })),
  ],
  plot: {
    x: "softPageBytes",
    y: "chainsBytes",
    line: ["chainedParts"],
    xLabel: "the kernel's own page (KiB)",
    yLabel: "chains of the segment (KiB)",
    yUnit: 1024,
  },

  run({ processes, size, files, areas, machine, filled, large }, step) {
    const sharers = wholeNumber("processes", processes!, 2);
    const bytes = addressOf(wholePages("size", size!, 16));
    const counts = { files: wholeNumber("files", files!, 1), areas: wholeNumber("areas", areas!, 1) };
    const rows = orders.flatMap((order) => {
      step(`pages of ${4 << order} KiB`);
      const shared = {
        ...structPages(large!, order),
        ...smallThings(machine!, order, counts),
        ...freePieces(machine!, filled!, order),
      };
      return (["each", "blast-radius"] as const).map(
        (chainedParts): Row => ({
          softPageBytes: PAGE_SIZE << order,
          chainedParts,
          ...chains(machine!, order, chainedParts, { processes: sharers, bytes }, step),
          ...shared,
        }),
      );
    });
    return { rows, verdict: verdictOn(rows) };
  },

  replayed: {
    parameter: "trace",
    columns: async ({ softPageBytes, chainedParts }, { machine }, input) => {
      const order = Math.log2(Number(softPageBytes) / PAGE_SIZE);
      return {
        ...(await replayProgram(specOf(machine!, "linux-2.6.0", settingsFor(order, String(chainedParts))), input)),
      };
    },
  },
};

const settingsFor = (order: number, chainedParts: string): string[] => [
  "reverseMap=pte-chain-e",
  `softPageShift=${order}`,
  `chainedParts=${chainedParts}`,
  "geometry.cpus=1",
];

/** What boot takes for struct pages, and what is left of the memory that the kernel has mapped. */
function structPages(name: string, order: number): Row {
  const { geometry, kernel } = specOf(name, undefined, ["geometry.pageStructBytes=44"]);
  const layout = layOutMemory(geometry, footprintOf(kernel, geometry.paging), mapLayouts.flat, order);
  const sizeOf = (ranges: readonly { readonly first: number; readonly end: number }[]): number =>
    ranges.reduce((sum, { first, end }) => sum + Math.max(0, Math.min(end, layout.lowmemEnd) - first), 0) * PAGE_SIZE;
  return {
    structPagesBytes: sizeOf(layout.reserved.filter(({ owner }) => owner === OWNER_MEM_MAP)),
    lowmemLeftBytes: sizeOf(layout.free),
  };
}

interface Sharing {
  readonly processes: number;
  readonly bytes: number;
}

/** The chains of a segment that processes have read, each all of it; and what those of the central case would take. */
function chains(name: string, order: number, chainedParts: string, { processes, bytes }: Sharing, step: Step): Row {
  const machine = new Machine(specOf(name, "linux-2.6.0", settingsFor(order, chainedParts)));
  const sharers = new Sharers(machine, bytes);
  const { reverseMap, counters } = machine.kernel;
  for (let at = 0; at < processes; at++) {
    step(`pages of ${4 << order} KiB, ${chainedParts}: process ${at + 1} of ${processes}`);
    sharers.touch(sharers.join());
  }
  const perPage = CENTRAL.processes * (chainedParts === "each" ? 1 << order : 1);
  const blocks = blocksFor(perPage, BLOCK.entries) * (CENTRAL.pages / (1 << order));
  return {
    processes,
    chainsBytes: reverseMap.bytes,
    entriesRead: reverseMap.costs.entriesRead,
    segmentFaults: counters.minorFaults + counters.majorFaults,
    centralChainsBytes: blocks * BLOCK.bytes,
  };
}

function smallThings(name: string, order: number, counts: { readonly files: number; readonly areas: number }): Row {
  const machine = () => new Machine(specOf(name, "linux-2.6.0", [`softPageShift=${order}`, "geometry.cpus=1"]));
  const ofFiles = machine();
  const files = readSmallFiles(ofFiles, counts.files, 1);
  const ofAreas = machine();
  const areas = writeSmallAreas(ofAreas, counts.areas, 1);
  return {
    unusedInFilesPercent: unusedPercent(files),
    unusedInAreasPercent: unusedPercent(areas),
    fileTailBytes: Math.round(((files.frames - files.asked) * PAGE_SIZE) / counts.files),
    pagesRead: ofFiles.kernel.files.costs.pagesRead,
    areaPagesWritten: areas.asked,
    areaFrames: areas.frames,
    areaFaults: areas.faults,
    treeNodes: ofFiles.kernel.slabs.treeNodes.objects,
  };
}

/** Internal fragmentation: of the frames, those that nobody has asked for. */
const unusedPercent = ({ asked, frames }: Held): number => Math.round(((frames - asked) * 100) / frames);

/** External fragmentation: what is free in blocks of the largest soft page here, and of a huge page. */
function freePieces(name: string, memory: string, order: number): Row {
  const settings = [`softPageShift=${order}`, "geometry.cpus=1", `geometry.memory=${memory}`];
  const machine = new Machine(specOf(name, "linux-2.6.0", settings));
  freeEveryOther(machine, 1);
  const { freeBlocksByOrder } = memorySnapshot(machine.kernel);
  const share = (blockOrder: number): number => Math.round(freeContiguity(freeBlocksByOrder, blockOrder) ?? 0);
  return { freeInSoftBlocksPercent: share(orders.length - 1), freeInHugeBlocksPercent: share(HUGE_ORDER) };
}

function verdictOn(rows: readonly Row[]): string {
  const of = (order: number, parts: string): Row =>
    rows.find((row) => row.softPageBytes === PAGE_SIZE << order && row.chainedParts === parts)!;
  const list = (key: string, parts: string, unit: number): string =>
    orders.map((order) => Math.round((Number(of(order, parts)[key]) * 10) / unit) / 10).join(", ");
  const small = of(0, "each");
  const large = of(4, "each");
  return [
    `From 4 to 64 KiB the struct pages of the large machine take ${list("structPagesBytes", "each", MIB)} MiB and leave ${list("lowmemLeftBytes", "each", MIB)} MiB of lowmem.`,
    `Chains take ${list("chainsBytes", "each", 1024)} KiB if each entry is chained, and ${list("chainsBytes", "blast-radius", 1024)} KiB with a blast radius: mappings that are contiguous and aligned give back all that clustering promised, for ${of(4, "blast-radius").entriesRead} entries read.`,
    `At the end of each small file ${list("fileTailBytes", "each", 1024)} KiB lie unused, and ${small.areaPagesWritten} pages of small areas take ${small.areaFrames} frames of 4 KiB or, in pages of 64 KiB, ${large.areaFrames}; for these it has ${large.areaFaults} faults instead of ${small.areaFaults}: ${list("unusedInAreasPercent", "each", 1)} % of what it holds nobody asked for.`,
    `When one of two programs that have filled memory in turn ends, ${list("freeInSoftBlocksPercent", "each", 1)} % of what is free then is in blocks of 64 KiB or more.`,
  ].join(" ");
}
