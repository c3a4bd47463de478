/**
 * fork of a large process, with page tables of its own for every child and with tables that all have. First what a fork
 * costs, and what the tables and the reverse map take once there are some children; then what one more child pays back
 * when it writes to a part of what is its own: each table that it writes in is copied first.
 */
import { ENOMEM } from "../../base/errno.ts";
import { UsageError } from "../../base/errors.ts";
import { parseSize } from "../../base/size-text.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import type { Counters } from "../../mm/counters.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import { type MachineSpec, specOf } from "../../presets.ts";
import { MAP_ANONYMOUS, MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { leafTables } from "../memory/leaf-tables.ts";
import { needed, neededCall, neededChild } from "../memory/load.ts";
import { tryTouchPages } from "../memory/static-program.ts";
import { type Experiment, type Row, wholeNumber } from "./experiment.ts";

/** Where the process has its memory. */
const AREA: Vaddr = 2 ** 29;
const MOST_BYTES = 2 ** 31;

const kinds = ["segment", "private"] as const;
type Kind = (typeof kinds)[number];
const sharings = ["none", "fork-shared"] as const;
type Sharing = (typeof sharings)[number];

/** How the pages lie that a child writes. */
type Pattern = "in a row" | "scattered";

export const forkSharedTables: Experiment = {
  name: "fork-shared-tables",
  claim:
    "fork can share whole page tables instead of copying them, and an entry of the reverse map is then one for each table instead of one for each process: 50,000 instead of 5,000,000 with TPC-H.",
  source: 'Dave McCracken, "shared pagetable for 2.5.43" (shpte-2.5.43), linux-kernel, October 2002',
  parameters: {
    size: { text: "2G", about: "what the process has touched all of before it forks" },
    children: { text: "4", about: "children that are forked, and do nothing" },
    written: { text: "1,10,100", about: "percent of its pages that one more child writes" },
    machine: { text: "piii-xeon-64g", about: "a machine preset" },
    kernel: { text: "linux-2.6.0", about: "a kernel preset" },
  },
  published: [
    { what: "entries that a fork copies, 2 GiB, each its own tables", value: 524_288, source: "arithmetic" },
    { what: "leaf tables that it makes, PAE, bytes", value: 4 * 2 ** 20, source: "arithmetic" },
    { what: "leaf tables of all who share, PAE, bytes", value: 4 * 2 ** 20, source: "arithmetic" },
    {
      what: "entries that the reverse map knows with TPC-H, own tables",
      value: 5_000_000,
      source: "McCracken 2002; as here with --size 204800000 --children 99",
    },
    { what: "the same, shared tables", value: 50_000, source: "McCracken 2002" },
  ],
  plot: {
    x: "writtenPages",
    y: "entriesCopiedLater",
    line: ["memory", "pageTableSharing", "pattern"],
    xLabel: "pages that a child writes",
    yLabel: "entries copied once it writes",
    yUnit: 1,
  },

  run({ size, children, written, machine, kernel }, step) {
    const bytes = parseSize(size!);
    if (bytes < PAGE_SIZE || bytes > MOST_BYTES || bytes % PAGE_SIZE !== 0)
      throw new UsageError(`--size ${size}: expected whole pages, 2G at most`);
    const count = wholeNumber("children", children!, 1);
    const percents = written!.split(",").map((text) => percentOf(text));
    const rows = kinds.flatMap((kind) =>
      sharings.flatMap((sharing) => {
        step(`${kind}, ${sharing}`);
        const settings = [
          "geometry.cpus=1",
          "tunables.overcommitMode=1",
          "pageTableFreeing=pmd-ranges",
          `pageTableSharing=${sharing}`,
        ];
        const family = new Family(specOf(machine!, kernel!, settings), kind, pageOf(bytes));
        const born = { memory: kind, pageTableSharing: sharing, children: count, ...family.forks(count) };
        const patterns: readonly Pattern[] = kind === "segment" ? ["in a row"] : ["in a row", "scattered"];
        return patterns.flatMap((pattern) =>
          [0, ...percents].map(
            (percent): Row => ({ ...born, pattern, writtenPercent: percent, ...family.writes(percent, pattern) }),
          ),
        );
      }),
    );
    return { rows, verdict: verdictOn(rows) };
  },
};

function percentOf(text: string): number {
  const percent = wholeNumber("written", text, 1);
  if (percent > 100) throw new UsageError(`--written ${text}: expected percents, 100 at most`);
  return percent;
}

/** A process that has touched all of its memory, and its children. */
class Family {
  private readonly machine: Machine;
  private readonly parent: Thread;
  private readonly pages: number;

  constructor(spec: MachineSpec, kind: Kind, pages: number) {
    this.machine = new Machine(spec);
    this.pages = pages;
    this.parent = this.machine.spawn("parent").threads[0]!;
    const rights = PROT_READ | PROT_WRITE;
    const bytes = addressOf(pages);
    const file = kind === "segment" ? this.segment(bytes) : null;
    const flags = MAP_FIXED | (file === null ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED);
    neededCall(this.machine, this.parent, "mmap", [AREA, bytes, rights, flags, file, 0]);
    this.touch(this.parent, pages, 1);
  }

  private segment(sizeBytes: number): OpenFile {
    return new OpenFile(this.machine.kernel.files.create({ name: "segment", kind: "shmem", sizeBytes }), "read-write");
  }

  /** Writes each `stride`-th page of the first `pages`. */
  private touch(thread: Thread, pages: number, stride: number): void {
    const isHad = pages === 0 || tryTouchPages(this.machine, thread, pageOf(AREA), pages, STORE, stride);
    needed(isHad ? 0 : -ENOMEM, "the pages");
  }

  /** What each of so many forks costs, and what there is afterwards. */
  forks(count: number) {
    const { machine, parent } = this;
    const { counters, reverseMap, slabs } = machine.kernel;
    const before = { ...counters };
    const tables = leafTables(machine);
    for (let at = 0; at < count; at++) neededChild(machine, parent);
    const places = slabs.all.find(({ name }) => name === "mm_chain");
    return {
      entriesCopiedPerFork: (counters.ptesCopied - before.ptesCopied) / count,
      leafBytesPerFork: ((leafTables(machine) - tables) / count) * PAGE_SIZE,
      leafBytes: leafTables(machine) * PAGE_SIZE,
      reverseMapEntries: reverseMap.costs.adds - reverseMap.costs.removes,
      chainBytes: reverseMap.bytes,
      placeBytes: places?.bytes ?? 0,
    };
  }

  /** What one more child costs that writes to so much of its memory. */
  writes(percent: number, pattern: Pattern) {
    const { machine, parent } = this;
    const { counters } = machine.kernel;
    const child = neededChild(machine, parent);
    const before: Counters = { ...counters };
    const tables = leafTables(machine);
    const written = Math.ceil((this.pages * percent) / 100);
    const stride = pattern === "scattered" && written > 0 ? Math.max(1, Math.floor(this.pages / written)) : 1;
    this.touch(child, stride === 1 ? written : this.pages, stride);
    const seen = {
      writtenPages: stride === 1 ? written : Math.ceil(this.pages / stride),
      faults: counters.minorFaults - before.minorFaults,
      tablesUnshared: counters.tablesUnshared - before.tablesUnshared,
      entriesCopiedLater: counters.ptesCopied - before.ptesCopied,
      leafBytesLater: (leafTables(machine) - tables) * PAGE_SIZE,
      pagesCopied: counters.pagesCopied - before.pagesCopied,
    };
    machine.exit(child.process, 0);
    return seen;
  }
}

function verdictOn(rows: readonly Row[]): string {
  const of = (memory: Kind, sharing: Sharing) =>
    rows.filter((row) => row.memory === memory && row.pageTableSharing === sharing);
  const [segment, shared] = [of("segment", "none")[0]!, of("segment", "fork-shared")[0]!];
  const writers = of("private", "fork-shared").filter(({ writtenPercent }) => Number(writtenPercent) > 0);
  const own = of("private", "none")[0]!;
  const payback = writers.map(
    (row) => `${row.entriesCopiedLater} for ${row.writtenPercent} % of the pages ${row.pattern}`,
  );
  return [
    `A fork copies ${segment.entriesCopiedPerFork} entries into ${mib(segment.leafBytesPerFork)} of tables where each process has its own, and ${shared.entriesCopiedPerFork} entries into ${mib(shared.leafBytesPerFork)} where they share: ${mib(segment.leafBytes)} and ${mib(shared.leafBytes)} of leaf tables with ${segment.children} children, and ${segment.reverseMapEntries} and ${shared.reverseMapEntries} entries in the reverse map, whose chains take ${mib(segment.chainBytes)} and ${mib(shared.chainBytes)}, for ${shared.placeBytes} bytes of lists.`,
    `Of private memory a fork copies ${own.entriesCopiedPerFork} entries at once; where tables are shared the child copies none until it writes, and then ${payback.join(", ")}.`,
  ].join(" ");
}

const mib = (bytes: Row[string] | undefined): string => `${(Number(bytes) / 2 ** 20).toFixed(1)} MiB`;
