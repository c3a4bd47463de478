/**
 * Scenarios about leaf tables that go with their last entry, while another CPU faults in their span, or walks there by
 * what it remembers of the levels above.
 */
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { type Access, LOAD, STORE } from "../../hw/access.ts";
import { OpenFile } from "../../mm/file.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { LEAF, NO_TABLE } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import { lockTables, unlockTables } from "../../mm/table-lock.ts";
import type { TableFreeing } from "../../mm/tables/freeing.ts";
import { Gather } from "../../mm/tlb/gather.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { freesBeforeFlush } from "./doubles.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, READ_WRITE, SHARED_FIXED, Stage } from "./stage.ts";

const MADV_DONTNEED = 4;
const VALUE = 7;

/** x86-64, whose walks start at leaf tables that they remember. */
const kernels = ["linux-2.6.11", "linux-6.1"] as const;
type KernelName = (typeof kernels)[number];

type Change = (kernel: Kernel) => void;
const asItIs: Change = () => {};

/** The table is freed at once; what it mapped goes through the gather. */
const freesTableAtOnce: Change = (kernel) => {
  const { takeEmpty } = kernel.tableFreeing;
  changeTaking(kernel, (of, mm, page) => {
    const table = takeEmpty(of, mm, page);
    if (table !== NO_TABLE) kernel.tables.releaseFrame(table, LEAF);
    return NO_TABLE;
  });
};

function changeTaking(kernel: Kernel, takeEmpty: TableFreeing["takeEmpty"]): void {
  (kernel as { tableFreeing: TableFreeing }).tableFreeing = { ...kernel.tableFreeing, takeEmpty };
}

const stageOf = (kernel: KernelName, lockGraph: LockGraph): Stage =>
  new Stage({ kind: "x86-64", cpus: 2, kernel, lockGraph, design: { pageTableFreeing: "when-empty" } });

/** CPU 0 gives back the only page of a table; CPU 1, which remembers the table, does something in its span. */
function emptiedAgainst(
  kind: Access,
  empties: (stage: Stage, thread: Thread) => Path<unknown>,
  change: Change,
  [kernel, lockGraph]: readonly [KernelName, LockGraph],
): World {
  const stage = stageOf(kernel, lockGraph);
  const [giver, user] = stage.process("program", [0, 1]);
  stage.map(giver, PAGE, 2);
  stage.store(user, PAGE, 1);
  change(stage.kernel);
  stage.scheduler.add(giver, empties(stage, giver));
  stage.scheduler.add(user, kind === STORE ? stage.storeByte(user, PAGE + 1, VALUE) : stage.access(user, PAGE, LOAD));
  return stage.starts(() => {
    if (kind !== STORE) return undefined;
    const found = byteAt(stage, user);
    return found === VALUE ? undefined : `the program wrote ${VALUE}, and its page holds ${found}`;
  });
}

/** The byte that the page beside the one given back holds; -1 if it is not there. */
function byteAt({ kernel }: Stage, { mm }: Thread): number {
  const { tables, entries, memory } = kernel;
  const table = tables.openLeaf(mm, PAGE + 1);
  if (table === NO_TABLE) return -1;
  const index = tables.indexAt(PAGE + 1, LEAF);
  const value = entries.flags(table, index) === 0 ? -1 : memory.readByte(entries.frame(table, index), 0);
  tables.close(table);
  return value;
}

const dontneed = (stage: Stage, thread: Thread): Path<number> =>
  stage.call(thread, "madvise", [addressOf(PAGE), PAGE_SIZE, MADV_DONTNEED]);

/** The same, but the table that was seen empty goes after page_table_lock was let go. */
function* goesLater(stage: Stage, thread: Thread): Path<void> {
  const { kernel } = stage;
  const { tables } = kernel;
  const { mm } = thread;
  const parent = tables.tableAt(mm, PAGE, LEAF + 1);
  const index = tables.indexAt(PAGE, LEAF + 1);
  let empty = false;
  const { takeEmpty } = kernel.tableFreeing;
  changeTaking(kernel, () => {
    empty = true;
    return NO_TABLE;
  });
  yield* dontneed(stage, thread);
  changeTaking(kernel, takeEmpty);
  if (!empty) return;
  yield* lockTables(kernel, mm);
  const table = tables.unhang(mm, parent, LEAF + 1, index);
  tables.uncount(mm, table, LEAF);
  const gather = new Gather(kernel, mm);
  const span = tables.span(LEAF);
  const start = Math.floor(PAGE / span) * span;
  gather.addTable(table, LEAF, start, start + span);
  unlockTables(kernel, mm);
  yield* gather.flush();
}

/** CPU 0 cuts a file whose only mapped page was in a table; CPU 1 stores to the page before the cut. */
function truncateAgainstFault(change: Change, kernel: KernelName, lockGraph: LockGraph): World {
  const stage = stageOf(kernel, lockGraph);
  const [cutter, user] = stage.process("program", [0, 1]);
  const file = stage.kernel.files.create({ name: "data", kind: "shmem", sizeBytes: addressOf(2) });
  const opened = new OpenFile(file, "read-write");
  stage.machine.call(cutter, "mmap", [addressOf(PAGE), addressOf(2), READ_WRITE, SHARED_FIXED, opened, 0]);
  stage.store(user, PAGE + 1, 1);
  change(stage.kernel);
  stage.scheduler.add(cutter, stage.call(cutter, "ftruncate", [opened, PAGE_SIZE]));
  stage.scheduler.add(user, stage.access(user, PAGE, STORE));
  return stage.starts();
}

export const emptying: readonly Scenario[] = [
  {
    name: "empty-table-against-fault",
    claim:
      "A table that is seen empty goes in the same step, with page_table_lock held: who faults in its span finds it filled in time, or makes another.",
    variants: [
      ...kernels.map((kernel) => ({
        name: `as-it-is-${kernel}`,
        says: "MADV_DONTNEED clears the last entry, and another thread stores beside it",
        expects: "holds" as const,
        build: (graph: LockGraph) => emptiedAgainst(STORE, dontneed, asItIs, [kernel, graph]),
      })),
      {
        name: "frees-before-flush",
        says: "the table is freed while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => emptiedAgainst(STORE, dontneed, freesBeforeFlush, ["linux-6.1", graph]),
      },
      {
        name: "frees-table-at-once",
        says: "pages wait for the flush, and the table does not: a CPU walks through it by what it remembers",
        expects: "breaks",
        build: (graph) => emptiedAgainst(STORE, dontneed, freesTableAtOnce, ["linux-6.1", graph]),
      },
      {
        name: "goes-later",
        says: "page_table_lock is let go between looking at the count and taking the table off",
        expects: "breaks",
        build: (graph) => emptiedAgainst(STORE, goesLater, asItIs, ["linux-6.1", graph]),
      },
    ],
  },
  {
    name: "empty-table-against-walk",
    claim:
      "A CPU that remembers the way to a table which has gone with its last entry never walks through what its frame holds next.",
    variants: [
      ...kernels.map((kernel) => ({
        name: `as-it-is-${kernel}`,
        says: "another thread reads the page that is given back",
        expects: "holds" as const,
        build: (graph: LockGraph) => emptiedAgainst(LOAD, dontneed, asItIs, [kernel, graph]),
      })),
      {
        name: "frees-table-at-once",
        says: "pages wait for the flush, and the table does not",
        expects: "breaks",
        build: (graph) => emptiedAgainst(LOAD, dontneed, freesTableAtOnce, ["linux-6.1", graph]),
      },
    ],
  },
  {
    name: "empty-table-against-truncate",
    claim: "Truncation that empties a table frees it as unmapping would, whoever faults before the cut.",
    variants: [
      ...kernels.map((kernel) => ({
        name: `as-it-is-${kernel}`,
        says: "another thread stores to a page that the file keeps",
        expects: "holds" as const,
        build: (graph: LockGraph) => truncateAgainstFault(asItIs, kernel, graph),
      })),
      {
        name: "frees-before-flush",
        says: "the table is freed while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => truncateAgainstFault(freesBeforeFlush, "linux-6.1", graph),
      },
    ],
  },
];
