/**
 * The NUMA-Q with 64 GiB as it booted in March 2003, with pages of 4 KiB and with soft pages: how much of lowmem the struct
 * pages of the other nodes take, being mapped where it would be.
 *
 *     page offset         lowmem ends                       highstart          128 MiB
 *     | lowmem of node 0   | struct pages of nodes 7 .. 1   |   vmalloc, kmap, fixmap |
 */
import { PAGE_SIZE } from "../../base/units.ts";
import { type BootLayout, layOutMemory } from "../../boot.ts";
import { footprintOf } from "../../footprint.ts";
import { Machine } from "../../machine.ts";
import { scaledFixmapStart } from "../../mm/kmap/windows.ts";
import { mapLayouts } from "../../mm/memmap/mem-maps.ts";
import { specOf } from "../../presets.ts";
import { type Experiment, type Row, type Step, wholeNumber } from "./experiment.ts";

const MIB = 2 ** 20;

const BEFORE = "boot log of 2.5.65-mm2, linux-kernel, 28 March 2003";
const AFTER = "boot log of 2.5.66 with page clustering, linux-kernel, 28 March 2003";

export const numaq: Experiment = {
  name: "numaq",
  claim:
    "With pages of 4 KiB the struct pages of a machine with 64 GiB leave 268 MiB of lowmem; with soft pages of 32 KiB they leave 750.",
  source: "William Lee Irwin III, linux-kernel, 28 March 2003",
  parameters: {
    shifts: { text: "0,3", about: "soft pages of 2^N hardware pages" },
    struct: { text: "44", about: "bytes of a struct page" },
    types: { text: "61", about: "slots of kmap_atomic for each CPU: what a fixmap of 61 MiB comes to" },
    machine: { text: "numaq-64g", about: "a machine preset with nodes" },
  },
  published: [
    { what: "struct pages of another node, pages of 4 KiB, frames", value: 23_040, source: BEFORE },
    { what: "of all other nodes, frames", value: 160_768, source: BEFORE },
    { what: "lowmem, MiB", value: 268, source: BEFORE },
    { what: "highmem, MiB", value: 64_632, source: BEFORE },
    { what: "highstart_pfn", value: 229_376, source: BEFORE },
    { what: "struct pages of another node, soft pages of 32 KiB, frames", value: 3_072, source: AFTER },
    { what: "of all other nodes, frames", value: 21_504, source: AFTER },
    { what: "lowmem, MiB", value: 750, source: AFTER },
    { what: "highmem, MiB", value: 64_694, source: AFTER },
    { what: "highstart_pfn", value: 213_504, source: AFTER },
    { what: "fixmap, MiB", value: 61, source: AFTER },
  ],
  plot: {
    x: "softPageBytes",
    y: "lowmemBytes",
    line: ["memMap"],
    xLabel: "soft page (bytes)",
    yLabel: "lowmem (MiB)",
    yUnit: MIB,
  },

  run({ shifts, struct, types, machine }, step) {
    const structBytes = wholeNumber("struct", struct!, 1);
    const atomicTypes = wholeNumber("types", types!, 1);
    const rows = shifts!
      .split(",")
      .map((text) => start(machine!, wholeNumber("shifts", text, 0), structBytes, atomicTypes, step));
    return { rows, verdict: rows.map(sentence).join(" ") };
  },
};

function start(machine: string, shift: number, structBytes: number, atomicTypes: number, step: Step): Row {
  step(`pages of ${(PAGE_SIZE << shift) / 1024} KiB`);
  const spec = specOf(machine, undefined, [
    `geometry.pageStructBytes=${structBytes}`,
    `geometry.atomicTypes=${atomicTypes}`,
    "memMap=discontig",
  ]);
  const { geometry, kernel } = spec;
  const layout = layOutMemory(geometry, footprintOf(kernel, geometry.paging), mapLayouts.discontig, shift);
  const { cpus } = geometry;
  const fixmapStart = scaledFixmapStart({ cpus, softPageShift: shift, atomicTypes });
  if (shift === 0) new Machine(spec).spawn("first");
  return {
    softPageBytes: PAGE_SIZE << shift,
    memMap: "discontig",
    ...remapOf(layout),
    fixmapBytes: 0xffff_f000 - fixmapStart,
    fixmapStart: `0x${fixmapStart.toString(16)}`,
    lowmemFreeBytes: framesBelow(layout, layout.lowmemEnd) * PAGE_SIZE,
  };
}

function remapOf({ memMap, lowmemEnd, highStart, frames }: BootLayout): Row {
  const held = memMap!.parts.map(({ ranges }) => ranges.reduce((sum, { first, end }) => sum + end - first, 0));
  const [own, ...others] = held;
  const remapped = highStart - lowmemEnd;
  return {
    nodes: held.length,
    mapOfFirstNodeFrames: own!,
    mapOfAnotherNodeFrames: others[0] ?? 0,
    mapOfAnotherNodeBytes: (others[0] ?? 0) * PAGE_SIZE,
    remappedFrames: remapped,
    remappedBytes: remapped * PAGE_SIZE,
    highStart,
    lowmemBytes: lowmemEnd * PAGE_SIZE,
    highmemBytes: (frames - highStart) * PAGE_SIZE,
  };
}

/** Frames below `end` that boot has left free. */
const framesBelow = ({ free }: BootLayout, end: number): number =>
  free.reduce((sum, range) => sum + Math.max(0, Math.min(range.end, end) - range.first), 0);

const inMiB = (bytes: unknown): number => Math.round(Number(bytes) / MIB);

const sentence = (row: Row): string =>
  `Pages of ${Number(row.softPageBytes) / 1024} KiB: ${inMiB(row.mapOfAnotherNodeBytes)} MiB of struct pages for each other node, ${inMiB(row.remappedBytes)} MiB for all, lowmem ${inMiB(row.lowmemBytes)} MiB, highmem from frame ${row.highStart}.`;
