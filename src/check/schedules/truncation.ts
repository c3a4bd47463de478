/**
 * Scenarios about truncation: the two races of the kernels of 2003, areas that change while truncation goes through them,
 * and fixes that take locks the other way round. What must hold at the end is looked up in every page table.
 */
import { addressOf, type FileIndex, PAGE_SIZE, type Vpn } from "../../base/units.ts";
import type { Design } from "../../design.ts";
import { LOAD, STORE } from "../../hw/access.ts";
import { type OpenTable, PTE_PRESENT } from "../../hw/pte.ts";
import { type FileObject, OpenFile } from "../../mm/file.ts";
import { PG_ANON } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { LEAF, NO_TABLE } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import type { Vma } from "../../mm/vma.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import type { Scenario, Variant } from "./scenario.ts";
import { PAGE, PRIVATE_FIXED, READ_WRITE, SHARED_FIXED, Stage } from "./stage.ts";

type NonlinearName = Design["nonlinear"];

interface Setting {
  readonly stage: Stage;
  /** On CPU 0, who truncates, and on CPU 1, who maps the file and does something else. */
  readonly threads: readonly [Thread, Thread];
  readonly opened: OpenFile;
}

/** A file of so many pages, mapped by the process of CPU 1; CPU 0 runs another of its threads, or another process. */
function mappedFile(
  design: Partial<Design>,
  pages: number,
  flags: number,
  lockGraph: LockGraph,
  cutter: "thread" | "process" = "thread",
): Setting {
  const stage = new Stage({ kind: "pae", cpus: 2, lockGraph, design });
  const threads = cutter === "thread" ? stage.process("program", [0, 1]) : twoProcesses(stage);
  const file = stage.kernel.files.create({ name: "data", kind: "shmem", sizeBytes: addressOf(pages) });
  const opened = new OpenFile(file, "read-write");
  stage.machine.call(threads[1], "mmap", [addressOf(PAGE), addressOf(pages), READ_WRITE, flags, opened, 0]);
  return { stage, threads, opened };
}

function twoProcesses(stage: Stage): [Thread, Thread] {
  const [cutter] = stage.process("cutter", [0]);
  const [mapper] = stage.process("mapper", [1]);
  return [cutter, mapper];
}

const truncate = ({ stage, threads, opened }: Setting, pages: number): Path<number> =>
  stage.call(threads[0], "ftruncate", [opened, addressOf(pages)]);

const remap = ({ stage, threads }: Setting, place: number, index: number): Path<number> =>
  stage.call(threads[1], "remap_file_pages", [addressOf(PAGE + place), PAGE_SIZE, 0, index, 0]);

/** An entry that maps a page which the file does not have, or a copy of one; undefined if there is none. */
function beyondTheEnd({ kernel }: Stage, file: FileObject): string | undefined {
  for (const mm of kernel.spaces) {
    for (const vma of mm.vmas) {
      if (vma.file !== file) continue;
      for (let page = vma.start; page < vma.end; page++) {
        const index = mappedIndex(kernel, vma, page);
        if (index !== undefined && index >= file.endIndex)
          return `page 0x${page.toString(16)} of ${mm.id} maps page ${index} of a file that has ${file.endIndex}`;
      }
    }
  }
  return undefined;
}

/** Which page of the file the entry of `page` maps: a copy stands for the page at its place. */
function mappedIndex({ entries, tables, frames }: Kernel, vma: Vma, page: Vpn): FileIndex | undefined {
  const table = tables.tableAt(vma.mm, page, LEAF);
  if (table === NO_TABLE) return undefined;
  const at = tables.indexAt(page, LEAF);
  if ((entries.flags(table as OpenTable, at) & PTE_PRESENT) === 0) return undefined;
  const frame = entries.frame(table as OpenTable, at);
  return frames.has(frame, PG_ANON) ? vma.indexAt(page) : frames.index.read(frame);
}

/** CPU 0 cuts the file while CPU 1 does something to what maps it. */
function against(setting: Setting, pages: number, other: Path<unknown>): World {
  const { stage, threads, opened } = setting;
  stage.scheduler.add(threads[0], truncate(setting, pages));
  stage.scheduler.add(threads[1], other);
  return stage.starts(() => beyondTheEnd(stage, opened.file));
}

/** R1: a fault finds a page of the file, and maps it when truncation has passed. */
function faultAgainstTruncate(nonlinear: NonlinearName, flags: number, lockGraph: LockGraph): World {
  const setting = mappedFile({ nonlinear }, 1, flags, lockGraph);
  const { stage, threads } = setting;
  return against(setting, 0, stage.access(threads[1], PAGE, flags === SHARED_FIXED ? LOAD : STORE));
}

/** R2: remap_file_pages finds a page, and installs it between unmapping and the cache; at its place, so that 2.5 would find it. */
function remapAgainstTruncate(nonlinear: NonlinearName, lockGraph: LockGraph): World {
  const setting = mappedFile({ nonlinear }, 2, SHARED_FIXED, lockGraph);
  setting.stage.store(setting.threads[1], PAGE + 1, 1);
  setting.stage.machine.call(setting.threads[1], "madvise", [addressOf(PAGE), addressOf(2), MADV_DONTNEED]);
  return against(setting, 1, remap(setting, 1, 1));
}

/** A file entry's fault, and truncation that takes the page which it names. */
function fileEntryAgainstTruncate(nonlinear: NonlinearName, lockGraph: LockGraph): World {
  const setting = mappedFile({ nonlinear }, 2, SHARED_FIXED, lockGraph);
  const { stage, threads } = setting;
  stage.machine.call(threads[1], "remap_file_pages", [addressOf(PAGE), PAGE_SIZE, 0, 1, MAP_NONBLOCK]);
  return against(setting, 1, stage.access(threads[1], PAGE, LOAD));
}

/** Truncation takes page 2, which lies out of order, while CPU 1 holds the tables: it waits for CPU 0 to flush. */
function busyTables(nonlinear: NonlinearName, lockGraph: LockGraph): World {
  const setting = mappedFile({ nonlinear }, 3, SHARED_FIXED, lockGraph);
  const { stage, threads } = setting;
  for (let page = 0; page < 3; page++) stage.store(threads[1], PAGE + page, page);
  stage.machine.call(threads[1], "remap_file_pages", [addressOf(PAGE), PAGE_SIZE, 0, 2, 0]);
  stage.machine.call(threads[1], "munmap", [addressOf(PAGE + 2), PAGE_SIZE]);
  return against(setting, 2, remap(setting, 1, 0));
}

type Change = (setting: Setting) => Path<unknown>;

const splits: Change = ({ stage, threads }) =>
  stage.call(threads[1], "mprotect", [addressOf(PAGE + 1), PAGE_SIZE, READ_ONLY]);

const forks: Change = ({ stage, threads }) => stage.fork(threads[1]);

const moves: Change = ({ stage, threads }) =>
  stage.call(threads[1], "mremap", [
    addressOf(PAGE),
    PAGE_SIZE,
    PAGE_SIZE,
    MREMAP_MAYMOVE | MREMAP_FIXED,
    addressOf(PAGE + 64),
  ]);

/** A private area with copies of its pages changes while truncation takes them. */
function changeAgainstTruncate(
  { change, pages }: { readonly change: Change; readonly pages: number },
  looks: "again" | "once",
  lockGraph: LockGraph,
): World {
  const setting = mappedFile({}, pages, PRIVATE_FIXED, lockGraph, "process");
  const { stage, threads, opened } = setting;
  for (let page = 0; page < pages; page++) stage.store(threads[1], PAGE + page, 1);
  if (looks === "once") Object.defineProperty(opened.file.mappings, "generation", { get: () => 0 });
  return against(setting, 0, change(setting));
}

/** A shared page is moved by one thread while another has it in its TLB, and truncates the file. */
function moveAgainstTruncate(change: (kernel: Kernel) => void, lockGraph: LockGraph): World {
  const setting = mappedFile({}, 1, SHARED_FIXED, lockGraph);
  for (const thread of setting.threads) setting.stage.store(thread, PAGE, 1);
  change(setting.stage.kernel);
  return against(setting, 0, moves(setting));
}

/** mremap moves entries, and no TLB is told. */
const moveForgetsToFlush = ({ tlbFlush }: Kernel): void => {
  const flush = tlbFlush.page.bind(tlbFlush);
  tlbFlush.page = (mm, page) => {
    if (page !== PAGE) flush(mm, page);
  };
};

const MAP_NONBLOCK = 0x1_0000;
const MADV_DONTNEED = 4;
const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const READ_ONLY = 1;

const reliable = ["tagged-search", "cleanup-pass", "unmap-each"] as const;

/** One variant for each option that must hold, and one for each that breaks. */
const variantsOf = (
  build: (nonlinear: NonlinearName, lockGraph: LockGraph) => World,
  holds: readonly NonlinearName[],
  breaks: Partial<Record<NonlinearName, string>>,
): Variant[] => [
  ...holds.map(
    (name): Variant => ({
      name,
      says: `truncation as the option ${name} has it`,
      expects: "holds",
      build: (graph) => build(name, graph),
    }),
  ),
  ...Object.entries(breaks).map(
    ([name, says]): Variant => ({
      name,
      says,
      expects: "breaks",
      build: (graph) => build(name as NonlinearName, graph),
    }),
  ),
];

const changes = {
  split: { change: splits, pages: 2 },
  fork: { change: forks, pages: 1 },
  move: { change: moves, pages: 1 },
};

export const truncation: readonly Scenario[] = [
  {
    name: "fault-against-truncate",
    claim:
      "A fault that has found a page of a file looks again, with the tables locked, whether truncation has passed.",
    variants: [
      ...variantsOf((name, graph) => faultAgainstTruncate(name, SHARED_FIXED, graph), ["tagged-search"], {
        "remap-2.5": "a kernel of 2.5 maps what it has found",
      }),
      {
        name: "private",
        says: "the fault copies the page",
        expects: "holds",
        build: (graph) => faultAgainstTruncate("tagged-search", PRIVATE_FIXED, graph),
      },
      {
        name: "private-2.5",
        says: "a kernel of 2.5 maps its copy of the page",
        expects: "breaks",
        build: (graph) => faultAgainstTruncate("remap-2.5", PRIVATE_FIXED, graph),
      },
    ],
  },
  {
    name: "remap-against-truncate",
    claim:
      "A page that remap_file_pages installs is still the file's: between unmapping and the page cache truncation would miss it.",
    variants: variantsOf(remapAgainstTruncate, reliable, {
      "remap-2.5": "a kernel of 2.5 does not look: the page leaves the cache while it is mapped",
    }),
  },
  {
    name: "file-entry-against-truncate",
    claim: "A fault on a file entry maps the page that it names only as long as the file has it.",
    variants: variantsOf(fileEntryAgainstTruncate, reliable, {
      "remap-2.5": "a kernel of 2.5 maps it, at a place where truncation does not look",
    }),
  },
  {
    name: "truncate-against-busy-tables",
    claim:
      "Truncation that only tries page_table_lock must try until it is had, or search in the end: else a page stays mapped.",
    variants: variantsOf(busyTables, reliable, {
      "cleanup-tolerant": "it tries twice, and lets the page go as an orphan",
    }),
  },
  {
    name: "truncate-against-change",
    claim: "Truncation looks at all areas again if entries have come to others while it waited.",
    variants: Object.entries(changes).flatMap(([name, change]): Variant[] => [
      {
        name,
        says: `another thread's ${name}`,
        expects: "holds",
        build: (graph) => changeAgainstTruncate(change, "again", graph),
      },
      {
        name: `${name}-looks-once`,
        says: "the same, and truncation goes through the areas that it found first",
        expects: "breaks",
        build: (graph) => changeAgainstTruncate(change, "once", graph),
      },
    ]),
  },
  {
    name: "move-against-truncate",
    claim:
      "No CPU uses the old place of a page that mremap has moved once its tables are unlocked: truncation flushes the new place only.",
    variants: [
      {
        name: "as-it-is",
        says: "flushed before page_table_lock is released",
        expects: "holds",
        build: (graph) => moveAgainstTruncate(() => {}, graph),
      },
      {
        name: "no-flush",
        says: "the old place is not flushed",
        expects: "breaks",
        build: (graph) => moveAgainstTruncate(moveForgetsToFlush, graph),
      },
    ],
  },
];
