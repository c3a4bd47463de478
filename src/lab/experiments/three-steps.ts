/**
 * The three steps of July 2003, taken one after the other, on a database's load: processes of an ordinary user share a
 * segment and see a larger file through windows that remap_file_pages moves about; they lock what they share before they
 * use it. What each step leaves of lowmem, and whether the file can be cut without harm.
 *
 *     process   [ segment, in order ]  [ windows: pages of the file, in no order ]     both locked
 */
import { ENOMEM } from "../../base/errno.ts";
import { formatSize } from "../../base/size-text.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { Machine } from "../../machine.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import { OWNER_PAGE_TABLES, ZONE_HIGHMEM } from "../../mm/zone.ts";
import { specOf } from "../../presets.ts";
import { MAP_FIXED, MAP_SHARED, PROT_READ, PROT_WRITE } from "../import/calls.ts";
import { needed, neededCall } from "../memory/load.ts";
import { Sharers } from "../memory/sharers.ts";
import { tryTouchPages } from "../memory/static-program.ts";
import { type Experiment, type Row, type Step, wholeNumber, wholePages } from "./experiment.ts";

const variants = [
  { steps: "none", reverseMap: "pte-chain-e", mlock: "chained", nonlinear: "remap-2.5" },
  { steps: "a", reverseMap: "pte-chain-e", mlock: "chained", nonlinear: "tagged-search" },
  { steps: "a + c", reverseMap: "object-chain-incremental", mlock: "chained", nonlinear: "tagged-search" },
  { steps: "a + b", reverseMap: "pte-chain-e", mlock: "counted", nonlinear: "tagged-search" },
  { steps: "a + b + c", reverseMap: "object-chain-incremental", mlock: "counted", nonlinear: "tagged-search" },
] as const;
type Variant = (typeof variants)[number];

const WINDOWS: Vaddr = 0x9000_0000;
const READ_WRITE = PROT_READ | PROT_WRITE;

export const threeSteps: Experiment = {
  name: "three-steps",
  claim:
    "After all three are done, remap_file_pages() integrates smoothly into the VM, requires no magical privileges, and the big apps can get their lowmem savings by just mlock()'ing anything they do massive sharing with.",
  source: 'William Lee Irwin III, "Re: What to expect with the 2.6 VM", linux-kernel, July 2003',
  parameters: {
    processes: { text: "100", about: "processes of the database" },
    segment: { text: "4M", about: "memory that all of them share, mapped in order" },
    windows: { text: "2M", about: "windows of each process on a file four times as large" },
    machine: { text: "piii-4g", about: "a 32-bit machine preset" },
  },
  published: [
    { what: "(a)", value: "fix the truncate() bug", source: "the proposal" },
    { what: "(b)", value: "omit pte_chains for mlock()'d mappings", source: "the proposal" },
    { what: "(c)", value: "incrementally build pte_chains for remap_file_pages()", source: "the proposal" },
    {
      what: "chains of 5000 processes that share 2 GiB, lines of 32 bytes, GiB",
      value: 11.172,
      source: "arithmetic; lowmem is 0.875 GiB at most",
    },
  ],
  plot: {
    x: "processes",
    y: "reverseMapBytes",
    line: ["steps"],
    xLabel: "processes",
    yLabel: "reverse map (MiB)",
    yUnit: 2 ** 20,
  },

  run({ processes, segment, windows, machine }, step) {
    const count = wholeNumber("processes", processes!, 1);
    const sizes = { segment: wholePages("segment", segment!), windows: wholePages("windows", windows!) };
    const rows = variants.map((variant) => new Database(machine!, variant, sizes).row(count, step));
    const [before, , , , after] = rows as [Row, Row, Row, Row, Row];
    const size = (key: string, row: Row): string => formatSize(Number(row[key]));
    return {
      rows,
      verdict: `The reverse map takes ${size("reverseMapBytes", before)} of lowmem before and ${size("reverseMapBytes", after)} after all three steps, of ${size("lowmemUsedBytes", before)} and ${size("lowmemUsedBytes", after)} that the load takes there in all; the processes are an ordinary user's. Cutting the file leaves ${before.orphans} pages that no file has before, ${after.orphans} after.`,
    };
  },
};

interface Sizes {
  /** In pages. */
  readonly segment: number;
  readonly windows: number;
}

class Database {
  private readonly machine: Machine;
  private readonly variant: Variant;
  private readonly sizes: Sizes;
  private readonly sharers: Sharers;
  private readonly file: OpenFile;
  private readonly lowmemBefore: number;

  constructor(name: string, variant: Variant, sizes: Sizes) {
    const { reverseMap, mlock, nonlinear } = variant;
    const design = [`reverseMap=${reverseMap}`, `mlock=${mlock}`, `nonlinear=${nonlinear}`];
    const user = ["tunables.privilege=user", "tunables.lockedLimitBytes=null"];
    this.machine = new Machine(specOf(name, "linux-2.6.11", ["geometry.cpus=1", ...design, ...user]));
    this.variant = variant;
    this.sizes = sizes;
    const { files } = this.machine.kernel;
    const sizeBytes = addressOf(4 * sizes.windows);
    this.lowmemBefore = this.lowmemFree();
    this.file = new OpenFile(files.create({ name: "tables", kind: "shmem", sizeBytes }), "read-write");
    this.sharers = new Sharers(this.machine, addressOf(sizes.segment));
  }

  row(processes: number, step: Step): Row {
    const { machine, variant, sharers, sizes } = this;
    const { allocator, reverseMap } = machine.kernel;
    for (let at = 0; at < processes; at++) {
      step(`steps ${variant.steps}: process ${at + 1} of ${processes}`);
      this.start(at);
    }
    const row = {
      ...variant,
      processes,
      mappings: processes * (sizes.segment + sizes.windows),
      reverseMapBytes: reverseMap.bytes,
      pageTablesBytes: allocator.ownedBy(OWNER_PAGE_TABLES) * PAGE_SIZE,
      lowmemUsedBytes: this.lowmemBefore - this.lowmemFree(),
      lowmemFreeBytes: this.lowmemFree(),
    };
    const { counters } = machine.kernel;
    const before = counters.pagesOrphaned;
    neededCall(machine, sharers.threads[0]!, "ftruncate", [this.file, addressOf(2 * sizes.windows)]);
    return { ...row, orphans: counters.pagesOrphaned - before };
  }

  /** A process locks what it shares, looks at all of the segment, and moves each window to a page of its own choice. */
  private start(number: number): void {
    const { machine, sharers, sizes, file } = this;
    const thread: Thread = sharers.join();
    const bytes = addressOf(sizes.windows);
    neededCall(machine, thread, "mmap", [WINDOWS, bytes, READ_WRITE, MAP_SHARED | MAP_FIXED, file, 0]);
    neededCall(machine, thread, "mlock", [addressOf(sharers.first), addressOf(sharers.pages)]);
    neededCall(machine, thread, "mlock", [WINDOWS, bytes]);
    sharers.touch(thread, LOAD);
    for (let at = 0; at < sizes.windows; at++) {
      const index = (at * 4 + 1 + (number % 3)) % (4 * sizes.windows);
      neededCall(machine, thread, "remap_file_pages", [WINDOWS + addressOf(at), PAGE_SIZE, 0, index, 0]);
    }
    needed(tryTouchPages(machine, thread, pageOf(WINDOWS), sizes.windows, LOAD) ? 0 : -ENOMEM, "windows");
  }

  private lowmemFree(): number {
    const low = this.machine.kernel.allocator.zones.filter(({ kind }) => kind !== ZONE_HIGHMEM);
    return low.reduce((sum, zone) => sum + zone.free, 0) * PAGE_SIZE;
  }
}
