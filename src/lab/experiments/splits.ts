/**
 * How a 32-bit address space is divided between program and kernel: more for the kernel is more lowmem and less to map; one
 * each (4:4) is most of both, and every entry into the kernel loads the page-table root, there and back, which empties the
 * TLB. The same load on each: a program maps a large area, and then works in a few pages of it between system calls.
 */
import { UsageError } from "../../base/errors.ts";
import { formatSize, parseSize } from "../../base/size-text.ts";
import { addressOf, PAGE_SIZE, pageOf } from "../../base/units.ts";
import { costTableOf, type Split, userBytes } from "../../geometry.ts";
import { STORE } from "../../hw/access.ts";
import { estimateCycles } from "../../hw/cost.ts";
import { DONE, Machine } from "../../machine.ts";
import type { Thread } from "../../mm/process.ts";
import { ZONE_HIGHMEM } from "../../mm/zone.ts";
import { type MachineSpec, specOf } from "../../presets.ts";
import { MAP_ANONYMOUS, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { needed } from "../memory/load.ts";
import { type Experiment, type Row, type Step, wholeNumber, wholePages } from "./experiment.ts";

const splits = ["3:1", "2:2", "4:4"] as const satisfies readonly Split[];

const MIB = 2 ** 20;
const READ_WRITE = PROT_READ | PROT_WRITE;

interface Load {
  readonly machine: string;
  readonly structBytes: number;
  readonly areaBytes: number;
  readonly pages: number;
  readonly calls: number;
}

export const splitsExperiment: Experiment = {
  name: "splits",
  claim:
    "A 2:2 split gives lowmem for struct pages, and takes it from shared memory of 1.7 GB; a 4:4 split has room for both, and is slow, as each entry into the kernel changes the address space.",
  source: "Martin Bligh, Andrea Arcangeli and others, linux-kernel, May 2002; RHEL 3's hugemem kernel, October 2003",
  parameters: {
    memory: { text: "4G,16G,64G", about: "sizes of memory" },
    struct: { text: "56", about: "bytes of a struct page: RHEL 3's" },
    area: { text: "1700M", about: "shared memory that a program maps" },
    pages: { text: "32", about: "pages of it that are stored to between two system calls" },
    calls: { text: "1000", about: "how many system calls" },
    machine: { text: "piii-xeon-64g", about: "a 32-bit machine preset" },
  },
  published: [
    { what: "struct pages of 56 bytes, 64 GiB, MiB: all of lowmem with 3:1", value: 896, source: "arithmetic" },
    { what: "lowmem with 3:1, MiB", value: 896, source: "linux-2.6.11 include/asm-i386/page.h" },
    { what: "lowmem with 4:4, MiB", value: 3936, source: "rhel3-hugemem include/asm-i386/page.h" },
  ],
  plot: {
    x: "memoryBytes",
    y: "lowmemFreeBytes",
    line: ["split"],
    xLabel: "memory (bytes)",
    yLabel: "lowmem free after boot (MiB)",
    yUnit: MIB,
  },

  run({ memory, struct, area, pages, calls, machine }, step) {
    const load: Load = {
      machine: machine!,
      structBytes: wholeNumber("struct", struct!, 1),
      areaBytes: addressOf(wholePages("area", area!)),
      pages: wholeNumber("pages", pages!, 1),
      calls: wholeNumber("calls", calls!, 1),
    };
    const sizes = memory!.split(",");
    for (const size of sizes) parseSize(size);
    const rows = sizes.flatMap((size) => splits.map((split) => measure(load, size, split, step)));
    return { rows, verdict: verdictOn(rows) };
  },
};

function measure(load: Load, memory: string, split: Split, step: Step): Row {
  step(`${memory}, ${split}`);
  const spec = specOf(load.machine, "rhel3-hugemem", [
    `geometry.memory=${memory}`,
    `geometry.split=${split}`,
    `geometry.pageStructBytes=${load.structBytes}`,
    "geometry.cpus=1",
    "tunables.overcommitMode=1",
  ]);
  const memoryBytes = spec.geometry.memoryBytes;
  const row = { memoryBytes, split, structPagesBytes: (memoryBytes / PAGE_SIZE) * load.structBytes };
  const machine = start(spec);
  if (machine === null) return { ...row, starts: "no", ...nothing };
  const { allocator } = machine.kernel;
  const low = allocator.zones.filter(({ kind }) => kind !== ZONE_HIGHMEM);
  const lowmem = {
    starts: "yes",
    lowmemBytes: machine.kernel.atomicMaps.highmemFrom * PAGE_SIZE,
    lowmemFreeBytes: low.reduce((sum, zone) => sum + zone.free, 0) * PAGE_SIZE,
  };
  return { ...row, ...lowmem, ...work(machine, load) };
}

/** What a kernel that does not fit its lowmem has to say. */
const nothing = {
  lowmemBytes: 0,
  lowmemFreeBytes: 0,
  userBytes: 0,
  largestAreaBytes: 0,
  areaFits: "no",
  entries: 0,
  rootLoads: 0,
  tlbMisses: 0,
  entryCycles: 0,
};

function start(spec: MachineSpec): Machine | null {
  try {
    return new Machine(spec);
  } catch (error) {
    if (error instanceof UsageError) return null;
    throw error;
  }
}

const map = (machine: Machine, thread: Thread, bytes: number): number =>
  machine.call(thread, "mmap", [0, bytes, READ_WRITE, MAP_SHARED | MAP_ANONYMOUS, null, 0]);

/** The largest area that mmap finds room for, where it chooses the place. */
function largestArea(machine: Machine, thread: Thread): number {
  let [fits, fails] = [0, userBytes(machine.spec.geometry) / PAGE_SIZE + 1];
  while (fails - fits > 1) {
    const pages = Math.floor((fits + fails) / 2);
    const address = map(machine, thread, pages * PAGE_SIZE);
    if (address < 0) fails = pages;
    else {
      fits = pages;
      machine.call(thread, "munmap", [address, pages * PAGE_SIZE]);
    }
  }
  return fits * PAGE_SIZE;
}

/** The load; where the area does not fit, as much of it as does. */
function work(machine: Machine, load: Load): Row {
  const thread = machine.spawn("database").threads[0]!;
  const largestAreaBytes = largestArea(machine, thread);
  const area = map(machine, thread, Math.min(load.areaBytes, largestAreaBytes));
  const { kernel, cpus } = machine;
  const changesSpace = machine.spec.geometry.split === "4:4";
  const faultsBefore = kernel.counters.minorFaults;
  const missesBefore = cpus[0]!.mmu.missesData;
  let rootLoads = 0;
  /** Into the kernel, and back. */
  const enter = (times: number): void => {
    if (!changesSpace || times === 0) return;
    rootLoads += 2 * times;
    cpus[0]!.loadRoot(thread.mm.root);
  };
  for (let call = 0; call < load.calls; call++) {
    for (let page = 0; page < load.pages; page++) {
      const before = kernel.counters.minorFaults;
      const verdict = machine.access(thread, addressOf(pageOf(area) + page), STORE);
      needed(verdict === DONE ? 0 : -1, "the area");
      enter(kernel.counters.minorFaults - before);
    }
    machine.call(thread, "brk", [0]);
    enter(1);
  }
  const entries = load.calls + kernel.counters.minorFaults - faultsBefore;
  const tlbMisses = cpus[0]!.mmu.missesData - missesBefore;
  const costs = costTableOf(machine.spec.geometry);
  return {
    userBytes: userBytes(machine.spec.geometry),
    largestAreaBytes,
    areaFits: largestAreaBytes >= load.areaBytes ? "yes" : "no",
    entries,
    rootLoads,
    tlbMisses,
    entryCycles: estimateCycles(costs, { systemCall: entries, rootLoad: rootLoads, walkStep: 2 * tlbMisses }) / entries,
  };
}

function verdictOn(rows: readonly Row[]): string {
  const most = Math.max(...rows.map(({ memoryBytes }) => Number(memoryBytes)));
  return rows
    .filter(({ memoryBytes }) => memoryBytes === most)
    .map((row) => {
      if (row.starts === "no") return `${row.split} with ${formatSize(most)}: does not start.`;
      const area = `areas up to ${formatSize(Number(row.largestAreaBytes))}`;
      const cost = `${Math.round(Number(row.entryCycles))} cycles an entry into the kernel`;
      return `${row.split} with ${formatSize(most)}: ${formatSize(Number(row.lowmemFreeBytes))} of lowmem free, ${area}, ${cost}.`;
    })
    .join(" ");
}
