/**
 * Lists of freed page tables against lists of free frames for all purposes: what each saves and keeps idle, under a load
 * that forks and exits as a build does.
 */
import { PAGE_SIZE } from "../../base/units.ts";
import { costTableOf } from "../../geometry.ts";
import { STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { type Experiment, type Row, wholeNumber } from "./experiment.ts";

const caches = ["none", "quicklists", "per-cpu-pages"] as const;
const AREA_PAGES = 64;
const ADDRESS = 0x2000_0000;
const PRIVATE_ANONYMOUS_FIXED = 0x32;
const READ_WRITE = 3;

export const quicklists: Experiment = {
  name: "quicklists",
  claim: "A per-CPU page pool solves most of the needs of the special pools for ptes, pmds and pgds.",
  source: "Ingo Molnar, \"[patch] simpler 'highpte' design\", linux-kernel, February 2002",
  parameters: {
    forks: { text: "2000", about: "children that are forked, write a little and exit" },
    cpus: { text: "1", about: "CPUs that the children are spread over" },
    machine: { text: "piii-4g", about: "a machine preset" },
  },
  published: [
    { what: "speedup by per-CPU lists, four CPUs, autoconf, %", value: 4, source: "2.5.45's changelog" },
    { what: "the same, kernel compile, %", value: "1..2", source: "2.5.45's changelog" },
  ],
  plot: {
    x: "forks",
    y: "tablesZeroed",
    line: ["pageTableCache"],
    xLabel: "forks",
    yLabel: "page tables zeroed",
    yUnit: 1,
  },

  run({ forks, machine, cpus }) {
    const count = wholeNumber("forks", forks!, 1);
    const most = wholeNumber("cpus", cpus!, 1);
    const rows = caches.map((cache) => load(machine!, cache, count, most));
    const [none, quick, pool] = rows as [Row, Row, Row];
    return {
      rows,
      verdict: `Of ${none.tablesAllocated} page tables quicklists hand out ${quick.tablesReused} zeroed already, and keep ${quick.idleTables} idle; per-CPU lists serve ${pool.framesFromLists} frames of all kinds without the zone's lock, tables among them, but zero each table again.`,
    };
  },
};

function load(name: string, cache: (typeof caches)[number], forks: number, cpus: number): Row {
  const spec = specOf(name, undefined, [`pageTableCache=${cache}`, `geometry.cpus=${cpus}`]);
  const machine = new Machine(spec);
  const parent = machine.spawn("make");
  const thread = parent.threads[0]!;
  const args = [ADDRESS, AREA_PAGES * PAGE_SIZE, READ_WRITE, PRIVATE_ANONYMOUS_FIXED, null, 0];
  machine.call(thread, "mmap", args);
  for (let page = 0; page < AREA_PAGES; page++) machine.access(thread, ADDRESS + page * PAGE_SIZE, STORE);
  for (let at = 0; at < forks; at++) {
    const child = machine.fork(thread);
    if (typeof child === "number") break;
    for (let page = 0; page < 8; page++) machine.access(child.threads[0]!, ADDRESS + page * PAGE_SIZE, STORE);
    machine.exit(child, 0);
  }
  const { counters, allocator, tables } = machine.kernel;
  const { zones } = allocator;
  const lists = zones.map(({ perCpu }) => perCpu).filter((perCpu) => perCpu !== null);
  const cycles = costTableOf(spec.geometry).cycles;
  return {
    pageTableCache: cache,
    forks,
    tablesAllocated: counters.tablesAllocated,
    tablesZeroed: counters.tablesZeroed,
    tablesReused: counters.tablesReused,
    idleTables: tables.idle,
    framesFromLists: lists.reduce((sum, { taken }) => sum + taken, 0),
    buddyBatches: lists.reduce((sum, { batches }) => sum + batches, 0),
    idleFrames: zones.reduce((sum, zone) => sum + zone.listed, 0),
    estimatedZeroCycles: counters.tablesZeroed * cycles.pageZero,
  };
}
