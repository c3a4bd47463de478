/**
 * Areas for copies: a private mapping of memory without struct pages, in which a program writes to every second page. Where the
 * area says what is a copy, each write makes two areas more, until the kernel allows no more of them.
 *
 *     one write     RRRCRRRR  3 areas        k isolated ones     2k + 1        every second page     2k
 */
import { formatSize } from "../../base/size-text.ts";
import { addressOf, PAGE_SIZE, type Vaddr } from "../../base/units.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import { createSegmentFile } from "../../mm/pfnmap/segment-files.ts";
import { specOf } from "../../presets.ts";
import { MAP_FIXED, MAP_PRIVATE, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { neededCall } from "../memory/load.ts";
import { type Experiment, type Row, type Step, steps, wholeNumber, wholePages } from "./experiment.ts";

const AT: Vaddr = 0x1000_0000;
const READ_WRITE = PROT_READ | PROT_WRITE;
/** Struct vm_area_struct of 2.6.11 on i386. */
const AREA_BYTES = 88;

export const vmaSplit: Experiment = {
  name: "vma-split",
  claim:
    'Storing in the area what is a copy does not end with "3 vmas": it ends with one for every page, and the fault must split the area while it holds its semaphore for reading.',
  source: 'Linus Torvalds, "Re: [patch] do_no_pfn handler", linux-kernel, 11 April 2006',
  parameters: {
    size: { text: "256M", about: "the segment, all of it mapped" },
    writes: { text: "1,100,10000,32767,32768", about: "isolated pages written, one after the other" },
    limit: { text: "65536", about: "areas that an address space may have" },
    machine: { text: "piii-4g", about: "a machine preset" },
  },
  published: [
    {
      what: "areas after k isolated writes",
      value: "2k + 1",
      source: "arithmetic: 3 for one, Carsten Otte, April 2006",
    },
    { what: "isolated writes that 65,536 areas allow", value: 32_767, source: "arithmetic: (65,536 - 1) / 2" },
    { what: "pages copied by then, bytes", value: 32_767 * PAGE_SIZE, source: "arithmetic: 128 MiB less a page" },
    { what: "65,536 areas of 88 bytes (2.6.11), bytes", value: 65_536 * AREA_BYTES, source: "arithmetic: 5.5 MiB" },
    {
      what: "the mapping whose every second page exhausts them, bytes",
      value: 2 ** 28,
      source: "arithmetic: 65,536 pages",
    },
  ],
  plot: { x: "writes", y: "areas", line: ["how"], xLabel: "isolated writes", yLabel: "areas (thousands)", yUnit: 1000 },

  run({ size, writes, limit, machine }, step) {
    const pages = wholePages("size", size!, 4);
    const counts = steps("writes", writes!);
    const most = wholeNumber("limit", limit!, 3);
    const load = { machine: machine!, pages, counts, most };
    // Two pages more, so that the last write has a neighbour on either side.
    const isolated = { ...load, pages: pages + 2, first: 1 };
    const rows = [
      ...split({ ...isolated, how: "an area each, isolated" }, step),
      ...split({ ...load, how: "an area each, every second page", first: 0, counts: [Math.ceil(pages / 2)] }, step),
      ...split({ ...isolated, how: "a bit each (special-bit)", mappings: "special-bit" }, step),
    ];
    return { rows, verdict: verdictOn(rows, most) };
  },
};

interface Load {
  readonly how: string;
  readonly machine: string;
  readonly mappings?: string;
  readonly pages: number;
  /** The first page that is written; then every second one. */
  readonly first: number;
  readonly counts: readonly number[];
  readonly most: number;
}

/** A row for each number of writes. */
function split(load: Load, step: Step): Row[] {
  const { how, pages, first, counts, most, mappings = "vma-split" } = load;
  const settings = ["geometry.cpus=1", `geometry.segments=${pages * PAGE_SIZE}`, `tunables.maxMapCount=${most}`];
  const machine = new Machine(specOf(load.machine, "linux-2.6.11", [...settings, `pfnMappings=${mappings}`]));
  const { kernel } = machine;
  const { mm, threads } = machine.spawn("guest");
  const thread = threads[0]!;
  const file = createSegmentFile(kernel, { name: "segment", sizeBytes: pages * PAGE_SIZE, way: "xip" })!;
  const opened = new OpenFile(file, "read-write");
  neededCall(machine, thread, "mmap", [AT, pages * PAGE_SIZE, READ_WRITE, MAP_PRIVATE | MAP_FIXED, opened, 0]);
  const rows: Row[] = [];
  let written = 0;
  let refused = 0;
  for (const count of counts) {
    for (; written < count && refused === 0; written++) {
      if (written % 4096 === 0) step(`${how}: write ${written}`);
      const page = AT + addressOf(first + 2 * written);
      machine.access(thread, page, LOAD);
      if (machine.access(thread, page, STORE) === 0) continue;
      refused = count - written;
      break;
    }
    const areas = mm.vmas.count;
    rows.push({
      how,
      writes: count,
      copied: written,
      copiedBytes: written * PAGE_SIZE,
      areas,
      areaBytes: areas * kernel.slabs.vmas.objectBytes,
      relocks: kernel.pfnMappings.costs.relocks,
      outcome: refused === 0 ? "ok" : "SIGBUS",
    });
  }
  return rows;
}

function verdictOn(rows: readonly Row[], most: number): string {
  const isolated = rows.filter(({ how }) => how === "an area each, isolated");
  const alternate = rows.find(({ how }) => how === "an area each, every second page")!;
  const bit = rows.at(-1)!;
  const fits = isolated.filter(({ outcome }) => outcome === "ok");
  const last = fits.at(-1) ?? isolated[0]!;
  const exact = fits.every(({ writes, areas }) => areas === 2 * Number(writes) + 1);
  const stopped = isolated.find(({ outcome }) => outcome !== "ok");
  const end = stopped === undefined ? "" : ` and write ${Number(stopped.copied) + 1} ends in ${stopped.outcome}`;
  return (
    `${last.writes} isolated writes make ${last.areas} areas (2k + 1 ${exact ? "exactly" : "not"}) of ${formatSize(Number(last.areaBytes))}, ` +
    `of ${most} allowed${end}; every second page of the whole mapping: ${alternate.areas} areas after ${alternate.copied} writes, ${alternate.outcome}. ` +
    `Each write gave up the semaphore once (${last.relocks}). With a bit of the entry it is ${bit.areas} area throughout.`
  );
}
