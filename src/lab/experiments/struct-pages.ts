/**
 * What the struct pages of huge pages take, and what is left of them where they are given back: pools of several sizes, of
 * pages of 2 MiB and of 1 GiB, on a machine with memory enough for the largest.
 *
 *     2 MiB   |ssssssss|  8 pages of struct pages  ->  |s|     1 GiB   4096 pages  ->  1
 */
import { parseSize } from "../../base/size-text.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { memorySnapshot } from "../snapshot.ts";
import type { Experiment, Row, Step } from "./experiment.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

/** Page sizes of pools, and the setting that fills them. */
const sizes = [
  { name: "2M", bytes: 2 * MIB, setting: "hugePages" },
  { name: "1G", bytes: GIB, setting: "hugePages1G" },
] as const;

export const structPages: Experiment = {
  name: "struct-pages",
  claim:
    "All struct pages of a huge page but the first are alike: of the 8 pages that hold them for 2 MiB 7 can be given back, of the 4096 for 1 GiB 4095.",
  source: "Linux 6.1, Documentation/mm/vmemmap_dedup.rst; Muchun Song, since 2021",
  parameters: {
    machine: { text: "icelake-1t", about: "a machine preset" },
    pools: { text: "2G,64G,256G", about: "how much memory the pool holds" },
  },
  published: [
    { what: "struct pages of 2 GiB, MiB", value: 32, source: "arithmetic: 64 bytes for 4 KiB" },
    { what: "of which are given back in a pool of pages of 2 MiB, MiB", value: 28, source: "arithmetic: 7 of 8 pages" },
    { what: "left of 256 GiB in a pool of pages of 2 MiB, MiB", value: 512, source: "arithmetic: 1 of 8 pages" },
    { what: "left of 256 GiB in a pool of pages of 1 GiB, MiB", value: 1, source: "arithmetic: 1 of 4096 pages" },
  ],
  plot: {
    x: "poolBytes",
    y: "leftBytes",
    line: ["pageSize", "vmemmap"],
    xLabel: "memory in the pool (GiB)",
    yLabel: "struct pages of the pool (MiB)",
    yUnit: MIB,
  },

  run({ machine, pools }, step) {
    const rows = pools!
      .split(",")
      .flatMap((text) =>
        sizes.flatMap((size) =>
          ["full", "hugetlb-optimised"].map((vmemmap) => fill(machine!, text, size, vmemmap, step)),
        ),
      );
    return { rows, verdict: verdictOn(rows) };
  },
};

function fill(machine: string, text: string, size: (typeof sizes)[number], vmemmap: string, step: Step): Row {
  step(`a pool of ${text} in pages of ${size.name}, struct pages ${vmemmap}`);
  const asked = Math.floor(parseSize(text) / size.bytes);
  const settings = [`tunables.${size.setting}=${asked}`, `vmemmap=${vmemmap}`];
  const { kernel } = new Machine(specOf(machine, undefined, settings));
  const pool = kernel.bigPages.pools.find(({ pages }) => pages * PAGE_SIZE === size.bytes)!;
  const { vmemmapFreedBytes, memMapBytes, freeBytes } = memorySnapshot(kernel);
  const structPagesBytes = pool.structPageBytes;
  return {
    pageSize: size.name,
    vmemmap,
    poolBytes: pool.total * size.bytes,
    askedBytes: asked * size.bytes,
    structPagesBytes,
    givenBackBytes: vmemmapFreedBytes,
    leftBytes: structPagesBytes - vmemmapFreedBytes,
    memMapBytes,
    freeBytes,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const parts = rows
    .filter(({ vmemmap }) => vmemmap === "hugetlb-optimised")
    .map(
      (row) =>
        `${inMib(row.leftBytes)} of ${inMib(row.structPagesBytes)} for ${Number(row.poolBytes) / GIB} GiB in pages of ${row.pageSize}`,
    );
  return `Left of struct pages: ${parts.join(", ")}. What is given back is free memory.`;
}

const inMib = (bytes: string | number | undefined): string => `${Number(bytes) / MIB} MiB`;
