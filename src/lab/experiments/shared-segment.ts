/**
 * The load that all of this was about: thousands of processes that map one large segment of shared memory, and have all
 * of it in their page tables. Each design is run with as many of them as it can hold: to the last one, or to the one at
 * which the kernel has to kill somebody for memory. What that memory was used for at that moment says what was short.
 *
 *     postmaster --- backend 1    maps the segment, populates all of it, stays
 *                --- backend 2
 *                ...
 *
 * At the end a few of those that run read pages of the segment at random, and the misses of their TLBs are counted.
 */
import { UsageError } from "../../base/errors.ts";
import { Rng } from "../../base/rng.ts";
import { formatSize } from "../../base/size-text.ts";
import { addressOf } from "../../base/units.ts";
import { type AxisName, type Design, parseDesign, rulesWith, settleDesign } from "../../design.ts";
import { footprintOf } from "../../footprint.ts";
import { formatOf } from "../../geometry.ts";
import { LOAD } from "../../hw/access.ts";
import { DONE, Machine } from "../../machine.ts";
import { LEAF } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import {
  OWNER_MEM_MAP,
  OWNER_PAGE_TABLES,
  OWNER_REVERSE_MAP,
  type Owner,
  ZONE_HIGHMEM,
  type ZoneUse,
} from "../../mm/zone.ts";
import { type MachineSpec, specOf } from "../../presets.ts";
import type { Tunables } from "../../tunables.ts";
import { type SegmentKind, Sharers } from "../memory/sharers.ts";
import { type TableBytes, tableBytes } from "../memory/table-arithmetic.ts";
import { type Experiment, type Row, type Step, wholeNumber, wholePages } from "./experiment.ts";

/** One row: what is different from the kernel that was asked for. */
interface NamedDesign {
  readonly name: string;
  readonly design: Partial<Design>;
  /** What the segment is; left out: a file of 4 KiB pages in memory. */
  readonly segment?: SegmentKind;
  /** Of which machines it is one of all designs; left out: of all. */
  readonly since?: "32 bits" | "64 bits";
  /** Levels of page tables that are there once, for all. */
  readonly inCommon?: readonly number[];
}

const lowTables = { pageTablePlacement: "lowmem" } as const;
const highTables = { pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" } as const;
const lowChains = { reverseMap: "pte-chain-e", reverseMapPlacement: "lowmem" } as const;
const highChains = { reverseMap: "pte-chain-e", reverseMapPlacement: "highmem" } as const;
const objects = { reverseMap: "object-anon" } as const;

const hugetlbfs = { ...lowTables, ...objects, hugePages: "hugetlbfs" } as const;
const optimised = { vmemmap: "hugetlb-optimised" } as const;

const designs: readonly NamedDesign[] = [
  { name: "low-chains", design: { ...lowTables, ...lowChains }, since: "32 bits" },
  { name: "low-objects", design: { ...lowTables, ...objects } },
  { name: "highpte-low-chains", design: { ...highTables, ...lowChains } },
  { name: "highpte-high-chains", design: { ...highTables, ...highChains } },
  { name: "highpte-objects", design: { ...highTables, ...objects } },
  { name: "when-empty", design: { ...lowTables, ...objects, pageTableFreeing: "when-empty" }, since: "32 bits" },
  { name: "discard-age", design: { ...lowTables, ...objects, pageTableDiscard: "age" }, since: "32 bits" },
  {
    name: "magic",
    design: { ...lowTables, ...objects, hugePages: "magic-syscall" },
    segment: "magic",
    since: "32 bits",
  },
  { name: "hugetlbfs", design: hugetlbfs, segment: "hugetlbfs" },
  {
    name: "hugetlbfs-shared-pmd",
    design: { ...hugetlbfs, hugePages: "hugetlbfs-shared-pmd", ...optimised },
    segment: "hugetlbfs",
    since: "64 bits",
    inCommon: [2],
  },
  { name: "hugetlbfs-1g", design: { ...hugetlbfs, ...optimised }, segment: "gigantic", since: "64 bits" },
];

/** So many of the processes read pages of the segment at the end, so often each. */
const READERS = 4;
const READS = 10_000;

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
      about: `all that such machines had, or some of ${designs.map(({ name }) => name).join(", ")}; by default highpte-high-chains and highpte-objects take most of the time, some 15 seconds each`,
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
    { what: "chains where areas are searched", value: 0, source: EXAMPLE },
    { what: "mappings, and so page faults", value: 2_621_440_000, source: EXAMPLE },
    { what: "all tables, four levels, 4 KiB pages, TiB", value: 2.45, source: TODAY },
    { what: "the same with huge pages of 2 MiB, GiB", value: 4.9, source: TODAY },
    { what: "the same with tables of huge pages in common, MiB", value: 40, source: TODAY },
    { what: "the same with huge pages of 1 GiB, MiB", value: 39, source: TODAY },
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
      const { name, design, segment = "shmem" } = named;
      const rules = rulesWith(base.geometry);
      const tunables = { ...base.tunables, ...poolFor(segment, base, bytes) };
      const spec = { ...base, tunables, design: parseDesign(design, base.design, rules) };
      return rowOf(name, new Load(spec, bytes, named, share), count, step);
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

/** The huge pages that are kept from boot on: those of the segment. */
function poolFor(segment: SegmentKind, base: MachineSpec, bytes: number): Partial<Tunables> {
  if (segment === "shmem") return {};
  if (segment === "gigantic") return { hugePages1G: bytes / GIB };
  return { hugePages: bytes / hugeBytesOf(base) };
}

const GIB = 2 ** 30;

/** Bytes of the usual huge page. */
const hugeBytesOf = ({ geometry }: MachineSpec): number => addressOf(formatOf(geometry).entrySpan(2));

/** Why the segment cannot be of such pages, if it cannot. */
function refusal(segment: SegmentKind, base: MachineSpec, bytes: number): string | undefined {
  if (segment === "shmem") return undefined;
  const each = segment === "gigantic" ? GIB : hugeBytesOf(base);
  const exists = formatOf(base.geometry).largePages.some(({ pages }) => addressOf(pages) === each);
  if (!exists) return `the machine has no pages of ${formatSize(each)}`;
  return bytes % each === 0 ? undefined : `it maps whole pages of ${formatSize(each)}`;
}

/** The designs that a person names; or all that machines like `base` had, as far as they can be built from it. */
function chosen(text: string, base: MachineSpec, bytes: number): readonly NamedDesign[] {
  const { design: own, geometry } = base;
  const rules = rulesWith(geometry);
  const bits = formatOf(geometry).vaddrBits > 32 ? "64 bits" : "32 bits";
  if (text === "all") {
    return designs.filter(({ design, segment = "shmem", since = bits }) => {
      if (since !== bits || refusal(segment, base, bytes) !== undefined) return false;
      const asked = new Set(Object.keys(design) as AxisName[]);
      return settleDesign({ ...own, ...design }, asked, rules).illegal === undefined;
    });
  }
  return text.split(",").map((name) => {
    const found = designs.find((each) => each.name === name);
    const refused = found === undefined ? undefined : refusal(found.segment ?? "shmem", base, bytes);
    if (refused !== undefined) throw new UsageError(`--size ${formatSize(bytes)}: ${name}: ${refused}`);
    if (found !== undefined) return found;
    throw new UsageError(`--designs ${name}: expected all, or some of ${designs.map((each) => each.name).join(", ")}`);
  });
}

/** What the processes have that run. */
interface Held {
  readonly processes: number;
  readonly leafTables: number;
  readonly upperTables: number;
  readonly reverseMapBytes: number;
  readonly pageFaults: number;
}

/** What a few processes saw of the segment. */
interface Reading {
  readonly reads: number;
  readonly misses: number;
}

/** One machine, and the processes on it that share the segment. */
class Load {
  readonly machine: Machine;
  private readonly sharers: Sharers;
  private readonly named: NamedDesign;
  private readonly share: number;
  private readonly rng = new Rng(1);

  constructor(spec: MachineSpec, sizeBytes: number, named: NamedDesign, share: number) {
    this.machine = new Machine(spec);
    this.named = named;
    this.share = share;
    this.sharers = new Sharers(this.machine, sizeBytes, named.segment);
  }

  /** One more process, with all of the segment, or with its own share; false if there is no memory for it. */
  grow(): boolean {
    const { sharers } = this;
    const thread = sharers.tryJoin();
    if (thread === null) return false;
    return this.share === 1 || sharers.threads.length === 1 ? sharers.tryFill(thread) : this.tryTouchShare(thread);
  }

  private tryTouchShare(thread: Thread): boolean {
    const { machine, sharers, rng } = this;
    for (let left = Math.round(sharers.pages * this.share); left > 0; left--) {
      if (machine.access(thread, addressOf(sharers.first + rng.below(sharers.pages)), LOAD) !== DONE) return false;
    }
    return machine.kernel.oomVictims.length === 0;
  }

  /** The tables of so many processes by arithmetic; undefined where each has its own share. */
  arithmetic(processes: number): TableBytes | undefined {
    const { format, bigPages } = this.machine.kernel;
    const { segment = "shmem", inCommon = [] } = this.named;
    if (this.share < 1) return undefined;
    const pool = segment === "gigantic" ? bigPages.pools.at(-1) : bigPages.pools[0];
    const level = segment === "shmem" ? LEAF : (pool?.level ?? LEAF + 1);
    return tableBytes(format, { processes, first: this.sharers.first, pages: this.sharers.pages, level, inCommon });
  }

  /** What the struct pages of the segment take: less than those of others where those of huge pages are folded. */
  get structPagesBytes(): number {
    const { spec, kernel } = this.machine;
    const each = spec.geometry.pageStructBytes ?? footprintOf(spec.kernel, spec.geometry.paging).pageStructBytes;
    return this.sharers.pages * each - addressOf(kernel.vmemmap.freedPages);
  }

  held(): Held {
    const { counters, reverseMap, bigPages } = this.machine.kernel;
    let leafTables = 0;
    let allTables = -bigPages.tablesInCommon;
    // Asked after each process: a plain loop.
    for (const { mm } of this.sharers.threads) {
      leafTables += mm.tablesByLevel[LEAF]!;
      for (const tables of mm.tablesByLevel) allTables += tables;
    }
    return {
      processes: this.sharers.threads.length,
      leafTables,
      upperTables: allTables - leafTables,
      reverseMapBytes: reverseMap.bytes,
      pageFaults: counters.minorFaults + counters.majorFaults,
    };
  }

  /** Where memory is; or where it was when the first process was killed for it. */
  get memory(): readonly ZoneUse[] {
    const { oomVictims, allocator } = this.machine.kernel;
    return oomVictims[0]?.memory ?? allocator.zones.map(({ use }) => use);
  }

  /** Some of the first `processes` that are still alive read pages at random. */
  read(processes: number): Reading {
    const { machine, sharers } = this;
    const alive = sharers.threads.slice(0, processes).filter(({ process }) => process.state === "alive");
    const before = this.misses;
    let reads = 0;
    for (const thread of alive.slice(0, READERS)) {
      const rng = new Rng(thread.id);
      for (let at = 0; at < READS; at++) {
        if (machine.access(thread, addressOf(sharers.first + rng.below(sharers.pages)), LOAD) === DONE) reads++;
      }
    }
    return { reads, misses: this.misses - before };
  }

  private get misses(): number {
    return this.machine.cpus.reduce((sum, { mmu }) => sum + mmu.missesData, 0);
  }
}

function rowOf(name: string, load: Load, processes: number, step: Step): Row {
  let held = load.held();
  while (held.processes < processes) {
    step(`${name}: process ${held.processes + 1} of ${processes}`);
    if (!load.grow()) break;
    held = load.held();
  }
  const { memory } = load;
  const { reads, misses } = load.read(held.processes);
  const low = memory.filter(({ kind }) => kind !== ZONE_HIGHMEM);
  const inLow = (owner: Owner): number => addressOf(sum(low.map(({ owned }) => owned[owner]!)));
  const [memMap, tables, chains] = [OWNER_MEM_MAP, OWNER_PAGE_TABLES, OWNER_REVERSE_MAP].map(inLow);
  const all = addressOf(sum(low.flatMap(({ owned }) => owned)));
  const arithmetic = load.arithmetic(held.processes);
  return {
    design: name,
    processes: held.processes,
    outcome: held.processes === processes ? "all run" : `process ${held.processes + 1}: no ${shortage(load)}`,
    leafTablesBytes: addressOf(held.leafTables),
    upperTablesBytes: addressOf(held.upperTables),
    arithmeticTablesBytes: arithmetic === undefined ? "" : arithmetic.leaf + arithmetic.upper,
    structPagesBytes: load.structPagesBytes,
    reverseMapBytes: held.reverseMapBytes,
    lowmemFreeBytes: addressOf(sum(low.map(({ unused }) => unused))),
    lowmemMemMapBytes: memMap!,
    lowmemTablesBytes: tables!,
    lowmemChainsBytes: chains!,
    lowmemOtherBytes: all - memMap! - tables! - chains!,
    pageFaults: held.pageFaults,
    reads,
    tlbMisses: misses,
  };
}

/** What there was none of when a process was killed: all memory, or only the part that the kernel always reaches. */
function shortage({ memory, machine }: Load): "lowmem" | "memory" {
  const { zones } = machine.kernel.allocator;
  const isLeft = memory.some(({ kind, unused }, at) => kind === ZONE_HIGHMEM && unused > zones[at]!.high);
  return isLeft ? "lowmem" : "memory";
}

const sum = (values: readonly number[]): number => values.reduce((total, value) => total + value, 0);

/** A row in words. */
function sentence(row: Row, processes: number): string {
  const size = (key: string): string => formatSize(Number(row[key]));
  const { design } = row;
  if (row.outcome === "all run") {
    const chains = row.reverseMapBytes === 0 ? "no chains" : `${size("reverseMapBytes")} of chains`;
    const above = row.leafTablesBytes === 0 ? ` and ${size("upperTablesBytes")} of others` : "";
    return `${design}: all ${processes} run, with ${size("leafTablesBytes")} of leaf tables${above}, and ${chains}.`;
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
