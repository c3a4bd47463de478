/** Scenarios about files that are mapped: a page that leaves its file while a fault maps it, and one that is written back. */
import { addressOf, type FileIndex, PAGE_SIZE, type Pfn } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import { PTE_DIRTY, PTE_WRITE } from "../../hw/pte.ts";
import { MEMORY } from "../../mm/address-space.ts";
import { WANT_USER } from "../../mm/allocator.ts";
import { type FileKind, type FileObject, OpenFile } from "../../mm/file.ts";
import { filePage } from "../../mm/file-pages.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { entryFlags, mapShared } from "../../mm/mapped-frame.ts";
import { LEAF, NO_TABLE } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import { lockTables, unlockTables } from "../../mm/table-lock.ts";
import { OWNER_USER } from "../../mm/zone.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { areasNeverGo, freesBeforeFlush } from "./doubles.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, PRIVATE_FIXED, PRIVATE_FIXED_ANONYMOUS, READ_WRITE, SHARED_FIXED, Stage } from "./stage.ts";

/** How a program writes to a page of a mapped file. */
type Write = (stage: Stage, thread: Thread, opened: OpenFile) => Path<unknown>;

const asItIs: Write = (stage, thread) => stage.access(thread, PAGE, STORE);

interface Mapped {
  readonly stage: Stage;
  readonly threads: readonly [Thread, Thread];
  readonly opened: OpenFile;
}

/** Two threads, and a file of one page that both have open, mapped by one of them. */
function mappedFile(kernel: string, kind: FileKind, flags: number, cached: boolean, lockGraph: LockGraph): Mapped {
  const stage = new Stage({ kind: "pae", kernel, cpus: 2, lockGraph });
  const { machine } = stage;
  const threads = stage.process("program", [0, 1]);
  const file = stage.kernel.files.create({ name: "data", kind, sizeBytes: PAGE_SIZE });
  const opened = new OpenFile(file, "read-write");
  const map = (page: number, with_: number) =>
    machine.call(threads[0], "mmap", [addressOf(page), PAGE_SIZE, READ_WRITE, with_, opened, 0]);
  if (cached) {
    map(PAGE + 16, SHARED_FIXED);
    stage.store(threads[0], PAGE + 16, 1);
    machine.call(threads[0], "munmap", [addressOf(PAGE + 16), PAGE_SIZE]);
  }
  map(PAGE, flags);
  return { stage, threads, opened };
}

/** CPU 0 cuts a file to nothing while CPU 1 writes to a page of it: nothing may stay mapped beyond the end. */
function truncateAgainstFault(write: Write, flags: number, cached: boolean, lockGraph: LockGraph): World {
  const { stage, threads, opened } = mappedFile("linux-2.6.11", "shmem", flags, cached, lockGraph);
  stage.scheduler.add(threads[0], stage.call(threads[0], "ftruncate", [opened, 0]));
  stage.scheduler.add(threads[1], write(stage, threads[1], opened));
  return stage.starts();
}

/**
 * CPU 1 cuts a file to nothing while CPU 0 unmaps it, and maps memory of its own in its place: nobody may take that away.
 */
function truncateAgainstUnmap(change: (file: FileObject) => void, lockGraph: LockGraph): World {
  const { stage, threads, opened } = mappedFile("linux-2.6.11", "shmem", SHARED_FIXED, false, lockGraph);
  const [mapper, cutter] = threads;
  stage.store(mapper, PAGE, 1);
  change(opened.file);
  let seen = -1;
  stage.scheduler.add(mapper, replace());
  stage.scheduler.add(cutter, stage.call(cutter, "ftruncate", [opened, 0]));
  return stage.starts(() => (seen === 7 ? undefined : `the program wrote 7 to its own memory, and reads ${seen}`));

  function* replace(): Path<void> {
    yield* stage.munmap(mapper, PAGE, 1);
    yield* stage.call(mapper, "mmap", [addressOf(PAGE), PAGE_SIZE, READ_WRITE, PRIVATE_FIXED_ANONYMOUS]);
    yield* stage.storeByte(mapper, PAGE, 7);
    seen = yield* stage.loadByte(mapper, PAGE);
  }
}

/** A fault written out: find the file's page, lock the tables, map it. */
const findThenMap = (then: "looks-again" | "trusts-what-it-found"): Write =>
  function* (stage, thread, { file }) {
    const { kernel } = stage;
    const { mm } = thread;
    if (!mm.mmapSem.tryRead(thread)) yield* mm.mmapSem.read(thread);
    const frame = yield* filePage(kernel, file, 0, { areaFlags: 0, major: false });
    stage.scheduler.touch(MEMORY, "read");
    if (frame >= 0) {
      yield* lockTables(kernel, mm);
      if (then === "trusts-what-it-found" || file.pages.find(0) === frame) mapFound(kernel, thread, frame);
      unlockTables(kernel, mm);
    }
    mm.mmapSem.releaseRead(thread);
  };

/** Requires: page_table_lock is held. */
function mapFound(kernel: Kernel, { mm }: Thread, frame: number): void {
  const { tables, entries } = kernel;
  const vma = mm.vmas.containing(PAGE);
  const leaf = tables.tryEnsureLeaf(mm, PAGE);
  if (vma === null || leaf === NO_TABLE) return;
  const table = tables.open(leaf);
  const index = tables.indexAt(PAGE, LEAF);
  if (mapShared(kernel, vma, frame, entries.slotOf(table, index)) === 0)
    entries.set(table, index, frame, entryFlags(kernel, vma) | PTE_WRITE | PTE_DIRTY);
  tables.close(table);
}

/**
 * CPU 0 writes a file's page back while CPU 1, which has written to it before, writes again: at the end either the disk
 * has what the page holds, or the file knows that it has not.
 */
function writebackAgainstWriter(change: (kernel: Kernel) => void, lockGraph: LockGraph): World {
  const { stage, threads, opened } = mappedFile("linux-6.1", "regular", SHARED_FIXED, false, lockGraph);
  const { kernel } = stage;
  stage.store(threads[0], PAGE, 1);
  stage.store(threads[1], PAGE, 2);
  const scratch = kernel.allocator.tryAllocate(0, WANT_USER, OWNER_USER);
  change(kernel);
  const { file } = opened;
  const range = [addressOf(PAGE), PAGE_SIZE, MS_SYNC];
  stage.scheduler.add(threads[0], stage.call(threads[0], "msync", range));
  stage.scheduler.add(threads[1], stage.storeByte(threads[1], PAGE, 3));
  return stage.starts(() => lostWrite(stage, file, 0, scratch), "contents");
}

/** What is wrong with a file whose page is clean and differs from the disk's. */
function lostWrite({ kernel }: Stage, file: FileObject, index: FileIndex, scratch: Pfn): string | undefined {
  if (file.pages.isDirty(index)) return undefined;
  kernel.memory.zero(scratch);
  file.disk.load(kernel.memory, scratch, index);
  const onDisk = kernel.memory.readByte(scratch, 0);
  const inMemory = kernel.memory.readByte(file.pages.find(index), 0);
  if (onDisk === inMemory) return undefined;
  return `the file's page is clean and holds ${inMemory}, and the disk has ${onDisk}`;
}

/**
 * CPU 0 writes a file of two pages back while another process, which has written to the second, protects the first, which
 * splits its area, and writes to the second again.
 */
function writebackAgainstSplit(looks: "again" | "once", lockGraph: LockGraph): World {
  const stage = new Stage({ kind: "pae", kernel: "linux-6.1", cpus: 2, lockGraph });
  const { machine, kernel } = stage;
  const file = kernel.files.create({ name: "data", kind: "regular", sizeBytes: 2 * PAGE_SIZE });
  const opened = new OpenFile(file, "read-write");
  const range = [addressOf(PAGE), 2 * PAGE_SIZE];
  const [syncer] = stage.process("syncer", [0]);
  const [writer] = stage.process("writer", [1]);
  for (const thread of [syncer, writer]) machine.call(thread, "mmap", [...range, READ_WRITE, SHARED_FIXED, opened, 0]);
  stage.store(writer, PAGE + 1, 1);
  const scratch = kernel.allocator.tryAllocate(0, WANT_USER, OWNER_USER);
  if (looks === "once") Object.defineProperty(file.mappings, "generation", { get: () => 0 });
  stage.scheduler.add(syncer, stage.call(syncer, "msync", [...range, MS_SYNC]));
  stage.scheduler.add(writer, splitAndWrite());
  return stage.starts(() => lostWrite(stage, file, 1, scratch), "contents");

  function* splitAndWrite(): Path<void> {
    yield* stage.call(writer, "mprotect", [addressOf(PAGE), PAGE_SIZE, READ]);
    yield* stage.storeByte(writer, PAGE + 1, 3);
  }
}

const MS_SYNC = 4;
const READ = 1;

/** Entries become clean, and no TLB is told. */
const writebackForgetsToFlush = ({ tlbFlush }: Kernel): void => {
  tlbFlush.page = () => {};
};

export const files: readonly Scenario[] = [
  {
    name: "truncate-against-fault",
    claim:
      "A fault that has found a page of a file maps it only if truncation has not taken it from the file meanwhile.",
    variants: [
      {
        name: "shared",
        says: "a write through a shared mapping; the page is cached",
        expects: "holds",
        build: (graph) => truncateAgainstFault(asItIs, SHARED_FIXED, true, graph),
      },
      {
        name: "shared-first",
        says: "a write through a shared mapping that brings the page in",
        expects: "holds",
        build: (graph) => truncateAgainstFault(asItIs, SHARED_FIXED, false, graph),
      },
      {
        name: "private",
        says: "a write through a private mapping, which copies the page",
        expects: "holds",
        build: (graph) => truncateAgainstFault(asItIs, PRIVATE_FIXED, true, graph),
      },
      {
        name: "looks-again",
        says: "the fault written out: with page_table_lock held, it looks whether the file still has the page",
        expects: "holds",
        build: (graph) => truncateAgainstFault(findThenMap("looks-again"), SHARED_FIXED, true, graph),
      },
      {
        name: "trusts-what-it-found",
        says: "the same without looking again",
        expects: "breaks",
        build: (graph) => truncateAgainstFault(findThenMap("trusts-what-it-found"), SHARED_FIXED, true, graph),
      },
    ],
  },
  {
    name: "truncate-against-unmap",
    claim:
      "Truncation looks at an area again each time it has waited for its tables: the area may be gone, and others in its place.",
    variants: [
      {
        name: "as-it-is",
        says: "one thread cuts the file, another unmaps it and maps its own memory there",
        expects: "holds",
        build: (graph) => truncateAgainstUnmap(() => {}, graph),
      },
      {
        name: "trusts-the-area",
        says: "truncation takes the area that it found for one that still maps the file",
        expects: "breaks",
        build: (graph) => truncateAgainstUnmap(areasNeverGo, graph),
      },
    ],
  },
  {
    name: "writeback-against-writer",
    claim:
      "A page is called clean only after every CPU has dropped the right to write to it: a CPU that remembers a dirty, writable entry tells nobody of its writes.",
    variants: [
      {
        name: "as-it-is",
        says: "clean the entries, flush, wait for acknowledgements, read the page for the disk",
        expects: "holds",
        build: (graph) => writebackAgainstWriter(() => {}, graph),
      },
      {
        name: "no-flush",
        says: "entries become clean without a flush",
        expects: "breaks",
        build: (graph) => writebackAgainstWriter(writebackForgetsToFlush, graph),
      },
      {
        name: "does-not-wait",
        says: "the page is read while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => writebackAgainstWriter(freesBeforeFlush, graph),
      },
    ],
  },
  {
    name: "writeback-against-split",
    claim: "Writing back cleans the entries of all areas: those, too, that came while it waited for page tables.",
    variants: [
      {
        name: "as-it-is",
        says: "it looks at all areas again",
        expects: "holds",
        build: (graph) => writebackAgainstSplit("again", graph),
      },
      {
        name: "looks-once",
        says: "it goes through the areas that it found first",
        expects: "breaks",
        build: (graph) => writebackAgainstSplit("once", graph),
      },
    ],
  },
];
