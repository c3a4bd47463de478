/**
 * The loads that chains, the first object-based reverse map and 2.4 were measured against one another with: many tasks
 * map one file that hardly fits memory, each by many areas, and go through it again and again. The memory is scaled down
 * and the file with it; what is counted is who looks at how much to find out what can go.
 *
 *     file   [ area 0 | area 1 | ... | area n ]     each task maps it all, in n areas with a gap after each
 *
 * The object-based reverse map of early 2003 kept a file's areas in a list, which every question went through from end to
 * end; the tree that replaced it finds those that matter. What the list would have looked at follows from the number of
 * questions.
 */
import { Rng } from "../../base/rng.ts";
import { addressOf, PAGE_SIZE, type Vaddr } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { DONE, Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import { specOf } from "../../presets.ts";
import { MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { formatCount } from "../measures.ts";
import { mustCall } from "../memory/static-program.ts";
import { type Experiment, type Row, type Step, wholeNumber } from "./experiment.ts";

const variants = [
  { who: "walk of address spaces", reverseMap: "none", reclaim: "linux-2.4" },
  { who: "chains", reverseMap: "pte-chain-e", reclaim: "linux-2.6" },
  { who: "tree of areas", reverseMap: "object-chain-incremental", reclaim: "linux-2.6" },
] as const;
type Variant = (typeof variants)[number];

interface Load {
  readonly name: string;
  readonly tasks: number;
  readonly areas: number;
  readonly order: "linear" | "random";
}

const LIST = "list of areas";
const FIRST: Vaddr = 0x1000_0000;
/** What of the memory that is free after boot the file takes: 234 MiB on the machine of 256 MiB. */
const SHARE = 0.95;
/** Nothing is read ahead: what Linux finds out by itself after some misses. */
const MADV_RANDOM = 1;
/** A random task goes on after so many accesses for each page of the file. */
const RANDOM_SHARE = 0.25;

const loads = (tasks: number, areas: number, alone: number): readonly Load[] => [
  { name: `${tasks} tasks, ${areas} areas each, linear`, tasks, areas, order: "linear" },
  { name: `${tasks} tasks, ${areas} areas each, random`, tasks, areas, order: "random" },
  { name: `1 task, ${alone} areas, linear`, tasks: 1, areas: alone, order: "linear" },
];

const measured = (load: string, which: string, elapsed: string, system: number) => ({
  what: `${load}, ${which}: elapsed, system seconds`,
  value: `${elapsed}, ${system}`,
  source: "Andrew Morton and others, linux-kernel, April 2003; 256 MB, Pentium 4",
});

export const rmapTest: Experiment = {
  name: "rmap-test",
  claim:
    "Where many areas map one file, an object-based reverse map that keeps them in a list scans itself to death; chains and the walk of address spaces do not.",
  source: 'Andrew Morton, "Re: objrmap and vmtruncate", with rmap-test.c, linux-kernel, April 2003',
  parameters: {
    memory: { text: "20M", about: "memory of the machine: 256M in the original" },
    tasks: { text: "100", about: "tasks that map the file" },
    areas: { text: "100", about: "areas of each of them" },
    alone: { text: "10000", about: "areas of the one task of the last load" },
    rounds: { text: "2", about: "times that each goes through the file" },
  },
  published: [
    measured("100 tasks, linear", "chains", "5:05", 86.9),
    measured("100 tasks, linear", "list of areas", "22:10", 1143),
    measured("100 tasks, linear", "2.4-aa", "6:16", 75),
    measured("100 tasks, random", "chains", "3:59.7", 6.05),
    measured("100 tasks, random", "list of areas", "4:01", 2.1),
    measured("100 tasks, random", "2.4-aa", "4:12.7", 2.03),
    measured("1 task, 10,000 areas, linear", "chains", "4:38", 3.75),
    measured("1 task, 10,000 areas, linear", "list of areas", "15:15", 146),
    measured("1 task, 10,000 areas, linear", "2.4-aa", "18:26", 4.83),
    {
      what: "system seconds of chains, tree of areas, list of areas",
      value: "277, 204, 19834",
      source: "the prio_tree patch, 2.6.5-rc2, Pentium II, 256 MB",
    },
  ],
  plot: {
    x: "areas",
    y: "looksAt",
    line: ["load", "who"],
    xLabel: "areas of a task",
    yLabel: "PTEs, links and areas looked at (millions)",
    yUnit: 1e6,
  },

  run({ memory, tasks, areas, alone, rounds }, step) {
    const many = loads(
      wholeNumber("tasks", tasks!, 1),
      wholeNumber("areas", areas!, 1),
      wholeNumber("alone", alone!, 1),
    );
    const times = wholeNumber("rounds", rounds!, 1);
    const rows = many.flatMap((load) => variants.flatMap((variant) => run(variant, load, memory!, times, step)));
    return { rows, verdict: verdictOn(rows) };
  },
};

/** A load on one kernel: a row; of the kernel that searches areas, another for a list of them. */
function run(variant: Variant, load: Load, memory: string, rounds: number, step: Step): Row[] {
  const { who, reverseMap, reclaim } = variant;
  step(`${load.name}: ${who}`);
  const settings = [`reverseMap=${reverseMap}`, `reclaim=${reclaim}`, `geometry.memory=${memory}`, "geometry.cpus=1"];
  const spec = specOf("nonpae-3g", "linux-2.6.11", ["geometry.swap=64M", ...settings]);
  const tasks = new Tasks(new Machine(spec), load);
  for (let round = 0; round < rounds; round++) tasks.goThroughFile();
  const { kernel } = tasks.machine;
  const { costs } = kernel.reclaim;
  const asked = kernel.reverseMap.costs;
  const row = {
    load: load.name,
    tasks: load.tasks,
    areas: load.areas,
    filePages: tasks.pages,
    accesses: tasks.accesses,
    killed: tasks.killed,
    who: who as string,
    reverseMap,
    reclaim,
    pagesFreed: costs.pagesFreed,
    entriesVisited: costs.entriesVisited,
    linksFollowed: asked.linksFollowed,
    areasLookedAt: asked.areasVisited,
    looksAt: costs.entriesVisited + asked.linksFollowed + asked.areasVisited,
  };
  if (who !== "tree of areas") return [row];
  const areasOfList = asked.fileSearches * load.tasks * load.areas;
  const list = { ...row, who: LIST, areasLookedAt: areasOfList };
  return [row, { ...list, looksAt: row.looksAt - row.areasLookedAt + areasOfList }];
}

class Tasks {
  readonly machine: Machine;
  readonly pages: number;
  accesses = 0;
  killed = 0;
  private readonly load: Load;
  private readonly areaPages: number;
  private readonly threads: Thread[] = [];
  private readonly rng = new Rng(1);

  constructor(machine: Machine, load: Load) {
    this.machine = machine;
    this.load = load;
    const { kernel } = machine;
    this.areaPages = Math.max(1, Math.floor((kernel.allocator.freePages * SHARE) / load.areas));
    this.pages = this.areaPages * load.areas;
    const spec = { name: "foo", kind: "regular", sizeBytes: this.pages * PAGE_SIZE } as const;
    const file = new OpenFile(kernel.files.create(spec), "read-write");
    for (let at = 0; at < load.tasks; at++) this.threads.push(this.start(file, at));
  }

  private start(file: OpenFile, number: number): Thread {
    const { machine, load, areaPages } = this;
    const thread = machine.spawn(`task ${number}`).threads[0]!;
    for (let area = 0; area < load.areas; area++) {
      const at = this.addressOfArea(area);
      const bytes = addressOf(areaPages);
      const args = [at, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, area * bytes];
      mustCall(machine, thread, "mmap", args);
      if (load.order === "random") mustCall(machine, thread, "madvise", [at, bytes, MADV_RANDOM]);
    }
    return thread;
  }

  private addressOfArea(area: number): Vaddr {
    return FIRST + addressOf(area * (this.areaPages + 1));
  }

  /** Each task goes through the file once, area by area in turn with the others. */
  goThroughFile(): void {
    const { areas, order } = this.load;
    const { areaPages, rng } = this;
    const random = Math.ceil(areaPages * RANDOM_SHARE);
    for (let area = 0; area < areas; area++) {
      for (const thread of this.threads) {
        if (order === "linear") for (let page = 0; page < areaPages; page++) this.touch(thread, area, page);
        else for (let at = 0; at < random; at++) this.touch(thread, rng.below(areas), rng.below(areaPages));
      }
    }
  }

  private touch(thread: Thread, area: number, page: number): void {
    if (thread.process.state !== "alive") return;
    this.accesses++;
    if (this.machine.access(thread, this.addressOfArea(area) + addressOf(page), LOAD) === DONE) return;
    this.killed++;
    this.machine.kill(thread.process, 9);
  }
}

function verdictOn(rows: readonly Row[]): string {
  const names = [...new Set(rows.map(({ load }) => String(load)))];
  const orders = names
    .map((name) => {
      const own = rows.filter(({ load }) => load === name);
      const sorted = [...own].sort((one, other) => Number(one.looksAt) - Number(other.looksAt));
      return `${name}, least first: ${sorted.map(({ who, looksAt }) => `${who} ${formatCount(Number(looksAt))}`).join(", ")}.`;
    })
    .join(" ");
  return `${orders} Only looking is counted: what chains cost each fault that adds to them is not.`;
}
