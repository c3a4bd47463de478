/**
 * Guests that share a segment: each runs a kernel of its own, maps the programs and libraries that lie in the segment,
 * reads them, and writes to some of their data. The segment is there once; what each guest pays on top is what its kernel
 * keeps to tell its copies from what it copied, or a struct page for each page of the segment.
 *
 *     guest 1  [ its memory: tables, copies, (mem_map of the segment) ]   \
 *     guest 2  [ ...                                                  ]    > the segment, once
 */
import { EINVAL } from "../../base/errno.ts";
import { bug } from "../../base/errors.ts";
import { Rng } from "../../base/rng.ts";
import { formatSize } from "../../base/size-text.ts";
import { addressOf, PAGE_SIZE, type Vaddr } from "../../base/units.ts";
import { type Design, optionsOf } from "../../design.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { createSegmentFile } from "../../mm/pfnmap/segment-files.ts";
import type { Thread } from "../../mm/process.ts";
import { OWNER_MEM_MAP, OWNER_PAGE_TABLES, OWNER_SHADOW } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { MAP_FIXED, MAP_PRIVATE, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { neededCall } from "../memory/load.ts";
import { type Experiment, type Row, type Step, wholeNumber, wholePages } from "./experiment.ts";

const AT: Vaddr = 0x1000_0000;
/** What is never written need not be promised. */
const MAP_NORESERVE = 0x4000;
const READ_WRITE = PROT_READ | PROT_WRITE;

export const xip: Experiment = {
  name: "xip",
  claim:
    'On guests that share their programs in a segment, the mem_map for it is a large overhead; and whoever keeps bits beside all page tables instead would be "better off just having the struct pages".',
  source: 'Carsten Otte and Linus Torvalds, "Re: [patch] do_no_pfn handler", linux-kernel, 11 April 2006',
  parameters: {
    guests: { text: "10", about: "kernels that share the segment" },
    segment: { text: "256M", about: "its size" },
    memory: { text: "64M", about: "memory of each guest" },
    processes: { text: "4", about: "processes of each guest, all of which map the segment" },
    read: { text: "50", about: "per cent of the segment that each process reads" },
    written: { text: "1", about: "per cent of it that each writes to, in its private mapping" },
    machine: { text: "opteron-32g", about: "a machine preset: how a guest's CPU pages" },
  },
  published: [
    {
      what: "struct pages of 32 to 56 bytes, share of the memory that they describe, per cent",
      value: "0.8 to 1.4",
      source: "arithmetic",
    },
    { what: "bits beside a table of 1024 entries, bytes", value: 128, source: "arithmetic" },
    { what: "bits beside a table of 512 entries, bytes", value: 64, source: "arithmetic" },
    { what: "a page beside each table", value: "page tables take twice as much", source: "arithmetic" },
    { what: "areas of k isolated copies", value: "2k + 1", source: "arithmetic" },
  ],
  plot: {
    x: "copies",
    y: "perGuestBytes",
    line: ["how"],
    xLabel: "copies of all guests",
    yLabel: "memory of one guest for telling them (KiB)",
    yUnit: 2 ** 10,
  },

  run(given, step) {
    const load = loadOf(given);
    const rows = optionsOf("pfnMappings").map((how) => rowOf(load, how as Design["pfnMappings"], step));
    return { rows, verdict: verdictOn(rows, load) };
  },
};

interface Load {
  readonly guests: number;
  readonly segmentPages: number;
  readonly memory: string;
  readonly processes: number;
  readonly readPages: number;
  readonly writtenPages: number;
  readonly machine: string;
}

function loadOf(given: Readonly<Record<string, string>>): Load {
  const segmentPages = wholePages("segment", given.segment!, 16);
  const share = (name: string): number => Math.round((segmentPages * wholeNumber(name, given[name]!, 0)) / 100);
  return {
    guests: wholeNumber("guests", given.guests!, 1),
    segmentPages,
    memory: given.memory!,
    processes: wholeNumber("processes", given.processes!, 1),
    readPages: share("read"),
    writtenPages: share("written"),
    machine: given.machine!,
  };
}

/** What one guest keeps and does. */
interface Guest {
  readonly faults: number;
  readonly copies: number;
  readonly refused: number;
  readonly lookups: number;
  readonly areas: number;
  readonly areaBytes: number;
  readonly shadowBytes: number;
  readonly memMapBytes: number;
  readonly tablesBytes: number;
  readonly freeBytes: number;
}

/** All guests under one way to tell copies. */
function rowOf(load: Load, how: Design["pfnMappings"], step: Step): Row {
  const guests = Array.from({ length: load.guests }, (_, at) => {
    step(`${how}: guest ${at + 1} of ${load.guests}`);
    return runGuest(load, how, at + 1);
  });
  const sum = (of: (guest: Guest) => number) => guests.reduce((total, guest) => total + of(guest), 0);
  const keeps = sum(({ areaBytes, shadowBytes, memMapBytes }) => areaBytes + shadowBytes + memMapBytes);
  return {
    how,
    copies: sum(({ copies }) => copies),
    refused: sum(({ refused }) => refused),
    faults: sum(({ faults }) => faults),
    lookups: sum(({ lookups }) => lookups),
    areas: sum(({ areas }) => areas),
    pageTablesBytes: sum(({ tablesBytes }) => tablesBytes),
    memMapBytes: sum(({ memMapBytes }) => memMapBytes),
    shadowBytes: sum(({ shadowBytes }) => shadowBytes),
    areaBytes: sum(({ areaBytes }) => areaBytes),
    perGuestBytes: Math.round(keeps / load.guests),
    freeBytes: sum(({ freeBytes }) => freeBytes),
  };
}

function runGuest(load: Load, how: Design["pfnMappings"], seed: number): Guest {
  const { segmentPages, memory, machine: preset } = load;
  const sizes = ["geometry.cpus=1", `geometry.memory=${memory}`, `geometry.segments=${segmentPages * PAGE_SIZE}`];
  const settings = [...sizes, "tunables.maxMapCount=65536", `pfnMappings=${how}`];
  const spec = specOf(preset, undefined, settings);
  const machine = new Machine(spec);
  const { kernel } = machine;
  const { allocator, slabs, counters, pfnMappings } = kernel;
  const memMap = memMapOf(spec, machine);
  const file = createSegmentFile(kernel, { name: "programs", sizeBytes: segmentPages * PAGE_SIZE, way: "xip" })!;
  const opened = new OpenFile(file, "read-write");
  const rng = new Rng(seed);
  let areas = 0;
  let refused = 0;
  for (let at = 0; at < load.processes; at++) {
    const { mm, threads } = machine.spawn(`process ${at}`);
    if (!useSegment(machine, threads[0]!, opened, load, rng)) refused++;
    areas += mm.vmas.count;
  }
  return {
    faults: counters.minorFaults,
    copies: counters.pagesCopied,
    refused,
    lookups: pfnMappings.costs.lookups,
    areas,
    areaBytes: (areas - load.processes) * slabs.vmas.objectBytes,
    shadowBytes: allocator.ownedBy(OWNER_SHADOW) * PAGE_SIZE,
    memMapBytes: memMap,
    tablesBytes: allocator.ownedBy(OWNER_PAGE_TABLES) * PAGE_SIZE,
    freeBytes: allocator.freePages * PAGE_SIZE,
  };
}

/** Struct pages for the segment: what this guest's map takes more than that of a guest without one. */
function memMapOf(spec: ReturnType<typeof specOf>, { kernel }: Machine): number {
  const without = new Machine({ ...spec, geometry: { ...spec.geometry, segments: [] } });
  const frames = kernel.allocator.ownedBy(OWNER_MEM_MAP) - without.kernel.allocator.ownedBy(OWNER_MEM_MAP);
  return frames * PAGE_SIZE;
}

/** Maps the segment, reads part of it and writes to some pages, in no order. False: only a shared mapping was to be had. */
function useSegment(machine: Machine, thread: Thread, file: OpenFile, load: Load, rng: Rng): boolean {
  const { segmentPages, readPages, writtenPages } = load;
  const lengthBytes = segmentPages * PAGE_SIZE;
  const asked = [AT, lengthBytes, READ_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_NORESERVE, file, 0];
  const result = machine.call(thread, "mmap", asked);
  if (result < 0 && result !== -EINVAL) bug(`a guest's mmap fails: ${result}`);
  const isPrivate = result >= 0;
  if (!isPrivate) neededCall(machine, thread, "mmap", [AT, lengthBytes, PROT_READ, MAP_SHARED | MAP_FIXED, file, 0]);
  const first = rng.below(segmentPages);
  for (let at = 0; at < readPages; at++) {
    machine.access(thread, AT + addressOf((first + at) % segmentPages), LOAD);
  }
  for (let at = 0; isPrivate && at < writtenPages; at++) {
    machine.access(thread, AT + addressOf(rng.below(segmentPages)), STORE);
  }
  return isPrivate;
}

function verdictOn(rows: readonly Row[], { segmentPages }: Load): string {
  const of = (how: Design["pfnMappings"]) => rows.find((row) => row.how === how)!;
  const each = (how: Design["pfnMappings"]) => formatSize(Number(of(how).perGuestBytes));
  const structs = Number(of("struct-pages").perGuestBytes);
  const share = ((structs / (segmentPages * PAGE_SIZE)) * 100).toFixed(2);
  const shadows = Number(of("shadow-bits").perGuestBytes);
  const cheaper = shadows < structs ? "less" : "no less";
  return (
    `Struct pages take ${each("struct-pages")} of each guest, ${share} % of the segment; a bit of the entry and the formula take nothing, ` +
    `bits beside the tables ${each("shadow-bits")} (a page beside each: ${each("shadow-pages")}) and ${of("shadow-bits").lookups} lookups, ` +
    `areas ${each("vma-split")}. So bits beside the tables cost ${cheaper} than struct pages here; what refuses copies refused ${of("refuse-cow").refused} mappings.`
  );
}
