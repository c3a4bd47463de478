/**
 * Many small windows on one file, in no order: as one nonlinear area, whose page tables say what is where, and as an area
 * for each window, which lowmem has to pay for and which the kernel only allows so many of.
 */
import { ENOMEM } from "../../base/errno.ts";
import { formatSize } from "../../base/size-text.ts";
import { addressOf, PAGE_SIZE, type Vaddr } from "../../base/units.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import { OWNER_VMAS, ZONE_HIGHMEM } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { mustCall } from "../memory/static-program.ts";
import { type Experiment, type Row, type Step, wholeNumber } from "./experiment.ts";

const WINDOWS: Vaddr = 0x2000_0000;
const READ_WRITE = PROT_READ | PROT_WRITE;
/** Windows are only named, not filled: what is not in memory gets an entry that says which page belongs there. */
const MAP_NONBLOCK = 0x1_0000;
/** The file's pages are visited in strides that share no factor with any number of windows, so that no two stay neighbours. */
const STRIDE = 65_537;

interface Variant {
  readonly how: string;
  readonly settings: readonly string[];
  /** Puts one window at a page of the range: 0 or more, or -ERRNO. */
  place(machine: Machine, thread: Thread, file: OpenFile, at: number, index: number): number;
}

const remap: Variant["place"] = (machine, thread, _file, at, index) =>
  machine.call(thread, "remap_file_pages", [WINDOWS + addressOf(at), PAGE_SIZE, 0, index, MAP_NONBLOCK]);
const map: Variant["place"] = (machine, thread, file, at, index) => {
  const args = [WINDOWS + addressOf(at), PAGE_SIZE, READ_WRITE, MAP_SHARED | MAP_FIXED, file, addressOf(index)];
  return machine.call(thread, "mmap", args);
};

const variants: readonly Variant[] = [
  { how: "one nonlinear area", settings: ["nonlinear=tagged-search"], place: remap },
  { how: "an area each, by mmap", settings: ["nonlinear=unsupported"], place: map },
  {
    how: "the same, without a limit",
    settings: ["nonlinear=unsupported", `tunables.maxMapCount=${2 ** 22}`],
    place: map,
  },
  { how: "an area each, by today's remap_file_pages", settings: ["nonlinear=emulated"], place: remap },
];

export const nonlinearVmas: Experiment = {
  name: "nonlinear-vmas",
  claim: "remap_file_pages spares the area for each window that mmap needs: lowmem, and the limit on areas.",
  source: 'Andrew Morton, "Re: objrmap and vmtruncate", linux-kernel, April 2003, on the problems of many windows',
  parameters: {
    windows: { text: "131072", about: "windows of one page each" },
    limit: { text: "65536", about: "areas that an address space may have" },
    machine: { text: "nonpae-3g", about: "a machine preset" },
  },
  published: [
    {
      what: "page tables of one nonlinear area with 131,072 windows, bytes (4-byte entries)",
      value: 2 ** 19,
      source: "arithmetic",
    },
    { what: "131,072 areas of 64 bytes (2.6.0), bytes", value: 131_072 * 64, source: "arithmetic" },
    { what: "131,072 areas of 88 bytes (2.6.11), bytes", value: 131_072 * 88, source: "arithmetic" },
    { what: "areas that an address space may have", value: 65_536, source: "Linux 2.6, max_map_count" },
  ],
  plot: {
    x: "windowsPlaced",
    y: "lowmemBytes",
    line: ["how"],
    xLabel: "windows",
    yLabel: "lowmem (MiB)",
    yUnit: 2 ** 20,
  },

  run({ windows, limit, machine }, step) {
    const count = wholeNumber("windows", windows!, 2);
    const most = wholeNumber("limit", limit!, 2);
    const rows = variants.map((variant) => load(machine!, variant, { windows: count, limit: most }, step));
    const [nonlinear, limited, each] = rows as [Row, Row, Row, Row];
    return {
      rows,
      verdict: `${nonlinear.windowsPlaced} windows are one area and ${formatSize(Number(nonlinear.pageTablesBytes))} of page tables, or ${each.areas} areas of ${formatSize(Number(each.objectBytes))} together; ${limited.outcome === "ok" ? "the kernel allows that" : `the kernel allows ${limited.windowsPlaced} windows of that kind, and then says ${limited.outcome}`}.`,
    };
  },
};

interface Load {
  readonly windows: number;
  readonly limit: number;
}

function load(name: string, { how, settings, place }: Variant, { windows, limit }: Load, step: Step): Row {
  const limits = ["geometry.cpus=1", `tunables.maxMapCount=${limit}`];
  const machine = new Machine(specOf(name, "linux-2.6.11", [...limits, ...settings]));
  const { kernel } = machine;
  const { allocator, slabs, files } = kernel;
  const sizeBytes = windows * PAGE_SIZE;
  const file = new OpenFile(files.create({ name: "file of windows", kind: "shmem", sizeBytes }), "read-write");
  const { mm, threads } = machine.spawn("emulator");
  const thread = threads[0]!;
  mustCall(machine, thread, "mmap", [WINDOWS, sizeBytes, READ_WRITE, MAP_SHARED | MAP_FIXED, file, 0]);
  const low = () =>
    allocator.zones.filter(({ kind }) => kind !== ZONE_HIGHMEM).reduce((sum, zone) => sum + zone.free, 0) * PAGE_SIZE;
  const before = low();
  const areasBefore = mm.vmas.count;
  const tablesBefore = mm.tablesByLevel[1]!;
  let placed = 0;
  let outcome = "ok";
  for (; placed < windows; placed++) {
    if (placed % 4096 === 0) step(`${how}: window ${placed} of ${windows}`);
    const result = place(machine, thread, file, placed, (placed * STRIDE + 1) % windows);
    if (result >= 0) continue;
    outcome = result === -ENOMEM ? "ENOMEM" : `error ${-result}`;
    break;
  }
  return {
    how,
    windowsPlaced: placed,
    areas: mm.vmas.count - areasBefore + 1,
    objectBytes: (mm.vmas.count - areasBefore + 1) * slabs.vmas.objectBytes,
    areasBytes: allocator.ownedBy(OWNER_VMAS) * PAGE_SIZE,
    pageTablesBytes: (mm.tablesByLevel[1]! - tablesBefore) * PAGE_SIZE,
    lowmemBytes: before - low(),
    outcome,
  };
}
