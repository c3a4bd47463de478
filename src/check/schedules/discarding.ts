/**
 * Scenarios about leaf tables that go while their pages are in use: discarded because they can be made again, or with
 * their last entry, which reclaim took.
 */
import { addressOf, PAGE_SIZE, type Vpn } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { MEMORY } from "../../mm/address-space.ts";
import { type FileObject, OpenFile } from "../../mm/file.ts";
import { PG_REFERENCED } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { NOT_CACHED } from "../../mm/page-cache.ts";
import { LEAF, NO_TABLE } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import { shrinkPage, whenShort } from "../../mm/reclaim/shrink-page.ts";
import { lockTables, unlockTables } from "../../mm/table-lock.ts";
import { discardTable } from "../../mm/tables/discard/discard-table.ts";
import { Gather } from "../../mm/tlb/gather.ts";
import { zapTable } from "../../mm/zap.ts";
import { type Path, point, runToCompletion } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { freesBeforeFlush } from "./doubles.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, PRIVATE_FIXED, READ_WRITE, SHARED_FIXED, Stage, type StageShape } from "./stage.ts";

const VALUE = 7;
const MREMAP_FIXED_MAYMOVE = 3;
/** In the span of another leaf table, whatever the format. */
const ELSEWHERE: Vpn = PAGE + 4096;

const kernels = ["linux-2.6.11", "linux-6.1"] as const;
type KernelName = (typeof kernels)[number];

interface Mapped {
  readonly stage: Stage;
  readonly thread: Thread;
  readonly file: FileObject;
}

/** A program that maps a file of one page, and has read it. x86-64, whose walks start at leaf tables that they remember. */
function mapped(kernel: KernelName, flags: number, shape: Partial<StageShape>): Mapped {
  const stage = new Stage({ kind: "x86-64", cpus: 2, kernel, ...shape });
  const [thread] = stage.process("program", [0]);
  const file = stage.kernel.files.create({ name: "data", kind: "regular", sizeBytes: PAGE_SIZE });
  const opened = new OpenFile(file, "read-write");
  stage.machine.call(thread, "mmap", [addressOf(PAGE), PAGE_SIZE, READ_WRITE, flags, opened, 0]);
  stage.machine.access(thread, addressOf(PAGE), LOAD);
  return { stage, thread, file };
}

/** How the table of PAGE is discarded. */
type Discard = (mapped: Mapped) => Path<unknown>;

/** It is looked at twice: what was used becomes old, and what is old goes. */
const asItIs: Discard = function* ({ stage, thread }) {
  const { kernel } = stage;
  const { costs } = kernel.tableDiscard;
  for (let look = 0; look < 2; look++) yield* discardTable(kernel, thread.mm, PAGE, costs);
};

/** The table is judged, and page_table_lock is let go before it is taken off. */
const looksBeforeLock: Discard = function* ({ stage, thread }) {
  const { kernel } = stage;
  kernel.current.task.watch?.touch(MEMORY, "read");
  const judged = entryOf(kernel, thread) !== NO_FRAME;
  yield point("its turn");
  if (judged) yield* takeDown(kernel, thread, "flush-first");
};

/** The table is freed at once, and flushed from the CPUs afterwards. */
const freesTableAtOnce: Discard = function* ({ stage, thread }) {
  yield* takeDown(stage.kernel, thread, "free-first");
};

function* takeDown(kernel: Kernel, { mm }: Thread, order: "flush-first" | "free-first"): Path<void> {
  const { tables } = kernel;
  const gather = new Gather(kernel, mm);
  yield* lockTables(kernel, mm);
  const vma = mm.vmas.containing(PAGE)!;
  zapTable(kernel, gather, vma, { first: PAGE, end: PAGE + 1, cows: "all" });
  const table = tables.unhang(mm, tables.tableAt(mm, PAGE, LEAF + 1), LEAF + 1, tables.indexAt(PAGE, LEAF + 1));
  tables.uncount(mm, table, LEAF);
  if (order === "flush-first") gather.addTable(table, LEAF, PAGE, PAGE + tables.span(LEAF));
  else tables.releaseFrame(table, LEAF);
  unlockTables(kernel, mm);
  yield* gather.flush();
}

const NO_FRAME = -1;

/** The frame that PAGE maps. */
function entryOf({ tables, entries }: Kernel, { mm }: Thread): number {
  const table = tables.openLeaf(mm, PAGE);
  if (table === NO_TABLE) return NO_FRAME;
  const index = tables.indexAt(PAGE, LEAF);
  const frame = entries.flags(table, index) === 0 ? NO_FRAME : entries.frame(table, index);
  tables.close(table);
  return frame;
}

/** A program stores to its page and reads it again while CPU 1 discards the table that maps it. */
function discardAgainstStore(world: Mapped, discard: Discard): World {
  const { stage, thread } = world;
  let read = -1;
  stage.scheduler.add(thread, storeAndLoad());
  stage.kernelTask("kswapd", 1, discard(world));
  return stage.starts(() => (read === VALUE ? undefined : `the program wrote ${VALUE} and reads ${read}`));

  function* storeAndLoad(): Path<void> {
    yield* stage.storeByte(thread, PAGE, VALUE);
    read = yield* stage.loadByte(thread, PAGE);
  }
}

/** CPU 1 takes the file's page from all that map it, and with it the last entry of a table; CPU 0 changes the tree. */
function reclaimAgainst(change: (world: Mapped) => Path<unknown>, kernel: KernelName, graph: LockGraph): World {
  const world = mapped(kernel, SHARED_FIXED, { lockGraph: graph, design: { pageTableFreeing: "when-empty" } });
  const { stage, thread, file } = world;
  const frame = file.pages.find(0);
  // Its entry and the page are old: reclaim takes it at once.
  runToCompletion(discardTable(stage.kernel, thread.mm, PAGE, stage.kernel.tableDiscard.costs));
  stage.kernel.frames.clearFlag(frame, PG_REFERENCED);
  stage.scheduler.add(thread, change(world));
  stage.kernelTask("kswapd", 1, reclaims());
  return stage.starts(() => (file.pages.find(0) === NOT_CACHED ? undefined : "reclaim has not taken the page"));

  function* reclaims(): Path<void> {
    const { frames, reclaim, allocator, current } = stage.kernel;
    current.task.watch?.touch(MEMORY, "write");
    reclaim.forget(frame);
    frames.addReference(frame);
    if ((yield* shrinkPage(stage.kernel, frame, whenShort)) !== "freed") reclaim.adopt(frame);
    allocator.release(frame);
  }
}

const forks = ({ stage, thread }: Mapped): Path<unknown> => stage.fork(thread);

const moves = ({ stage, thread }: Mapped): Path<unknown> =>
  stage.call(thread, "mremap", [addressOf(PAGE), PAGE_SIZE, PAGE_SIZE, MREMAP_FIXED_MAYMOVE, addressOf(ELSEWHERE)]);

const byAge = { pageTableDiscard: "age" } as const;

/** One variant for each kernel as it is. */
const asTheyAre = (says: string, build: (kernel: KernelName, graph: LockGraph) => World): Scenario["variants"] =>
  kernels.map((kernel) => ({
    name: `as-it-is-${kernel}`,
    says,
    expects: "holds",
    build: (graph) => build(kernel, graph),
  }));

export const discarding: readonly Scenario[] = [
  {
    name: "discard-against-store",
    claim:
      "A table of a file's pages may go while they are in use: what was stored through it is in the page, and no CPU walks through its frame afterwards.",
    variants: [
      ...asTheyAre("a shared mapping: the dirty bits go to the page", (kernel, lockGraph) =>
        discardAgainstStore(mapped(kernel, SHARED_FIXED, { lockGraph, design: byAge }), asItIs),
      ),
      {
        name: "frees-before-flush",
        says: "the table is freed while the interrupts are still on their way",
        expects: "breaks",
        build: (lockGraph) => {
          const world = mapped("linux-6.1", SHARED_FIXED, { lockGraph, design: byAge });
          freesBeforeFlush(world.stage.kernel);
          return discardAgainstStore(world, asItIs);
        },
      },
      {
        name: "frees-table-at-once",
        says: "the table is freed with page_table_lock held, and flushed afterwards",
        expects: "breaks",
        build: (lockGraph) =>
          discardAgainstStore(mapped("linux-6.1", SHARED_FIXED, { lockGraph, design: byAge }), freesTableAtOnce),
      },
    ],
  },
  {
    name: "discard-against-copy",
    claim:
      "A table is judged and taken off with page_table_lock held: a private copy that came in between would be lost.",
    variants: [
      ...asTheyAre("a private mapping, which the program writes to", (kernel, lockGraph) =>
        discardAgainstStore(mapped(kernel, PRIVATE_FIXED, { lockGraph, design: byAge }), asItIs),
      ),
      {
        name: "looks-before-lock",
        says: "the table is judged before the lock is taken",
        expects: "breaks",
        build: (lockGraph) =>
          discardAgainstStore(mapped("linux-6.1", PRIVATE_FIXED, { lockGraph, design: byAge }), looksBeforeLock),
      },
    ],
  },
  {
    name: "emptying-against-fork",
    claim: "fork may find that the table it copies has gone with its last page, or take it with the child's reference.",
    variants: asTheyAre("reclaim takes the only page of a table while fork copies it", (kernel, graph) =>
      reclaimAgainst(forks, kernel, graph),
    ),
  },
  {
    name: "emptying-against-move",
    claim: "mremap moves an entry to a table of its own making, which reclaim may empty before or after.",
    variants: asTheyAre("reclaim takes the only page of a table while mremap moves it", (kernel, graph) =>
      reclaimAgainst(moves, kernel, graph),
    ),
  },
];
