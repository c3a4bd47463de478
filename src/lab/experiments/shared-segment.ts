/**
 * The load that all of this was about: thousands of processes that map one large segment of shared memory, and have all
 * of it in their page tables. Each design is run with as many of them as it can hold: to the last one, or to the one at
 * which the kernel has to kill somebody for memory. What that memory was used for at that moment says what was short. Where
 * tables leave memory when it is short nobody is killed: then the run ends with the first that have all left, for others'.
 *
 *     postmaster --- backend 1    maps the segment, populates all of it, stays
 *                --- backend 2
 *                ...
 *
 * At the end a few of those that run read pages of the segment at random, and the misses of their TLBs are counted.
 */
import { UsageError } from "../../base/errors.ts";
import { formatSize } from "../../base/size-text.ts";
import { addressOf } from "../../base/units.ts";
import { rulesWith } from "../../design-rules.ts";
import { LEAF } from "../../mm/page-table.ts";
import { OWNER_MEM_MAP, OWNER_PAGE_TABLES, OWNER_REVERSE_MAP, type Owner, ZONE_HIGHMEM } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { parseDesign } from "../../settle-design.ts";
import { type Experiment, type Row, type Step, type Value, wholeNumber, wholePages } from "./experiment.ts";
import { chosen, designs, type NamedDesign, poolFor } from "./shared-segment-designs.ts";
import { type Held, SegmentLoad } from "./shared-segment-load.ts";

const TODAY = "arithmetic for 5000 processes and 256 GiB on x86-64";
const EXAMPLE = "arithmetic for 5000 processes and 2 GiB";

export const sharedSegment: Experiment = {
  name: "shared-segment",
  claim:
    "Where 5000 processes all want to map a big shared memory area, the solution really is a \"don't do it then\" kind of thing: page tables that are given back when they are empty won't actually help in real life.",
  source: "Linus Torvalds, linux-kernel, 22 May 2002",
  parameters: {
    processes: { text: "5000", about: "how many map the segment, and populate all of it" },
    size: { text: "2G", about: "the segment" },
    machine: { text: "piii-xeon-64g", about: "a machine preset" },
    kernel: { text: "linux-2.6.0", about: "a kernel preset: all that a design leaves open" },
    designs: {
      text: "all",
      about: `all that such machines had, or some of ${designs.map(({ name }) => name).join(", ")}; by default highpte-high-chains and the two that share tables take most of the time, some 15 seconds each`,
    },
    touch: { text: "all", about: "what each process after the first touches: all, or its own random share, as 1%" },
  },
  published: [
    { what: "leaf tables, PAE, GiB", value: 19.531, source: `${EXAMPLE}: 1024 each` },
    { what: "leaf tables, two levels, GiB", value: 9.766, source: `${EXAMPLE}: 512 each` },
    {
      what: "upper tables, PAE, bytes",
      value: 61_600_000,
      source: `${EXAMPLE}: 3 pages and 32 bytes each; here the 32 bytes, too, have a page`,
    },
    { what: "processes of 2 GiB whose tables fit 896 MiB, PAE (nothing else there)", value: 223, source: "arithmetic" },
    { what: "the same with two levels", value: 447, source: "arithmetic" },
    { what: "chains, lines of 32 bytes, 4-byte links, GiB", value: 11.172, source: EXAMPLE },
    { what: "chains, lines of 32 bytes, 8-byte links (highpte), GiB", value: 26.047, source: EXAMPLE },
    { what: "chains where areas are searched, or where leaf tables are shared", value: 0, source: EXAMPLE },
    { what: "leaf tables where they are shared, PAE, MiB", value: 4, source: EXAMPLE },
    { what: "mappings, and so page faults", value: 2_621_440_000, source: EXAMPLE },
    { what: "all tables, four levels, 4 KiB pages, TiB", value: 2.45, source: TODAY },
    { what: "the same with huge pages of 2 MiB, GiB", value: 4.9, source: TODAY },
    { what: "the same with tables of huge pages in common, MiB", value: 40, source: TODAY },
    { what: "the same with huge pages of 1 GiB, MiB", value: 39, source: TODAY },
    { what: "the same with one tree of 4 KiB pages for all, MiB", value: 552.07, source: TODAY },
    { what: "struct pages of 256 GiB, GiB", value: 4, source: "arithmetic: 64 bytes each" },
    { what: "the same where those of 2 MiB pages are folded, MiB", value: 512, source: "arithmetic: 4 KiB for each" },
    { what: "the same of 1 GiB pages, MiB", value: 1, source: "arithmetic: 4 KiB for each" },
    {
      what: "leaf tables of 1500 clients and 300 GiB, GiB",
      value: 878.9,
      source: "arithmetic; 880.6 with those above",
    },
    { what: "leaf tables of 100 clients and 100 GiB, GiB", value: 19.53, source: "arithmetic; 19.57 with those above" },
  ],
  plot: {
    x: "processes",
    y: "lowmemFreeBytes",
    line: ["design"],
    xLabel: "processes that run",
    yLabel: "free lowmem then (MiB)",
    yUnit: 2 ** 20,
  },

  run({ processes, size, machine, kernel, designs: names, touch }, step) {
    const count = wholeNumber("processes", processes!, 1);
    const bytes = addressOf(wholePages("size", size!));
    const share = shareOf(touch!);
    const base = specOf(machine!, kernel!);
    const rows = chosen(names!, base, bytes).map((named) => {
      const { design, segment = "shmem" } = named;
      const tunables = { ...base.tunables, ...poolFor(segment, base, bytes) };
      const spec = { ...base, tunables, design: parseDesign(design, base.design, rulesWith(base.geometry)) };
      const load = () => new SegmentLoad(spec, bytes, named, share);
      if (named.wants !== undefined && load().hasNoHugePages()) return rowLike(named, load());
      return rowOf(named.name, load(), count, step);
    });
    return { rows, verdict: rows.map((row) => sentence(row, count)).join(" ") };
  },
};

/** "all" or a share in percent, as a part of 1. */
function shareOf(text: string): number {
  if (text === "all") return 1;
  const percent = /^(\d+(?:\.\d+)?)%$/.exec(text);
  const share = percent === null ? Number.NaN : Number(percent[1]) / 100;
  if (share > 0 && share <= 1) return share;
  throw new UsageError(`--touch ${text}: expected all, or a share of more than 0%, and 100% at most`);
}

const ALL = "all run";
const TURNS = "more run by turns";

function rowOf(name: string, load: SegmentLoad, processes: number, step: Step): Row {
  let held = load.held();
  let isGrowing = true;
  while (isGrowing && held.processes < processes && !load.displacesOthers) {
    step(`${name}: process ${held.processes + 1} of ${processes}`);
    isGrowing = load.grow();
    if (isGrowing) held = load.held();
  }
  const ends = held.processes === processes ? ALL : TURNS;
  const arithmetic = load.arithmetic(held.processes);
  const used = lowmemOf(load);
  const { reads, misses } = load.read(held.processes);
  return {
    design: name,
    processes: held.processes,
    outcome: isGrowing ? ends : `process ${held.processes + 1}: no ${load.shortage}`,
    ...tablesOf(held),
    arithmeticTablesBytes: arithmetic === undefined ? "" : arithmetic.leaf + arithmetic.upper,
    arithmeticLeafOfAllBytes: load.arithmetic(processes)?.leaf ?? "",
    arithmeticFit: load.arithmeticFit() ?? "",
    structPagesBytes: load.structPagesBytes,
    reverseMapBytes: held.reverseMapBytes,
    ...used,
    pageFaults: held.pageFaults,
    reads,
    tlbMisses: misses,
  };
}

/** A row without numbers: they would be another one's again. */
function rowLike({ name, wants }: NamedDesign, nobody: SegmentLoad): Row {
  const row = rowOf(name, nobody, 0, () => {});
  const blank = Object.fromEntries(Object.keys(row).map((key): [string, Value] => [key, ""]));
  return { ...blank, design: name, outcome: `as ${wants!.else}: no ${wants!.what}` };
}

const LEVELS = ["leaf", "second", "third", "fourth", "fifth"];

/** Page tables by level, and all of them. */
function tablesOf({ tables }: Held): Row {
  const levels = tables.slice(LEAF);
  const each = levels.map((count, at): [string, number] => [`${LEVELS[at]}TablesBytes`, addressOf(count)]);
  return { ...Object.fromEntries(each), tablesBytes: addressOf(sum(levels)) };
}

/** What lowmem is used for, and what is left of it. */
function lowmemOf({ memory }: SegmentLoad): Row {
  const low = memory.filter(({ kind }) => kind !== ZONE_HIGHMEM);
  const inLow = (owner: Owner): number => addressOf(sum(low.map(({ owned }) => owned[owner]!)));
  const [memMap, tables, chains] = [OWNER_MEM_MAP, OWNER_PAGE_TABLES, OWNER_REVERSE_MAP].map(inLow);
  const all = addressOf(sum(low.flatMap(({ owned }) => owned)));
  return {
    lowmemFreeBytes: addressOf(sum(low.map(({ unused }) => unused))),
    lowmemMemMapBytes: memMap!,
    lowmemTablesBytes: tables!,
    lowmemChainsBytes: chains!,
    lowmemOtherBytes: all - memMap! - tables! - chains!,
  };
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** A row in words. */
function sentence(row: Row, processes: number): string {
  const size = (key: string): string => formatSize(Number(row[key]));
  const { design } = row;
  if (row.processes === "") {
    const { wants } = designs.find(({ name }) => name === design)!;
    return `${design}: a process has touched what one of the ${wants!.what} covers, and was given none: ${wants!.because}. So it is as ${wants!.else}.`;
  }
  if (row.outcome === TURNS) {
    return `${design}: ${row.processes} run, and whoever comes after them, too: a process has the memory of others' tables then, ${size("leafTablesBytes")} in all, and they have a fault for each page when they are back.`;
  }
  if (row.outcome === ALL) {
    const chains = row.reverseMapBytes === 0 ? "no chains" : `${size("reverseMapBytes")} of chains`;
    const above = formatSize(Number(row.tablesBytes) - Number(row.leafTablesBytes));
    return `${design}: all ${processes} run, with ${size("leafTablesBytes")} of leaf tables and ${above} of others, and ${chains}.`;
  }
  const uses = {
    lowmemMemMapBytes: "map of all frames",
    lowmemTablesBytes: "page tables",
    lowmemChainsBytes: "chains",
  };
  const parts = Object.entries(uses).filter(([key]) => Number(row[key]) > 0);
  const used = parts.map(([key, what]) => `${size(key)} ${what}`).join(", ");
  return `${design}: ${row.processes} run; then lowmem is ${used}, and ${size("lowmemFreeBytes")} are left.`;
}
