/**
 * Scenarios about leaf tables that several address spaces have: a write while fork shares them, somebody who leaves while
 * another CPU walks there, and reclaim, which changes an entry for all.
 */
import { addressOf } from "../../base/units.ts";
import { type Access, LOAD, STORE } from "../../hw/access.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { lockPage, unlockPage } from "../../mm/page-lock.ts";
import type { Process, Thread } from "../../mm/process.ts";
import { tryToUnmap } from "../../mm/reclaim/try-to-unmap.ts";
import { addToSwap, giveSlotBack } from "../../mm/swap/swap-cache.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { byteAt, frameAt, wrongIf } from "./contents.ts";
import { forkForgetsToFlush, freesBeforeFlush } from "./doubles.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, Stage, type StageShape } from "./stage.ts";

const MADV_DONTNEED = 4;
/** What the page holds before anybody forks, and what is written later. */
const VALUE = 7;
const LATER = 8;
/** Pages of the area: what lies in it is all in one leaf table. */
const PAGES = 2;

type Kind = Pick<StageShape, "kind" | "kernel">;
const of2611: Kind = { kind: "pae", kernel: "linux-2.6.11" };
const of61: Kind = { kind: "x86-64", kernel: "linux-6.1" };

type Change = (kernel: Kernel) => void;
const asItIs: Change = () => {};

/** The entries above a shared table stay as they are. */
const leavesWritable: Change = ({ tables }) => {
  tables.allowWrites = () => {};
};

/** Who is left with a table may not write through his entry. */
const staysReadOnly: Change = ({ tables }) => {
  const allow = tables.allowWrites.bind(tables);
  tables.allowWrites = (frame, index, allowed) => {
    if (allowed === "none") allow(frame, index, allowed);
  };
};

/** What changes in a shared table is flushed in one place only. */
const flushesOnePlace: Change = ({ tables }) => {
  tables.forEachPlace = (slot, visit) => visit(tables.mmOf(slot), tables.pageOf(slot));
};

/** A program with a thread on each CPU that is named, and a page that holds VALUE. */
function program(kind: Kind, lockGraph: LockGraph): { stage: Stage; threads: readonly [Thread, Thread] } {
  const design = { pageTableSharing: "fork-shared" } as const;
  const stage = new Stage({ ...kind, cpus: 2, lockGraph, design, swap: "64K", tunables: { pageCluster: 0 } });
  const threads = stage.process("program", [0, 1]);
  stage.map(threads[0], PAGE, PAGES);
  stage.store(threads[0], PAGE, VALUE);
  return { stage, threads };
}

/** The same, and a child that shares its tables. */
function family(kind: Kind, lockGraph: LockGraph) {
  const { stage, threads } = program(kind, lockGraph);
  const child = stage.machine.fork(threads[0]) as Process;
  return { stage, threads, child };
}

/** CPU 0 forks while CPU 1 writes what it has written before. */
function forkAgainstWrite(kind: Kind, change: Change, lockGraph: LockGraph): World {
  const { stage, threads } = program(kind, lockGraph);
  stage.store(threads[1], PAGE, VALUE);
  change(stage.kernel);
  stage.scheduler.add(threads[0], stage.fork(threads[0]));
  stage.scheduler.add(threads[1], stage.storeByte(threads[1], PAGE, LATER));
  return stage.starts(() => wrongIf(byteAt(stage, threads[0].mm, PAGE), [LATER], "the parent"));
}

/** CPU 0 writes, for which it needs a table of its own, or gives its pages back; CPU 1 reads through the table of all. */
function leaveAgainstWalk(leaves: Leaving, kind: Kind, change: Change, lockGraph: LockGraph): World {
  const { stage, threads, child } = family(kind, lockGraph);
  // It remembers the way.
  stage.machine.access(threads[1], addressOf(PAGE), LOAD);
  change(stage.kernel);
  stage.scheduler.add(threads[0], leaveAndEnd());
  stage.scheduler.add(threads[1], stage.access(threads[1], PAGE, LOAD));
  return stage.starts();

  function* leaveAndEnd(): Path<void> {
    yield* leaves(stage, threads[0]);
    // The table is the child's alone from now on, and goes with it.
    yield* stage.exit(child);
  }
}

type Leaving = (stage: Stage, thread: Thread) => Path<unknown>;
const byWriting: Leaving = (stage, thread) => stage.storeByte(thread, PAGE, LATER);
const byGivingBack: Leaving = (stage, thread) =>
  stage.call(thread, "madvise", [addressOf(PAGE), addressOf(PAGES), MADV_DONTNEED]);

/** The child ends on CPU 0 while its parent goes on, on CPU 1: to write he needs a copy of the table, or none any more. */
function exitAgainst(access: Access, kind: Kind, change: Change, lockGraph: LockGraph): World {
  const { stage, threads, child } = family(kind, lockGraph);
  change(stage.kernel);
  const [ender] = child.threads;
  ender!.cpu = 0;
  stage.scheduler.add(ender!, stage.exit(child));
  const goesOn = access === STORE ? stage.storeByte(threads[1], PAGE, LATER) : stage.access(threads[1], PAGE, access);
  stage.scheduler.add(threads[1], goesOn);
  const expected = access === STORE ? LATER : VALUE;
  return stage.starts(() => wrongIf(byteAt(stage, threads[1].mm, PAGE), [expected], "the parent"));
}

/** CPU 0 takes the page from all who map it while its owner writes on CPU 1. */
function reclaimAgainstWrite(kind: Kind, change: Change, lockGraph: LockGraph): World {
  const { stage, threads } = family(kind, lockGraph);
  stage.machine.access(threads[1], addressOf(PAGE), LOAD);
  change(stage.kernel);
  const { kernel } = stage;
  const frame = frameAt(kernel, threads[0].mm, PAGE)!;
  kernel.frames.addReference(frame);
  stage.kernelTask("kswapd", 0, takes());
  stage.scheduler.add(threads[1], stage.access(threads[1], PAGE, STORE));
  return stage.starts();

  function* takes(): Path<void> {
    yield* lockPage(kernel, frame);
    if (addToSwap(kernel, frame) === 0) {
      yield* tryToUnmap(kernel, frame, { locked: "override" });
      giveSlotBack(kernel, frame);
    }
    unlockPage(kernel, frame);
    kernel.allocator.release(frame);
  }
}

/** CPU 1 runs the child; CPU 0, where the parent runs, takes the page from both. */
function reclaimAgainstRead(kind: Kind, change: Change, lockGraph: LockGraph): World {
  const { stage, threads, child } = family(kind, lockGraph);
  const [reader] = child.threads;
  reader!.cpu = 1;
  stage.machine.access(reader!, addressOf(PAGE), LOAD);
  change(stage.kernel);
  const { kernel } = stage;
  const frame = frameAt(kernel, threads[0].mm, PAGE)!;
  kernel.frames.addReference(frame);
  stage.kernelTask("kswapd", 0, takes());
  stage.scheduler.add(reader!, stage.access(reader!, PAGE, LOAD));
  return stage.starts();

  function* takes(): Path<void> {
    yield* lockPage(kernel, frame);
    if (addToSwap(kernel, frame) === 0) yield* tryToUnmap(kernel, frame, { locked: "override" });
    unlockPage(kernel, frame);
    kernel.allocator.release(frame);
  }
}

/** The kernel as it is, of both times. */
const holding = (build: (kind: Kind, change: Change, graph: LockGraph) => World, says: string) =>
  [of2611, of61].map((kind) => ({
    name: `as-it-is-${kind.kernel}`,
    says,
    expects: "holds" as const,
    build: (graph: LockGraph) => build(kind, asItIs, graph),
  }));

const leaveBy =
  (leaves: Leaving) =>
  (kind: Kind, change: Change, graph: LockGraph): World =>
    leaveAgainstWalk(leaves, kind, change, graph);

export const sharing: readonly Scenario[] = [
  {
    name: "fork-against-write",
    claim:
      "Once fork has shared a table nobody writes to its private pages through it: who does gets a copy of the table first, and then of the page.",
    variants: [
      ...holding(forkAgainstWrite, "the other thread writes beside the page"),
      {
        name: "leaves-writable",
        says: "the entries above the table stay writable",
        expects: "breaks",
        build: (graph) => forkAgainstWrite(of2611, leavesWritable, graph),
      },
      {
        name: "forgets-to-flush",
        says: "a CPU goes on writing by what its TLB allowed before",
        expects: "breaks",
        build: (graph) => forkAgainstWrite(of61, forkForgetsToFlush, graph),
      },
    ],
  },
  {
    name: "unshare-against-walk",
    claim:
      "Who has got a copy of a shared table is on the list of the old one until no CPU of his walks there: it may be freed as soon as he is not.",
    variants: [
      ...holding(leaveBy(byWriting), "a write needs a copy; then the other sharer ends"),
      {
        name: "does-not-wait",
        says: "he is off the list while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => leaveAgainstWalk(byWriting, of61, freesBeforeFlush, graph),
      },
    ],
  },
  {
    name: "leave-against-walk",
    claim: "The same for who needs nothing in its place.",
    variants: [
      ...holding(leaveBy(byGivingBack), "MADV_DONTNEED of all that the table maps; then the other sharer ends"),
      {
        name: "does-not-wait",
        says: "he is off the list while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => leaveAgainstWalk(byGivingBack, of61, freesBeforeFlush, graph),
      },
    ],
  },
  {
    name: "exit-against-write",
    claim: "Whoever is left alone with a table writes through it again, whether he has begun to copy it or not.",
    variants: [
      ...holding((...of) => exitAgainst(STORE, ...of), "the child ends while the parent writes"),
      {
        name: "stays-read-only",
        says: "the entry above the table is not made writable for the one who is left",
        expects: "breaks",
        build: (graph) => exitAgainst(LOAD, of2611, staysReadOnly, graph),
      },
    ],
  },
  {
    name: "reclaim-against-unshare",
    claim:
      "Reclaim takes a page from the shared table and from the copies that are being made of it, one after the other.",
    variants: holding(reclaimAgainstWrite, "the page leaves while its owner writes to it"),
  },
  {
    name: "reclaim-against-sharer",
    claim: "An entry of a shared table that is cleared is flushed wherever the table hangs.",
    variants: [
      ...holding(reclaimAgainstRead, "the page leaves while the other sharer reads"),
      {
        name: "flushes-one-place",
        says: "only the first of those who have the table flush",
        expects: "breaks",
        build: (graph) => reclaimAgainstRead(of2611, flushesOnePlace, graph),
      },
    ],
  },
];
