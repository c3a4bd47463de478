/** Scenarios about faults: two at once, one against an unmapping, one that sleeps between looking and writing. */
import { STORE } from "../../hw/access.ts";
import { anonVmaPrepare } from "../../mm/anon-vma.ts";
import { anonymousFault } from "../../mm/anonymous-fault.ts";
import { LEAF } from "../../mm/page-table.ts";
import type { Thread } from "../../mm/process.ts";
import { lockTables, unlockTables } from "../../mm/table-lock.ts";
import type { Path, Wait } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, Stage } from "./stage.ts";

/** What a fault does on a page of an anonymous area that nobody has touched. */
type Fault = (stage: Stage, thread: Thread) => Path<unknown>;

const asItIs: Fault = (stage, thread) => stage.access(thread, PAGE, STORE);

function faultingProgram(lockGraph: LockGraph): { stage: Stage; threads: readonly [Thread, Thread] } {
  const stage = new Stage({ kind: "pae", cpus: 2, lockGraph });
  const threads = stage.process("program", [0, 1]);
  stage.map(threads[0], PAGE, 3);
  // Its page table is there, and its anon_vma.
  stage.store(threads[0], PAGE + 1, 1);
  return { stage, threads };
}

function twoFaults(fault: Fault, lockGraph: LockGraph): World {
  const { stage, threads } = faultingProgram(lockGraph);
  for (const thread of threads) stage.scheduler.add(thread, fault(stage, thread));
  return stage.starts();
}

function unmapAgainstFault(fault: Fault, lockGraph: LockGraph): World {
  const { stage, threads } = faultingProgram(lockGraph);
  stage.scheduler.add(threads[0], stage.munmap(threads[0], PAGE, 1));
  stage.scheduler.add(threads[1], fault(stage, threads[1]));
  return stage.starts();
}

/** Whether the page's entry is none, as somebody sees it who holds nothing. */
function isMissing({ kernel, scheduler }: Stage, { mm }: Thread): boolean {
  const { tables, entries } = kernel;
  scheduler.touch("memory", "read");
  const table = tables.openLeaf(mm, PAGE);
  if (table === -1) return true;
  const flags = entries.flags(table, tables.indexAt(PAGE, LEAF));
  tables.close(table);
  return flags === 0;
}

/** Gives the page a frame. Requires: page_table_lock is held. */
function install({ kernel }: Stage, { mm }: Thread): void {
  const vma = mm.vmas.find(PAGE);
  if (vma !== null && anonVmaPrepare(kernel, vma) === 0) {
    anonymousFault(kernel, vma, PAGE, "write", kernel.tables.tableAt(mm, PAGE, LEAF));
  }
}

/** How a fault reaches the table between looking and writing. */
type Reach = "at-once" | Wait;
type Then = "looks-again" | "trusts-what-it-saw";

const window: Wait = { on: "a window on the page table", ready: () => true };

/** A fault written out: look at the entry, reach the table, write the entry. */
const lookThenWrite = (reach: Reach, then: Then): Fault =>
  function* (stage, thread) {
    const { kernel } = stage;
    const { mm } = thread;
    if (!mm.mmapSem.tryRead(thread)) yield* mm.mmapSem.read(thread);
    if (isMissing(stage, thread)) {
      if (reach !== "at-once") yield reach;
      yield* lockTables(kernel, mm);
      if (then === "trusts-what-it-saw" || isMissing(stage, thread)) install(stage, thread);
      unlockTables(kernel, mm);
    }
    mm.mmapSem.releaseRead(thread);
  };

/** A fault that finds its area without mmap_sem. */
const withoutMmapSem: Fault = function* (stage, thread) {
  const { kernel } = stage;
  const { mm } = thread;
  const vma = mm.vmas.containing(PAGE);
  stage.scheduler.touch(mm.mmapSem.name, "read");
  if (vma === null) return;
  yield* lockTables(kernel, mm);
  if (isMissing(stage, thread)) anonymousFault(kernel, vma, PAGE, "write", kernel.tables.tableAt(mm, PAGE, LEAF));
  unlockTables(kernel, mm);
};

export const faults: readonly Scenario[] = [
  {
    name: "two-faults",
    claim: "Two threads that touch one new page give it one frame: who comes second finds the entry set.",
    variants: [
      {
        name: "as-it-is",
        says: "the entry is looked at with page_table_lock held",
        expects: "holds",
        build: (graph) => twoFaults(asItIs, graph),
      },
      {
        name: "looks-before-lock",
        says: "the entry is looked at, then the lock is taken, then the entry is written",
        expects: "breaks",
        build: (graph) => twoFaults(lookThenWrite("at-once", "trusts-what-it-saw"), graph),
      },
    ],
  },
  {
    name: "unmap-against-fault",
    claim: "A fault holds mmap_sem, so that its area cannot go while it fills a page.",
    variants: [
      {
        name: "as-it-is",
        says: "fault reads under mmap_sem, munmap writes",
        expects: "holds",
        build: (graph) => unmapAgainstFault(asItIs, graph),
      },
      {
        name: "no-mmap-sem",
        says: "the fault finds its area without mmap_sem",
        expects: "breaks",
        build: (graph) => unmapAgainstFault(withoutMmapSem, graph),
      },
    ],
  },
  {
    name: "blocking-table-map",
    claim:
      "A window on a page table that may be waited for lets others in between looking and writing: what was looked up must be looked up again. An atomic window does not.",
    variants: [
      {
        name: "looks-again",
        says: "after the wait the entry is compared again (pte_same)",
        expects: "holds",
        build: (graph) => twoFaults(lookThenWrite(window, "looks-again"), graph),
      },
      {
        name: "trusts-what-it-saw",
        says: "after the wait the entry is written",
        expects: "breaks",
        build: (graph) => twoFaults(lookThenWrite(window, "trusts-what-it-saw"), graph),
      },
      {
        name: "atomic",
        says: "atomic windows: the kernel as it is, page tables in highmem",
        expects: "holds",
        build: (graph) => highTables(graph),
      },
    ],
  },
];

function highTables(lockGraph: LockGraph): World {
  const design = { pageTablePlacement: "highmem", pageTableAccess: "kmap-atomic" } as const;
  const stage = new Stage({ kind: "i386-highmem", cpus: 2, lockGraph, design });
  const threads = stage.process("program", [0, 1]);
  stage.map(threads[0], PAGE, 3);
  stage.store(threads[0], PAGE + 1, 1);
  for (const thread of threads) stage.scheduler.add(thread, asItIs(stage, thread));
  return stage.starts();
}
