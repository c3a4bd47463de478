/**
 * What finding a frame's entries costs in memory where thousands of processes map one segment: every generation of
 * chains, with the cache lines and the widths of links that its machines had, and the reverse maps that keep nothing.
 * The processes are real ones of the simulated machine. Every page of the segment is mapped by all of them and so has
 * the same chain: of most variants a few pages are mapped, and multiplied; of some the whole segment is, by everybody,
 * on the machine that has room for that: chains of several GiB must be in highmem, beside page tables of several GiB.
 */
import { UsageError } from "../../base/errors.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { Sharers } from "../memory/sharers.ts";
import { type Experiment, type Row, type Step, wholeNumber, wholePages } from "./experiment.ts";

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
    "Where 5000 processes share 2 GB, page tables take 10 GB, and the chains of the reverse map twice that: more than any lowmem has.",
  source:
    'Martin Bligh, linux-kernel, 2002; the remedies were discussed in "What to expect with the 2.6 VM", July 2003',
  parameters: {
    processes: { text: "5000", about: "how many map the segment" },
    size: { text: "2G", about: "the segment" },
    pages: { text: "4", about: "pages of it that are really mapped; the others cost the same and are multiplied" },
    whole: {
      text: "pte-chain-e/32/8",
      about: "variants of which the whole segment is mapped: MAP/LINE/8,MAP/LINE/8,..., or none",
    },
    machine: { text: "piii-xeon-64g", about: "a 32-bit machine preset" },
  },
  published: [
    { what: "page tables of 5000 processes that share 2 GB (4-byte entries)", value: "10 GB", source: "Martin Bligh" },
    { what: "their chains, 8 bytes a mapping", value: "twice that", source: "Martin Bligh" },
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

  run({ processes, size, pages, whole, machine }, step) {
    const count = wholeNumber("processes", processes!, 1);
    const segmentPages = wholePages("size", size!, 2);
    const mapped = Math.min(segmentPages, wholeNumber("pages", pages!, 2));
    const entire = wholeVariants(whole!);
    const rows = variants.map((variant) => {
      const load = { machine: machine!, processes: count, pages: segmentPages };
      return entire.has(nameOf(variant)) ? wholeCost(load, variant, step) : cost(load, variant, mapped, step);
    });
    return { rows, verdict: verdictOn(rows) };
  },
};

const nameOf = ({ reverseMap, lineBytes, linkBytes }: Variant): string => `${reverseMap}/${lineBytes}/${linkBytes}`;

/** The variants whose whole segment is to be mapped: their chains can be in highmem, and their links are what they are there. */
function wholeVariants(text: string): ReadonlySet<string> {
  if (text === "none") return new Set();
  const possible = variants.filter(({ linkBytes }) => linkBytes === 8).map(nameOf);
  const names = text.split(",");
  const bad = names.find((name) => !possible.includes(name));
  if (bad === undefined) return new Set(names);
  throw new UsageError(`--whole ${bad}: expected none, or some of ${possible.join(", ")}`);
}

interface Load {
  readonly machine: string;
  readonly processes: number;
  /** Of the segment. */
  readonly pages: number;
}

function machineOf({ machine }: Load, variant: Variant, more: readonly string[]): Machine {
  const { reverseMap, lineBytes, linkBytes, mlock } = variant;
  const settings = [
    `reverseMap=${reverseMap}`,
    `mlock=${mlock}`,
    `pageTablePlacement=${linkBytes === 8 ? "highmem" : "lowmem"}`,
    `geometry.cacheLineBytes=${lineBytes}`,
    "geometry.cpus=1",
  ];
  return new Machine(specOf(machine, "linux-2.6.11", [...settings, ...more]));
}

/** Everybody maps every page. */
function wholeCost(load: Load, variant: Variant, step: Step): Row {
  const machine = machineOf(load, variant, ["reverseMapPlacement=highmem"]);
  const sharers = new Sharers(machine, load.pages * PAGE_SIZE);
  for (let at = 0; at < load.processes; at++) {
    step(`${nameOf(variant)}, the whole segment: process ${at + 1} of ${load.processes}`);
    sharers.fill(sharers.join());
  }
  // A block that the CPU has in hand is less than a byte a page.
  return rowOf(machine, variant, load, load.pages, Math.floor(machine.kernel.reverseMap.bytes / load.pages));
}

/** Everybody maps a few pages. */
function cost(load: Load, variant: Variant, pages: number, step: Step): Row {
  const { processes } = load;
  const { mlock } = variant;
  step(nameOf(variant));
  const machine = machineOf(load, variant, []);
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
  return rowOf(machine, variant, load, pages, (last - first) / (pages - 1));
}

function rowOf({ kernel }: Machine, variant: Variant, load: Load, mapped: number, bytesPerPage: number): Row {
  const { reverseMap, lineBytes, linkBytes, mlock } = variant;
  const { processes, pages } = load;
  return {
    reverseMap,
    mlock,
    lineBytes,
    linkBytes,
    processes,
    pagesMapped: mapped,
    adds: kernel.reverseMap.costs.adds,
    bytesPerPage,
    segmentBytes: bytesPerPage * pages,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const chained = rows.filter(({ segmentBytes }) => Number(segmentBytes) > 0);
  const [least, most] = [Math.min, Math.max].map(
    (pick) => pick(...chained.map(({ segmentBytes }) => Number(segmentBytes))) / 2 ** 30,
  );
  return `Chains take ${least!.toFixed(2)} to ${most!.toFixed(2)} GiB where lowmem is less than one; without chains, or with locks that are only counted, the same processes take nothing for them.`;
}
