/**
 * Soft pages of 2 MiB: the kernel's own pages as large as the hardware's big ones, so that struct pages are next to nothing. What
 * that saves, what small things then cost, and what it does for the TLB: the entries are those of 4 KiB still, unless programs
 * get big pages, whose few entries in the TLB the kernel's own map needs as well.
 */

import { PAGE_SIZE } from "../../base/units.ts";
import { layOutMemory } from "../../boot.ts";
import { footprintOf } from "../../footprint.ts";
import { Machine } from "../../machine.ts";
import { mapLayouts } from "../../mm/memmap/mem-maps.ts";
import { OWNER_MEM_MAP } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { readSmallFiles, writeSmallAreas } from "../memory/soft-page-loads.ts";
import { bigTlb } from "./big-tlb.ts";
import { type Experiment, type Row, wholeNumber } from "./experiment.ts";

const MIB = 2 ** 20;
const orders = [0, 4, 9] as const;

export const soft2m: Experiment = {
  name: "soft-2m",
  claim:
    "2M pages could speed up some application: 8 of the TLB's entries reach 16M of data instead of 256K; but we would basically waste the 4k tlb slots, and share the same slots with the kernel. The main advantage is that the page structure's handling need not change.",
  source: 'Andrea Arcangeli, "Re: Virtual address space exhaustion", linux-kernel, May 2002',
  parameters: {
    files: { text: "40", about: "small files that are read" },
    areas: { text: "40", about: "small areas that a program writes to here and there" },
    reads: { text: "20000", about: "reads of an area of 16 MiB, each of another place" },
    machine: { text: "piii-4g", about: "a machine preset, for all that is run" },
    large: { text: "piii-xeon-64g", about: "a machine preset, whose struct pages are counted" },
  },
  published: [
    { what: "struct pages of 64 GiB at 44 bytes, pages of 4 KiB, MiB", value: 704, source: "arithmetic" },
    { what: "the same, pages of 2 MiB, MiB", value: 1.375, source: "arithmetic" },
    { what: "reach of 8 entries for pages of 2 MiB, MiB", value: 16, source: "the mail" },
    { what: "reach of 64 entries for pages of 4 KiB, KiB", value: 256, source: "the mail" },
    {
      what: "left unused at the end of a file, KiB",
      value: 1022,
      source: "arithmetic: half of 511 parts, large files",
    },
  ],
  plot: {
    x: "softPageBytes",
    y: "fileFrames",
    line: ["entries"],
    xLabel: "the kernel's own page (KiB)",
    yLabel: "frames that hold the small files",
    yUnit: 1,
  },

  run({ files, areas, reads, machine, large }, step) {
    const counts = { files: wholeNumber("files", files!, 1), areas: wholeNumber("areas", areas!, 1) };
    const tlb = bigTlb.run({ tlbs: "p6", sizes: "16M", reads: reads!, kernel: "4" }, step).rows;
    const misses = (pages: string, sharing: string): number =>
      Number(tlb.find((row) => row.pages === pages && row.sharing === sharing)!.missesPerThousand);
    const sharings = [...new Set(tlb.map((row) => String(row.sharing)))];
    const rows = orders.flatMap((order) => {
      step(`pages of ${4 << order} KiB`);
      const held = hold(machine!, order, counts);
      const struct = structPagesBytes(large!, order);
      // Big entries are for pages that are whole in one soft page.
      const sizes = order === 9 ? ["4K", "2M"] : ["4K"];
      return sizes.map(
        (entries): Row => ({
          softPageBytes: PAGE_SIZE << order,
          entries,
          structPagesBytes: struct,
          ...held,
          missesAlone: misses(entries, sharings[0]!),
          missesWithKernel: misses(entries, sharings[1]!),
        }),
      );
    });
    return { rows, verdict: verdictOn(rows) };
  },
};

function structPagesBytes(name: string, order: number): number {
  const { geometry, kernel } = specOf(name, undefined, ["geometry.pageStructBytes=44"]);
  const { reserved } = layOutMemory(geometry, footprintOf(kernel, geometry.paging), mapLayouts.flat, order);
  const ranges = reserved.filter(({ owner }) => owner === OWNER_MEM_MAP);
  return ranges.reduce((sum, { first, end }) => sum + end - first, 0) * PAGE_SIZE;
}

function hold(name: string, order: number, counts: { readonly files: number; readonly areas: number }): Row {
  const machine = () => new Machine(specOf(name, "linux-2.6.0", [`softPageShift=${order}`, "geometry.cpus=1"]));
  const files = readSmallFiles(machine(), counts.files, 1);
  const areas = writeSmallAreas(machine(), counts.areas, 1);
  return {
    filePages: files.asked,
    fileFrames: files.frames,
    areaPagesWritten: areas.asked,
    areaFrames: areas.frames,
    areaFaults: areas.faults,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const of = (order: number, entries = "4K"): Row =>
    rows.find((row) => row.softPageBytes === PAGE_SIZE << order && row.entries === entries)!;
  const [small, soft, big] = [of(0), of(9), of(9, "2M")];
  const times = (key: string, asked: string): number => Math.round(Number(soft[key]) / Number(soft[asked]));
  return [
    `Struct pages shrink from ${Number(small.structPagesBytes) / MIB} to ${Math.round((Number(soft.structPagesBytes) * 100) / MIB) / 100} MiB.`,
    `Small files take ${times("fileFrames", "filePages")} times the memory that they hold, small areas ${times("areaFrames", "areaPagesWritten")} times what is written to them, for ${soft.areaFaults} faults instead of ${small.areaFaults}.`,
    `Of a thousand reads of 16 MiB ${soft.missesAlone} miss the TLB, as with pages of 4 KiB: entries are what they were. With big entries ${big.missesAlone} do, and ${big.missesWithKernel} with the kernel's own map in the same entries.`,
  ].join(" ");
}
