/**
 * What finding a frame's entries costs in memory where thousands of processes map one segment: every generation of
 * chains, with the cache lines and the widths of links that its machines had, and the reverse maps that keep nothing.
 * The processes are real ones of the simulated machine. Every page of the segment is mapped by all of them and so has
 * the same chain: pages beyond those that are really mapped are multiplied, not run.
 */
import { UsageError } from "../../base/errors.ts";
import { parseSize } from "../../base/size-text.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { Sharers } from "../memory/sharers.ts";
import { type Experiment, type Row, type Step, wholeNumber } from "./experiment.ts";

interface Variant {
  readonly reverseMap: string;
  readonly lineBytes: number;
  /** Bytes of what names an entry: 8 where page tables are in highmem, with PAE. */
  readonly linkBytes: 4 | 8;
  readonly mlock: "chained" | "counted";
}

const lines = [32, 64, 128] as const;
const widths = [4, 8] as const;
const without = ["object-chain-incremental", "object-anon", "anonmm", "none"] as const;

const variants: readonly Variant[] = [
  { reverseMap: "pte-chain-a", lineBytes: 32, linkBytes: 4, mlock: "chained" },
  ...["pte-chain-b", "pte-chain-e"].flatMap((reverseMap) =>
    widths.flatMap((linkBytes) =>
      lines.map((lineBytes) => ({ reverseMap, lineBytes, linkBytes, mlock: "chained" }) as const),
    ),
  ),
  ...without.map((reverseMap) => ({ reverseMap, lineBytes: 32, linkBytes: 4, mlock: "chained" }) as const),
  { reverseMap: "pte-chain-e", lineBytes: 32, linkBytes: 4, mlock: "counted" },
];

const EXAMPLE = "arithmetic for 5000 processes and 2 GiB";
const total = (what: string, perPage: number) => ({
  what: `${what}: bytes a page`,
  value: perPage,
  source: `${EXAMPLE}, ${((perPage * 2 ** 19) / 2 ** 30).toFixed(3)} GiB in all`,
});

export const rmapCost: Experiment = {
  name: "rmap-cost",
  claim:
    "Moving reverse maps to highmem, chaining less, or not chaining at all: what chains cost is what big shared segments die of.",
  source: 'William Lee Irwin III, "Re: What to expect with the 2.6 VM", linux-kernel, July 2003',
  parameters: {
    processes: { text: "5000", about: "how many map the segment" },
    size: { text: "2G", about: "the segment" },
    pages: { text: "4", about: "pages of it that are really mapped; the others cost the same and are multiplied" },
    machine: { text: "piii-xeon-64g", about: "a 32-bit machine preset" },
  },
  published: [
    total("8-byte links", 40_000),
    total("lines of 32 bytes, 4-byte links", 22_880),
    total("lines of 64 bytes, 4-byte links", 21_376),
    total("lines of 128 bytes, 4-byte links", 20_736),
    total("lines of 32 bytes, 8-byte links", 53_344),
    total("lines of 64 bytes, 8-byte links", 45_760),
    total("lines of 128 bytes, 8-byte links", 42_752),
    { what: "through the file's areas", value: 0, source: EXAMPLE },
    { what: "locked before it is filled, without chains", value: 0, source: EXAMPLE },
  ],
  plot: {
    x: "lineBytes",
    y: "segmentBytes",
    line: ["reverseMap", "linkBytes"],
    xLabel: "cache line (bytes)",
    yLabel: "chains of the segment (GiB)",
    yUnit: 2 ** 30,
  },

  run({ processes, size, pages, machine }, step) {
    const count = wholeNumber("processes", processes!, 1);
    const segmentPages = parseSize(size!) / PAGE_SIZE;
    if (segmentPages < 2 || !Number.isInteger(segmentPages))
      throw new UsageError(`--size ${size}: expected whole pages`);
    const mapped = Math.min(segmentPages, wholeNumber("pages", pages!, 2));
    const rows = variants.map((variant) => cost(machine!, variant, count, mapped, segmentPages, step));
    return { rows, verdict: verdictOn(rows) };
  },
};

function cost(name: string, variant: Variant, processes: number, pages: number, of: number, step: Step): Row {
  const { reverseMap, lineBytes, linkBytes, mlock } = variant;
  step(`${reverseMap}, lines of ${lineBytes} bytes, links of ${linkBytes}`);
  const machine = new Machine(
    specOf(name, "linux-2.6.11", [
      `reverseMap=${reverseMap}`,
      `mlock=${mlock}`,
      `pageTablePlacement=${linkBytes === 8 ? "highmem" : "lowmem"}`,
      `geometry.cacheLineBytes=${lineBytes}`,
      "geometry.cpus=1",
    ]),
  );
  const { kernel } = machine;
  const sharers = new Sharers(machine, pages * PAGE_SIZE);
  for (let at = 0; at < processes; at++) sharers.join();
  const touchAll = (page: number): number => {
    for (const thread of sharers.threads) {
      if (mlock === "counted") sharers.call(thread, "mlock", page, 1);
      sharers.touch(thread, LOAD, page, 1);
    }
    return kernel.reverseMap.bytes;
  };
  // What does not grow with the pages is not theirs: a block that the CPU has in hand, families of address spaces.
  const first = touchAll(0);
  let last = first;
  for (let page = 1; page < pages; page++) last = touchAll(page);
  const perPage = (last - first) / (pages - 1);
  return {
    reverseMap,
    mlock,
    lineBytes,
    linkBytes,
    processes,
    pagesMapped: pages,
    adds: kernel.reverseMap.costs.adds,
    bytesPerPage: perPage,
    segmentBytes: perPage * of,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const chained = rows.filter(({ segmentBytes }) => Number(segmentBytes) > 0);
  const [least, most] = [Math.min, Math.max].map(
    (pick) => pick(...chained.map(({ segmentBytes }) => Number(segmentBytes))) / 2 ** 30,
  );
  return `Chains take ${least!.toFixed(2)} to ${most!.toFixed(2)} GiB where lowmem is less than one; without chains, or with locks that are only counted, the same processes take nothing for them.`;
}
