/**
 * One pool of windows for everybody against a pool for each task, on the same workload: tasks that read files through
 * windows on highmem, taking turns on several CPUs.
 */
import { PAGE_SIZE } from "../../base/units.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { readFile } from "../../mm/file-read.ts";
import { OWNER_KMAP } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { reserveFile } from "../memory/static-program.ts";
import { type Experiment, type Row, wholeNumber } from "./experiment.ts";

const pools = ["global", "per-task"] as const;

export const kmapPools: Experiment = {
  name: "kmap-pools",
  claim:
    "With a pool of windows for each task nothing is flushed on all CPUs, but a frame's window is found through a structure of each task, where the one pool only looks into struct page.",
  source: 'Martin Bligh and Andrea Arcangeli, "Virtual address space exhaustion", linux-kernel, May 2002',
  parameters: {
    tasks: { text: "16", about: "processes that read" },
    "file-pages": { text: "1536", about: "pages of the file that all of them read" },
    rounds: { text: "4", about: "times that each reads it" },
    machine: { text: "piii-xeon-64g", about: "a 32-bit machine preset" },
  },
  published: [
    { what: "the one pool's flushes", value: "all CPUs", source: "Linux 2.6.11, flush_all_zero_pkmaps" },
    { what: "page_address's share of system time", value: "1.3 %", source: "changelog of the hash, quad Pentium III" },
  ],
  plot: {
    x: "tasks",
    y: "cpusInterrupted",
    line: ["kmap"],
    xLabel: "tasks",
    yLabel: "interrupts for flushes",
    yUnit: 1,
  },

  run(parameters) {
    const tasks = wholeNumber("tasks", parameters.tasks!, 1);
    const pages = wholeNumber("file-pages", parameters["file-pages"]!, 1);
    const rounds = wholeNumber("rounds", parameters.rounds!, 1);
    const rows = pools.map((kmap) => load(parameters.machine!, kmap, tasks, pages, rounds));
    const [one, each] = rows as [Row, Row];
    return {
      rows,
      verdict: `The one pool is flushed ${one.flushes} times, with ${one.cpusInterrupted} interrupts; the tasks' own pools ${each.flushes} times, with ${each.cpusInterrupted}, for ${each.poolBytes} bytes of lowmem instead of ${one.poolBytes}.`,
    };
  },
};

function load(name: string, kmap: (typeof pools)[number], tasks: number, pages: number, rounds: number): Row {
  const machine = new Machine(specOf(name, undefined, [`kmap=${kmap}`]));
  const { kernel } = machine;
  const file = kernel.files.create({ name: "read by all", kind: "shmem", sizeBytes: pages * PAGE_SIZE });
  const open = new OpenFile(file, "read-write");
  const readers = Array.from({ length: tasks }, (_, at) => machine.spawn(`reader ${at}`).threads[0]!);
  reserveFile(machine, readers[0]!, open, pages * PAGE_SIZE);
  const buffer = new Uint8Array(PAGE_SIZE);
  machine.writeFile(open, 0, new Uint8Array(pages * PAGE_SIZE).fill(1));
  const before = { ...kernel.kmap.costs };
  const { tlbShootdowns } = kernel.counters;
  for (let round = 0; round < rounds; round++) {
    for (let page = 0; page < pages; page++) {
      for (const reader of readers) machine.run(reader, readFile(kernel, open, buffer, page * PAGE_SIZE));
    }
  }
  const { costs } = kernel.kmap;
  const maps = costs.maps - before.maps;
  return {
    kmap,
    tasks,
    maps,
    foundInPool: costs.found - before.found,
    flushes: costs.flushes - before.flushes,
    cpusInterrupted: kernel.counters.tlbShootdowns - tlbShootdowns,
    entriesWritten: costs.entriesWritten - before.entriesWritten,
    lookupStepsPerMap: (costs.lookupSteps - before.lookupSteps) / maps,
    poolBytes: kernel.allocator.ownedBy(OWNER_KMAP) * PAGE_SIZE,
  };
}
