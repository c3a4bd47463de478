/**
 * Struct pages in highmem, seen through a window of each task's own: what that costs tasks that work on a file in the page
 * cache at random, by the size of the window, against one array that is always mapped. Tasks take turns, as on one CPU.
 *
 *     file in the page cache, its frames' struct pages all over mem_map
 *         ^   ^         ^          task 1 reads pages at random, then task 2, ...
 */
import { Rng } from "../../base/rng.ts";
import { addressOf, PAGE_SIZE, pageOf } from "../../base/units.ts";
import { costTableOf } from "../../geometry.ts";
import { LOAD } from "../../hw/access.ts";
import { estimateCycles } from "../../hw/cost.ts";
import { DONE, Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { noWindowCosts, type WindowCosts } from "../../mm/memmap/map-window.ts";
import type { Thread } from "../../mm/process.ts";
import { OWNER_MEM_MAP, ZONE_HIGHMEM } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { MAP_SHARED, PROT_READ } from "../import/calls.ts";
import { needed, neededCall } from "../memory/load.ts";
import { reserveFile } from "../memory/static-program.ts";
import { type Experiment, type Row, type Step, steps, wholeNumber, wholePages } from "./experiment.ts";

const STRUCT_BYTES = 44;
/** Pages that a task reads before the next one's turn. */
const TURN = 100;
/** Slots of the window with which a cookie is tried. */
const COOKIE_SLOTS = 1024;
const SEED = 2002;

interface Load {
  readonly machine: string;
  readonly pages: number;
  readonly tasks: number;
  readonly reads: number;
}

export const kvaWindow: Experiment = {
  name: "kva-window",
  claim:
    "With struct pages in highmem each task maps those that it needs as it needs them, and flushes only when it recycles a slot; but struct page * is then a cookie at best, and each task needs a data structure to look its windows up in.",
  source: "Martin Bligh and Andrea Arcangeli, linux-kernel, May 2002",
  parameters: {
    slots: { text: "64,256,1024,4096", about: "sizes of each task's window, in pages of struct pages" },
    size: { text: "1G", about: "the file" },
    tasks: { text: "4", about: "how many take turns" },
    reads: { text: "20000", about: "pages that each reads, at random" },
    machine: { text: "piii-xeon-64g", about: "a 32-bit machine preset" },
  },
  published: [
    { what: "frames of mem_map, 64 GiB, 44 bytes each", value: 180_224, source: "arithmetic" },
    { what: "struct pages that a window of 4 MiB shows", value: 95_325, source: "arithmetic" },
    { what: "memory that they describe, GiB", value: 0.36, source: "arithmetic" },
  ],
  plot: {
    x: "slots",
    y: "missesPerLookup",
    line: ["memMap", "pageHandle"],
    xLabel: "slots of a window",
    yLabel: "misses a lookup",
    yUnit: 1,
  },

  run({ slots, size, tasks, reads, machine }, step) {
    const load: Load = {
      machine: machine!,
      pages: wholePages("size", size!),
      tasks: wholeNumber("tasks", tasks!, 1),
      reads: wholeNumber("reads", reads!, 1),
    };
    const rows = [
      measure(load, "flat", "pointer", 0, step),
      ...steps("slots", slots!).map((count) => measure(load, "per-task-window", "pfn", count, step)),
      measure(load, "per-task-window", "cookie", COOKIE_SLOTS, step),
    ];
    return { rows, verdict: verdictOn(rows) };
  },
};

function measure(load: Load, memMap: string, pageHandle: string, slots: number, step: Step): Row {
  step(`${memMap}, ${pageHandle}${slots > 0 ? `, ${slots} slots` : ""}`);
  const machine = new Machine(
    specOf(load.machine, undefined, [
      `geometry.pageStructBytes=${STRUCT_BYTES}`,
      "geometry.cpus=1",
      `memMap=${memMap}`,
      `pageHandle=${pageHandle}`,
      ...(slots > 0 ? [`tunables.memMapSlots=${slots}`] : []),
    ]),
  );
  const threads = startTasks(machine, load);
  const { windows } = machine.kernel.structPages;
  const before = { ...(windows?.costs ?? noWindowCosts()) };
  const faults = machine.kernel.counters.minorFaults;
  readInTurns(machine, threads, load);
  const costs = since(before, windows?.costs ?? noWindowCosts());
  const structPages = Math.floor((slots * PAGE_SIZE) / STRUCT_BYTES);
  return {
    memMap,
    pageHandle,
    slots,
    structPagesShown: structPages,
    memoryShownBytes: structPages * PAGE_SIZE,
    ...memoryOf(machine, load.tasks),
    faults: machine.kernel.counters.minorFaults - faults,
    ...costs,
    missesPerLookup: costs.lookups === 0 ? 0 : costs.misses / costs.lookups,
    windowCycles: estimateCycles(costTableOf(machine.spec.geometry), {
      entryWrite: costs.misses,
      pageFlush: costs.flushes,
    }),
  };
}

/** Tasks that have the file mapped, all of which is in memory. */
function startTasks(machine: Machine, { pages, tasks }: Load): { thread: Thread; area: number }[] {
  const sizeBytes = addressOf(pages);
  const file = new OpenFile(machine.kernel.files.create({ name: "file", kind: "shmem", sizeBytes }), "read-write");
  return Array.from({ length: tasks }, (_, at) => {
    const thread = machine.spawn(`task ${at + 1}`).threads[0]!;
    if (at === 0) reserveFile(machine, thread, file, sizeBytes);
    return { thread, area: neededCall(machine, thread, "mmap", [0, sizeBytes, PROT_READ, MAP_SHARED, file, 0]) };
  });
}

function readInTurns(machine: Machine, tasks: readonly { thread: Thread; area: number }[], load: Load): void {
  const rng = new Rng(SEED);
  for (let done = 0; done < load.reads; done += TURN) {
    for (const { thread, area } of tasks) {
      for (let read = done; read < Math.min(done + TURN, load.reads); read++) {
        const address = addressOf(pageOf(area) + rng.below(load.pages));
        needed(machine.access(thread, address, LOAD) === DONE ? 0 : -1, "a page table");
      }
    }
  }
}

function since(before: WindowCosts, now: WindowCosts): WindowCosts {
  const keys = Object.keys(now) as (keyof WindowCosts)[];
  return Object.fromEntries(keys.map((key) => [key, now[key] - before[key]])) as unknown as WindowCosts;
}

function memoryOf({ kernel }: Machine, tasks: number): Row {
  const { allocator, structPages } = kernel;
  const low = allocator.zones.filter(({ kind }) => kind !== ZONE_HIGHMEM);
  const windows = structPages.windows === null ? [] : [...structPages.windows.windows()];
  const frames = windows.reduce((sum, window) => sum + window.frames.length, 0);
  return {
    mapFrames: allocator.ownedBy(OWNER_MEM_MAP),
    windowBytesPerTask: (frames / (tasks + 1)) * PAGE_SIZE,
    lowmemFreeBytes: low.reduce((sum, zone) => sum + zone.free, 0) * PAGE_SIZE,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const [flat, ...windowed] = rows as [Row, ...Row[]];
  const cookie = windowed.at(-1)!;
  const gained = Number(windowed[0]!.lowmemFreeBytes) - Number(flat.lowmemFreeBytes);
  const shares = windowed
    .slice(0, -1)
    .map(
      (row) =>
        `${row.slots} slots: ${(100 * Number(row.missesPerLookup)).toFixed(1)} % of ${row.lookups} lookups miss, ${row.flushes} flushes`,
    );
  return `Struct pages in highmem leave ${Math.round(gained / 2 ** 20)} MiB more of lowmem. ${shares.join("; ")}. With a cookie ${cookie.strays} of ${Number(cookie.strays) + Number(cookie.followed)} links from one struct page to another are dereferenced where no window shows it: each is an oops.`;
}
