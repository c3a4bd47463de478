/**
 * What struct pages take, by how large a kernel has made them, and what is left of lowmem when they lie there: the machine
 * is laid out as its boot does it, and started if there is room.
 */
import { UsageError } from "../../base/errors.ts";
import { formatSize } from "../../base/size-text.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import { requireOption } from "../../design.ts";
import { isNarrow } from "../../geometry.ts";
import { pagingFormats } from "../../hw/paging-format.ts";
import { Machine } from "../../machine.ts";
import { type StructPageName, structPageBytes, structPages } from "../../mm/memmap/struct-page.ts";
import { OWNER_MEM_MAP, ZONE_HIGHMEM } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { type Experiment, type Row, type Step, steps } from "./experiment.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Bytes of struct page, and what they come to, in MiB, by GiB of memory. */
const published: Readonly<Record<number, readonly (readonly [number, number])[]>> = {
  4: [
    [32, 32],
    [40, 40],
    [44, 44],
    [48, 48],
    [56, 56],
    [64, 64],
  ],
  16: [
    [32, 128],
    [40, 160],
    [44, 176],
    [48, 192],
    [56, 224],
    [64, 256],
  ],
  32: [
    [32, 256],
    [40, 320],
    [44, 352],
    [48, 384],
    [56, 448],
    [64, 512],
  ],
  64: [
    [32, 512],
    [40, 640],
    [44, 704],
    [48, 768],
    [56, 896],
    [64, 1024],
  ],
};

const isStructPage = (name: string): name is StructPageName => Object.hasOwn(structPages, name);

export const memmap: Experiment = {
  name: "memmap",
  claim:
    "A struct page of 32 bytes takes 512 MB of lowmem on a machine with 64 GB; those that kernels had took up to all of it, and more.",
  source: "William Lee Irwin III, linux-kernel, May 2002; fields of struct page from 2.4.0 to today",
  parameters: {
    gigabytes: { text: "4,16,32,64", about: "memory, in GiB" },
    machine: {
      text: "piii-xeon-64g",
      about: "a machine preset; where addresses have 64 bits there is no lowmem to lack",
    },
    kernels: { text: "2.4.0,rhel3,2.4.22,2.5.27,2.5.46,2.6.7", about: `of ${Object.keys(structPages).join(", ")}` },
    layouts: { text: "flat,per-task-window", about: "options of memMap" },
  },
  published: Object.entries(published).flatMap(([gigabytes, cells]) =>
    cells.map(([bytes, mib]) => ({
      what: `struct pages of ${bytes} bytes, ${gigabytes} GiB, MiB`,
      value: mib,
      source: bytes === 32 && mib === 512 ? "the same mail" : "arithmetic",
    })),
  ),
  plot: {
    x: "gigabytes",
    y: "lowmemFreeBytes",
    line: ["structPage", "memMap"],
    xLabel: "memory (GiB)",
    yLabel: "lowmem free after boot (MiB)",
    yUnit: MIB,
  },

  run({ gigabytes, machine, kernels, layouts }, step) {
    const names = kernels!.split(",").map((name) => {
      if (isStructPage(name)) return name;
      throw new UsageError(
        `--kernels ${name}: there is no such struct page; there are ${Object.keys(structPages).join(", ")}`,
      );
    });
    const options = layouts!.split(",").map((layout) => requireOption("memMap", layout));
    const rows = steps("gigabytes", gigabytes!).flatMap((size) =>
      names.flatMap((name) => options.map((layout) => start(machine!, size, name, layout, step))),
    );
    return { rows, verdict: verdictOn(rows) };
  },
};

function start(machine: string, gigabytes: number, name: StructPageName, memMap: string, step: Step): Row {
  step(`${gigabytes} GiB, ${name}, ${memMap}`);
  const structBytes = structPageBytes(name);
  const spec = specOf(machine, undefined, [
    `geometry.memory=${gigabytes}G`,
    `geometry.pageStructBytes=${structBytes}`,
    "geometry.cpus=1",
    `memMap=${memMap}`,
  ]);
  const bytes = (gigabytes * GIB * structBytes) / PAGE_SIZE;
  const row = { gigabytes, structPage: name, structBytes, memMap, structPagesBytes: bytes };
  try {
    const { allocator } = new Machine(spec).kernel;
    const low = allocator.zones.filter(({ kind }) => kind !== ZONE_HIGHMEM);
    const free = low.reduce((sum, zone) => sum + zone.free, 0);
    const inLowmem = low.reduce((sum, zone) => sum + zone.ownedBy(OWNER_MEM_MAP), 0);
    return { ...row, starts: "yes", memMapInLowmemBytes: inLowmem * PAGE_SIZE, lowmemFreeBytes: free * PAGE_SIZE };
  } catch (error) {
    if (!(error instanceof UsageError) || !isNarrow(pagingFormats[spec.geometry.paging])) throw error;
    return { ...row, starts: "no", memMapInLowmemBytes: bytes, lowmemFreeBytes: 0 };
  }
}

function verdictOn(rows: readonly Row[]): string {
  const most = Math.max(...rows.map(({ gigabytes }) => Number(gigabytes)));
  return rows
    .filter(({ gigabytes }) => gigabytes === most)
    .map(({ structPage, memMap, structPagesBytes, starts, lowmemFreeBytes }) => {
      const left = starts === "yes" ? `${formatSize(Number(lowmemFreeBytes))} of lowmem left` : "no room to start";
      return `${most} GiB, ${structPage}, ${memMap}: ${formatSize(Number(structPagesBytes))} of struct pages, ${left}.`;
    })
    .join(" ");
}
