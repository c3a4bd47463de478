/**
 * Scenarios about faults of transparent huge pages: the first touch of one, and a write to one, against what changes a part of
 * the area, or the address space, at the same time.
 */
import { addressOf, type Pfn, type Vpn } from "../../base/units.ts";
import type { AddressSpace } from "../../mm/address-space.ts";
import { anonVmaPrepare } from "../../mm/anon-vma.ts";
import { writtenEntry } from "../../mm/anonymous-fault.ts";
import { NO_FRAME } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { LEAF, NO_TABLE } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import { lockTables, unlockTables } from "../../mm/table-lock.ts";
import { HUGE_LEVEL, hugeEntryAt, setHuge } from "../../mm/thp/huge-entries.ts";
import { mapNewHuge } from "../../mm/thp/huge-fault.ts";
import type { Vma } from "../../mm/vma.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { byteAt, wrongIf } from "./contents.ts";
import { forkForgetsToFlush, freesBeforeFlush } from "./doubles.ts";
import { HUGE, hugePage, LATER, type Program, smallPages, VALUE } from "./huge-stage.ts";
import type { Scenario, Variant } from "./scenario.ts";
import { PAGE } from "./stage.ts";

const HALF = HUGE / 2;
const READ = 1;

type Change = (kernel: Kernel) => void;
const asItIs: Change = () => {};

/** How a thread writes to a page of its own. */
type Write = (program: Program, thread: Thread, page: Vpn) => Path<unknown>;
const faults: Write = ({ stage }, thread, page) => stage.storeByte(thread, page, LATER);

/** A first touch written out: find the area, take a huge page, lock the tables, look at the place, map it; then write. */
const findThenMap = (leavesOut: "nothing" | "the look" | "mmap_sem"): Write =>
  function* ({ stage, kernel }, thread, page) {
    const { tables, transparent } = kernel;
    const { mm } = thread;
    yield* mm.mmapSem.read(thread);
    const admits = transparent.admits(mm.vmas.containing(page)!, page);
    if (leavesOut === "mmap_sem") mm.mmapSem.releaseRead(thread);
    if (admits) {
      const head = transparent.pages.take(kernel);
      yield* lockTables(kernel, mm);
      const isFree = hugeEntryAt(kernel, mm, page) === null && tables.tableAt(mm, page, LEAF) === NO_TABLE;
      if (isFree || leavesOut === "the look") mapHuge(kernel, mm.vmas.containing(page)!, page, head);
      else transparent.pages.giveBack(kernel, head);
      unlockTables(kernel, mm);
    }
    if (leavesOut !== "mmap_sem") mm.mmapSem.releaseRead(thread);
    yield* faults({ stage, kernel, threads: [thread, thread] }, thread, page);
  };

/** Requires: page_table_lock is held. */
function mapHuge(kernel: Kernel, vma: Vma, page: Vpn, head: Pfn): void {
  const { tables } = kernel;
  const table = tables.tryEnsure(vma.mm, page, HUGE_LEVEL);
  const place = { page: page - (page % HUGE), table, index: tables.indexAt(page, HUGE_LEVEL) };
  anonVmaPrepare(kernel, vma);
  tables.tryReserveLeaf(vma.mm, place.page);
  mapNewHuge(kernel, vma, place, head);
  setHuge(kernel, place, head, writtenEntry(kernel, vma));
}

/** How a program comes to its area. */
type Begin = (graph: LockGraph) => Program;
const untouched: Begin = (graph) => smallPages(graph, 0);

/** The same on a machine where every other attempt finds no block: faults let go of the tables and have one made. */
const shortOfBlocks: Begin = (graph) => {
  const program = untouched(graph);
  const { pages } = program.kernel.transparent;
  const take = pages.take.bind(pages);
  let attempts = 0;
  pages.take = (kernel) => (attempts++ % 2 === 0 ? NO_FRAME : take(kernel));
  return program;
};

/** Both threads touch the place first. */
function twoFaults(begin: Begin, write: Write, lockGraph: LockGraph): World {
  const program = begin(lockGraph);
  const { stage, threads } = program;
  for (const [at, thread] of threads.entries()) stage.scheduler.add(thread, write(program, thread, PAGE + at));
  const { mm } = threads[0];
  return stage.starts(
    () =>
      wrongIf(byteAt(stage, mm, PAGE), [LATER], "page 0") ?? wrongIf(byteAt(stage, mm, PAGE + 1), [LATER], "page 1"),
  );
}

/** CPU 0 does something to the second half of the area while CPU 1 writes to the first. */
function againstHalf(does: (program: Program) => Path<unknown>, begin: Begin, write: Write, graph: LockGraph): World {
  const program = begin(graph);
  const { stage, threads } = program;
  stage.scheduler.add(threads[0], does(program));
  stage.scheduler.add(threads[1], write(program, threads[1], PAGE));
  return stage.starts(() => wrongIf(byteAt(stage, threads[0].mm, PAGE), [LATER], "the half that stays"));
}

const unmaps = ({ stage, threads }: Program): Path<unknown> => stage.munmap(threads[0], PAGE + HALF, HALF);
const protects = ({ stage, threads }: Program): Path<unknown> =>
  stage.call(threads[0], "mprotect", [addressOf(PAGE + HALF), addressOf(HALF), READ]);

/** CPU 0 forks while CPU 1 writes: the child has what was there before, or what was written before the fork. */
function forkAgainstWrite(begin: Begin, change: Change, lockGraph: LockGraph): World {
  const program = begin(lockGraph);
  const { stage, threads } = program;
  const before = byteAt(stage, threads[0].mm, PAGE);
  // Its CPU knows the page as writable.
  if (before !== null) stage.store(threads[1], PAGE, VALUE);
  change(stage.kernel);
  let child: AddressSpace | undefined;
  let atFork: number | null = null;
  stage.scheduler.add(threads[0], forks());
  stage.scheduler.add(threads[1], stage.storeByte(threads[1], PAGE, LATER));
  return stage.starts(
    () =>
      wrongIf(byteAt(stage, threads[0].mm, PAGE), [LATER], "the parent's page") ??
      (child === undefined ? "there is no child" : wrongIf(byteAt(stage, child, PAGE), [atFork], "the child's page")),
  );

  function* forks(): Path<void> {
    child = (yield* stage.fork(threads[0]))?.mm;
    atFork = child === undefined ? null : byteAt(stage, child, PAGE);
  }
}

/** The same with the fault as it is, and written out: as it is, and with one thing left out. */
const spelledOut = (
  build: (write: Write, graph: LockGraph) => World,
  leavesOut: "the look" | "mmap_sem",
  says: string,
) =>
  [
    {
      name: "written-out",
      says: "the fault written out",
      expects: "holds",
      build: (graph) => build(findThenMap("nothing"), graph),
    },
    {
      name: leavesOut === "the look" ? "no-look" : "no-semaphore",
      says,
      expects: "breaks",
      build: (graph) => build(findThenMap(leavesOut), graph),
    },
  ] as const satisfies readonly Variant[];

export const hugeFaults: readonly Scenario[] = [
  {
    name: "two-huge-faults",
    claim: "Of two faults at one place one maps a huge page there, and the other finds it.",
    variants: [
      {
        name: "as-it-is",
        says: "two threads write to pages of one huge page",
        expects: "holds",
        build: (graph) => twoFaults(untouched, faults, graph),
      },
      {
        name: "short-of-blocks",
        says: "the same, and for a block they let go of the tables",
        expects: "holds",
        build: (graph) => twoFaults(shortOfBlocks, faults, graph),
      },
      ...spelledOut(
        (write, graph) => twoFaults(untouched, write, graph),
        "the look",
        "the place is not looked at again once the tables are locked",
      ),
    ],
  },
  {
    name: "huge-fault-against-unmap",
    claim: "A huge page comes only where the area reaches around it, and what is cut off one is cut off for all CPUs.",
    variants: [
      {
        name: "first-touch",
        says: "half of the area is unmapped while a fault maps the other",
        expects: "holds",
        build: (graph) => againstHalf(unmaps, untouched, faults, graph),
      },
      {
        name: "short-of-blocks",
        says: "the same, and for a block the fault lets go of the tables",
        expects: "holds",
        build: (graph) => againstHalf(unmaps, shortOfBlocks, faults, graph),
      },
      {
        name: "written",
        says: "half of a huge page is unmapped while the other is written to",
        expects: "holds",
        build: (graph) => againstHalf(unmaps, hugePage, faults, graph),
      },
      ...spelledOut(
        (write, graph) => againstHalf(unmaps, untouched, write, graph),
        "mmap_sem",
        "the fault lets go of its area before it maps the page",
      ),
    ],
  },
  {
    name: "huge-fault-against-protect",
    claim: "Rights of half of an area are no rights of the other: a huge page does not reach across, or is split.",
    variants: [
      {
        name: "first-touch",
        says: "half of the area is made read-only while a fault maps the other",
        expects: "holds",
        build: (graph) => againstHalf(protects, untouched, faults, graph),
      },
      {
        name: "short-of-blocks",
        says: "the same, and for a block the fault lets go of the tables",
        expects: "holds",
        build: (graph) => againstHalf(protects, shortOfBlocks, faults, graph),
      },
      {
        name: "written",
        says: "half of a huge page is made read-only while the other is written to",
        expects: "holds",
        build: (graph) => againstHalf(protects, hugePage, faults, graph),
      },
      ...spelledOut(
        (write, graph) => againstHalf(protects, untouched, write, graph),
        "mmap_sem",
        "the fault lets go of its area before it maps the page",
      ),
    ],
  },
  {
    name: "huge-fork-against-write",
    claim: "After fork nobody writes to a huge page that both have: neither through an entry, nor through a TLB.",
    variants: [
      {
        name: "first-touch",
        says: "fork while another thread touches the page first",
        expects: "holds",
        build: (graph) => forkAgainstWrite(untouched, asItIs, graph),
      },
      {
        name: "short-of-blocks",
        says: "the same, and for a block the fault lets go of the tables",
        expects: "holds",
        build: (graph) => forkAgainstWrite(shortOfBlocks, asItIs, graph),
      },
      {
        name: "written",
        says: "fork while another thread writes to the huge page",
        expects: "holds",
        build: (graph) => forkAgainstWrite(hugePage, asItIs, graph),
      },
      {
        name: "forgets-to-flush",
        says: "a CPU goes on writing by what its TLB allowed before",
        expects: "breaks",
        build: (graph) => forkAgainstWrite(hugePage, forkForgetsToFlush, graph),
      },
      {
        name: "does-not-wait",
        says: "fork returns while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => forkAgainstWrite(hugePage, freesBeforeFlush, graph),
      },
    ],
  },
];
