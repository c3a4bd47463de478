/** Scenarios about page tables of huge pages that two processes have in common, while one of them leaves. */
import { addressOf } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import type { TableSharing } from "../../mm/bigpages/table-sharing.ts";
import { PG_TABLE } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Thread } from "../../mm/process.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { GIB, HUGE, mapping, openHuge, PLACE, poolStage, VALUE } from "./pool-stage.ts";
import type { Scenario } from "./scenario.ts";
import { SHARED_FIXED, type Stage } from "./stage.ts";

const READ = 1;

interface InCommon {
  readonly stage: Stage;
  /** On CPUs 0 and 1. */
  readonly leaver: readonly [Thread, Thread];
  /** On CPU 2. */
  readonly other: Thread;
}

/** Two processes map a gigabyte of a file; the first has been on two CPUs. `touched`: whether they have its table in common. */
function inCommon(touched: "both" | "by-other", lockGraph: LockGraph): InCommon {
  const stage = poolStage({ cpus: 3, huge: 1, lockGraph, hugePages: "hugetlbfs-shared-pmd" });
  const leaver = stage.process("leaver", [0, 1]);
  const [other] = stage.process("other", [2]);
  const opened = openHuge(stage, "segment", GIB);
  for (const thread of [leaver[0], other]) stage.machine.call(thread, "mmap", mapping(opened, SHARED_FIXED));
  stage.store(other, PLACE, VALUE);
  if (touched === "both") for (const thread of leaver) stage.store(thread, PLACE, VALUE);
  return { stage, leaver, other };
}

/** Who changes the rights of one page leaves the table. */
const leaves = ({ stage, leaver }: InCommon): Path<number> =>
  stage.call(leaver[0], "mprotect", [addressOf(PLACE), addressOf(HUGE), READ]);

const asItIs = (): void => {};

/** The leaver's second thread goes on writing; its CPU must forget the table that others go on using. */
function leaveAgainstWalker(change: (kernel: Kernel) => void, graph: LockGraph): World {
  const world = inCommon("both", graph);
  const { stage, leaver } = world;
  change(stage.kernel);
  stage.scheduler.add(leaver[0], leaves(world));
  stage.scheduler.add(leaver[1], stage.access(leaver[1], PLACE, STORE));
  return stage.starts();
}

/** The other one ends while the leaver's CPUs still know the table: CPU 1 does, lazily. */
function leaveAgainstExit(change: (kernel: Kernel) => void, graph: LockGraph): World {
  const world = inCommon("both", graph);
  const { stage, leaver, other } = world;
  const { tables, frames, cpus } = stage.kernel;
  const table = tables.tableAt(other.mm, PLACE, 2);
  change(stage.kernel);
  stage.scheduler.add(leaver[0], leaves(world));
  stage.scheduler.add(other, stage.exit(other.process));
  const started = stage.starts();
  return { ...started, wrong: () => started.wrong() ?? knownAndFree() };

  /** No walk starts at this table: what shows that a CPU knows it is a page that it has found there. */
  function knownAndFree(): string | undefined {
    if (frames.has(table, PG_TABLE)) return undefined;
    const known = [...cpus[1]!.mmu.tlb.translations()].some(({ firstPage }) => firstPage === PLACE);
    return known ? `CPU 1 still knows a page by table ${table}, which is free` : undefined;
  }
}

/** A fault looks for a table in common while its only owner ends. */
function shareAgainstExit(change: (other: Thread) => void, graph: LockGraph): World {
  const { stage, leaver, other } = inCommon("by-other", graph);
  let seen = -1;
  change(other);
  stage.scheduler.add(leaver[0], reads());
  stage.scheduler.add(other, stage.exit(other.process));
  return stage.starts(() => (seen === VALUE ? undefined : `the file holds ${VALUE}, and the program reads ${seen}`));

  function* reads(): Path<void> {
    seen = yield* stage.loadByte(leaver[0], PLACE);
  }
}

/** Who leaves, and who unmaps, does not hold the file's lock over it. */
const leavesUnlocked = ({ bigPages }: Kernel): void => {
  (bigPages as unknown as { sharing: TableSharing }).sharing.lockOf = () => null;
};

/** Who leaves a table tells no CPU. */
const leavingForgetsToFlush = ({ tlbFlush }: Kernel): void => {
  tlbFlush.all = () => {};
};

/** An area on the file's list is taken for one that is still in its address space. */
const diesUnnoticed = ({ mm }: Thread): void => {
  const vma = mm.vmas.containing(PLACE);
  mm.vmas.containing = () => vma;
};

export const hugeTables: readonly Scenario[] = [
  {
    name: "unshare-against-walker",
    claim: "Who leaves a table that others have tells all his CPUs: the table stays, and so does what they know of it.",
    variants: [
      {
        name: "as-it-is",
        says: "one thread changes the rights of a page, another writes to it",
        expects: "holds",
        build: (graph) => leaveAgainstWalker(asItIs, graph),
      },
      {
        name: "no-flush",
        says: "no TLB is told",
        expects: "breaks",
        build: (graph) => leaveAgainstWalker(leavingForgetsToFlush, graph),
      },
    ],
  },
  {
    name: "unshare-against-exit",
    claim: "The last owner of a table frees it only when the CPUs of whoever has left have forgotten it.",
    variants: [
      {
        name: "as-it-is",
        says: "whoever leaves holds the file's lock until his CPUs have acknowledged, and whoever unmaps takes it",
        expects: "holds",
        build: (graph) => leaveAgainstExit(asItIs, graph),
      },
      {
        name: "no-lock",
        says: "the same without the lock",
        expects: "breaks",
        build: (graph) => leaveAgainstExit(leavesUnlocked, graph),
      },
    ],
  },
  {
    name: "share-against-exit",
    claim: "Nobody takes a table in common from an area that is being unmapped: its owner is about to free it.",
    variants: [
      {
        name: "as-it-is",
        says: "a fault looks for a table while its only owner ends",
        expects: "holds",
        build: (graph) => shareAgainstExit(() => {}, graph),
      },
      {
        name: "dies-unnoticed",
        says: "areas that have left their address space count, too",
        expects: "breaks",
        build: (graph) => shareAgainstExit(diesUnnoticed, graph),
      },
    ],
  },
];
