/** Scenarios about swap: two that want one page back, a fork while its page leaves, a page that leaves while it is wanted. */
import type { Pfn, SwapSlot } from "../../base/units.ts";
import { type OpenTable, PTE_SWAP } from "../../hw/pte.ts";
import { PG_ANON } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { entryFlags } from "../../mm/mapped-frame.ts";
import { NOT_CACHED } from "../../mm/page-cache.ts";
import { lockPage, tryLockPage, unlockPage } from "../../mm/page-lock.ts";
import { LEAF } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import { tryToUnmap } from "../../mm/reclaim/try-to-unmap.ts";
import { NO_SWAP_SLOT } from "../../mm/swap/swap.ts";
import { addToSwap, giveSlotBack, removeFromSwapCache, slotOfEntry, writeSwap } from "../../mm/swap/swap-cache.ts";
import { readSwap } from "../../mm/swap/swap-in.ts";
import { lockTables, unlockTables } from "../../mm/table-lock.ts";
import type { Path } from "../../sync/path.ts";
import { runToCompletion } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { freesBeforeFlush } from "./doubles.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, Stage, type StageShape } from "./stage.ts";

/** What the page holds before it leaves. */
const VALUE = 7;

type Kind = Pick<StageShape, "kind" | "kernel">;
const of2611: Kind = { kind: "pae", kernel: "linux-2.6.11" };
const of61: Kind = { kind: "x86-64", kernel: "linux-6.1" };

/** A program with a thread on each of two CPUs, and a page that holds VALUE. */
function program(kind: Kind, lockGraph: LockGraph): { stage: Stage; threads: readonly [Thread, Thread] } {
  const stage = new Stage({ ...kind, cpus: 2, lockGraph, swap: "64K", tunables: { pageCluster: 0 } });
  const threads = stage.process("program", [0, 1]);
  stage.map(threads[0], PAGE, 2);
  stage.store(threads[0], PAGE, VALUE);
  return { stage, threads };
}

/** The frame that the page maps. */
function frameOf({ kernel }: Stage, { mm }: Thread): Pfn {
  const { tables, entries } = kernel;
  return entries.frame(tables.tableAt(mm, PAGE, LEAF) as OpenTable, tables.indexAt(PAGE, LEAF));
}

/** Sends the page to swap; what it leaves in memory stays in the swap cache. Requires: the caller has a reference. */
function* swapOut({ kernel }: Stage, frame: Pfn): Path<void> {
  yield* lockPage(kernel, frame);
  if (addToSwap(kernel, frame) < 0) return unlockPage(kernel, frame);
  if ((yield* tryToUnmap(kernel, frame, { locked: "override" })) === "all") return yield* writeSwap(kernel, frame);
  giveSlotBack(kernel, frame);
  unlockPage(kernel, frame);
}

/** Frees a page of the swap cache that nobody has but its cache and the caller. */
function evict({ kernel }: Stage, frame: Pfn): void {
  const { frames } = kernel;
  if (!tryLockPage(kernel, frame)) return;
  if (frames.refs.read(frame) === 2 && frames.mapCount.read(frame) === 0) removeFromSwapCache(kernel, frame);
  unlockPage(kernel, frame);
}

/** The page is on disk alone. */
function leaveMemory(stage: Stage, thread: Thread): void {
  const { kernel } = stage;
  const frame = frameOf(stage, thread);
  kernel.frames.addReference(frame);
  runToCompletion(swapOut(stage, frame));
  evict(stage, frame);
  kernel.allocator.release(frame);
}

/** How a thread gets its page back. */
type SwapIn = (stage: Stage, thread: Thread) => Path<unknown>;

/** Both threads read the page that is on disk: it is read once, and both see what it held. */
function twoSwapIns(kind: Kind, swapIn: SwapIn, lockGraph: LockGraph): World {
  const { stage, threads } = program(kind, lockGraph);
  leaveMemory(stage, threads[0]);
  const seen: number[] = [];
  for (const thread of threads) stage.scheduler.add(thread, read(thread));
  return stage.starts(() => {
    const { pagesIn } = stage.kernel.swap.costs;
    if (pagesIn !== 1) return `the page was read ${pagesIn} times`;
    return seen.every((value) => value === VALUE) ? undefined : `the program wrote ${VALUE} and reads ${seen}`;
  });

  function* read(thread: Thread): Path<void> {
    yield* swapIn(stage, thread);
    seen.push(yield* stage.loadByte(thread, PAGE));
  }
}

/** The kernel's own fault, and nothing before it. */
const asItIs: SwapIn = (stage) => stage.doNothing();

/** What the fault that is written out leaves out. */
type Omission = "nothing" | "page-lock" | "second-look";

/** A fault written out: find or read the page, lock it, lock the tables, look at the entry again, map the page. */
const written = (omits: Omission): SwapIn =>
  function* (stage, thread) {
    const { kernel } = stage;
    const { mm } = thread;
    if (!mm.mmapSem.tryRead(thread)) yield* mm.mmapSem.read(thread);
    yield* lockTables(kernel, mm);
    const slot = slotNamed(stage, thread);
    unlockTables(kernel, mm);
    if (slot !== NO_SWAP_SLOT) {
      const found = kernel.swap.find(slot);
      if (found !== NOT_CACHED) kernel.frames.addReference(found);
      const frame = found === NOT_CACHED ? yield* readSwap(kernel, slot) : found;
      if (frame >= 0) yield* mapPage(stage, thread, frame, slot, omits);
    }
    mm.mmapSem.releaseRead(thread);
  };

function* mapPage(stage: Stage, thread: Thread, frame: Pfn, slot: SwapSlot, omits: Omission): Path<void> {
  const { kernel } = stage;
  if (omits !== "page-lock") yield* lockPage(kernel, frame);
  yield* lockTables(kernel, thread.mm);
  const maps = omits === "second-look" || slotNamed(stage, thread) === slot;
  if (maps) mapNow(stage, thread, frame, slot);
  if (omits !== "page-lock") unlockPage(kernel, frame);
  unlockTables(kernel, thread.mm);
  if (!maps) kernel.allocator.release(frame);
}

/** The slot that the page's entry names. Requires: page_table_lock is held. */
function slotNamed({ kernel }: Stage, { mm }: Thread): SwapSlot {
  const { tables, entries } = kernel;
  const table = tables.tableAt(mm, PAGE, LEAF) as OpenTable;
  const index = tables.indexAt(PAGE, LEAF);
  return entries.flags(table, index) === PTE_SWAP ? slotOfEntry(kernel, table, index) : NO_SWAP_SLOT;
}

function mapNow({ kernel }: Stage, { mm }: Thread, frame: Pfn, slot: SwapSlot): void {
  const { tables, entries, frames, reverseMap, swap } = kernel;
  const vma = mm.vmas.containing(PAGE)!;
  const table = tables.tableAt(mm, PAGE, LEAF) as OpenTable;
  const index = tables.indexAt(PAGE, LEAF);
  frames.mapping.write(frame, vma.anonVma!.id);
  frames.index.write(frame, vma.indexAt(PAGE));
  frames.setFlag(frame, PG_ANON);
  reverseMap.add(frame, entries.slotOf(table, index), vma);
  entries.set(table, index, frame, entryFlags(kernel, vma));
  swap.release(slot);
  mm.resident.swap--;
  mm.resident.anon++;
}

/** CPU 0 forks while CPU 1 sends the page to swap; then the parent writes. The child must have what was there before. */
function forkAgainstSwapOut(kind: Kind, change: (kernel: Kernel, forker: Thread) => void, lockGraph: LockGraph): World {
  const { stage, threads } = program(kind, lockGraph);
  const [forker] = threads;
  change(stage.kernel, forker);
  let child: Thread | null = null;
  stage.scheduler.add(forker, forkAndWrite());
  stage.kernelTask("kswapd", 1, leaves(stage, forker));
  return stage.starts(() => {
    const seen = child === null ? -1 : contentsOf(stage, child);
    return seen === VALUE ? undefined : `the child has ${seen}, and was born with ${VALUE}`;
  });

  function* forkAndWrite(): Path<void> {
    child = yield* stage.fork(forker);
    yield* stage.storeByte(forker, PAGE, VALUE + 1);
  }
}

/** CPU 0 writes to the page while CPU 1 sends it to swap, and out of memory: what was written is not lost. */
function writeAgainstSwapOut(kind: Kind, change: (kernel: Kernel) => void, lockGraph: LockGraph): World {
  const { stage, threads } = program(kind, lockGraph);
  const [writer] = threads;
  change(stage.kernel);
  stage.scheduler.add(writer, stage.storeByte(writer, PAGE, VALUE + 1));
  stage.kernelTask("kswapd", 1, leaves(stage, writer));
  return stage.starts(() => {
    const left = contentsOf(stage, writer);
    return left === VALUE + 1 ? undefined : `the program wrote ${VALUE + 1}, and its page holds ${left}`;
  });
}

/** The page goes to swap, and out of memory if nobody wants it by then. */
function leaves(stage: Stage, thread: Thread): Path<void> {
  const { kernel } = stage;
  const frame = frameOf(stage, thread);
  kernel.frames.addReference(frame);
  return (function* (): Path<void> {
    yield* swapOut(stage, frame);
    evict(stage, frame);
    kernel.allocator.release(frame);
  })();
}

/** What the page holds, wherever it is. */
function contentsOf(stage: Stage, { mm }: Thread): number {
  const { tables, entries, memory, swap } = stage.kernel;
  const table = tables.tableAt(mm, PAGE, LEAF) as OpenTable;
  const index = tables.indexAt(PAGE, LEAF);
  if (entries.flags(table, index) !== PTE_SWAP) return memory.readByte(entries.frame(table, index), 0);
  const slot = slotOfEntry(stage.kernel, table, index);
  const cached = swap.find(slot);
  return cached === NOT_CACHED ? swap.contents.word(slot, 0, 0) & 0xff : memory.readByte(cached, 0);
}

const asItIsKernel = (): void => {};

/** fork copies the name of a slot, and does not count the child among its users. */
const forkDoesNotCount = ({ swap, current }: Kernel, forker: Thread): void => {
  const duplicate = swap.duplicate.bind(swap);
  swap.duplicate = (slot) => {
    if (current.task !== forker) duplicate(slot);
  };
};

export const swapping: readonly Scenario[] = [
  {
    name: "two-swap-ins",
    claim:
      "Two threads that want one page back from swap read it once: it is in the swap cache, locked, before it is read, and who has waited for it looks at the entry again.",
    variants: [
      {
        name: "as-it-is",
        says: "the kernel's fault, of 2.6.11",
        expects: "holds",
        build: (graph) => twoSwapIns(of2611, asItIs, graph),
      },
      {
        name: "as-it-is-6.1",
        says: "the kernel's fault, of 6.1",
        expects: "holds",
        build: (graph) => twoSwapIns(of61, asItIs, graph),
      },
      {
        name: "written-out",
        says: "a fault written out, with nothing left out",
        expects: "holds",
        build: (graph) => twoSwapIns(of2611, written("nothing"), graph),
      },
      {
        name: "no-page-lock",
        says: "the page is mapped without waiting for its lock: it may not have been read yet",
        expects: "breaks",
        build: (graph) => twoSwapIns(of2611, written("page-lock"), graph),
      },
      {
        name: "trusts-what-it-saw",
        says: "the entry is not looked at again once the page is there",
        expects: "breaks",
        build: (graph) => twoSwapIns(of2611, written("second-look"), graph),
      },
    ],
  },
  {
    name: "fork-against-swap-out",
    claim: "A child whose parent's page is on its way to swap names its slot too, and counts as its user.",
    variants: [
      {
        name: "as-it-is",
        says: "the kernel of 2.6.11",
        expects: "holds",
        build: (graph) => forkAgainstSwapOut(of2611, asItIsKernel, graph),
      },
      {
        name: "as-it-is-6.1",
        says: "the kernel of 6.1",
        expects: "holds",
        build: (graph) => forkAgainstSwapOut(of61, asItIsKernel, graph),
      },
      {
        name: "does-not-count",
        says: "the child's entry is copied, and is no user of the slot",
        expects: "breaks",
        build: (graph) => forkAgainstSwapOut(of2611, forkDoesNotCount, graph),
      },
    ],
  },
  {
    name: "write-against-swap-out",
    claim: "A page is written to swap only once no CPU can write to it any more.",
    variants: [
      {
        name: "as-it-is",
        says: "the kernel of 2.6.11",
        expects: "holds",
        build: (graph) => writeAgainstSwapOut(of2611, asItIsKernel, graph),
      },
      {
        name: "does-not-wait",
        says: "the page is written while the interrupts that flush TLBs are still on their way",
        expects: "breaks",
        build: (graph) => writeAgainstSwapOut(of2611, freesBeforeFlush, graph),
      },
    ],
  },
];
