/** Scenarios about a pool of huge pages that runs dry. */
import { STORE } from "../../hw/access.ts";
import type { OpenFile } from "../../mm/file.ts";
import { NO_FRAME } from "../../mm/frames.ts";
import { NOT_CACHED } from "../../mm/page-cache.ts";
import type { Thread } from "../../mm/process.ts";
import { lockTables, unlockTables } from "../../mm/table-lock.ts";
import { BUS_ADRERR, type Verdict } from "../../mm/verdict.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { HUGE, mapping, openHuge, PLACE, poolStage } from "./pool-stage.ts";
import type { Scenario } from "./scenario.ts";
import { PRIVATE_FIXED, SHARED_FIXED, type Stage } from "./stage.ts";

/** How a program comes to its huge page. */
type Come = (stage: Stage, thread: Thread, opened: OpenFile) => Path<Verdict>;

const faults: Come = (stage, thread) => stage.access(thread, PLACE, STORE);

/** A page is taken from the pool first, and only then it is seen whether it is needed. */
const takesFirst: Come = function* (stage, thread, { file }) {
  const { kernel } = stage;
  const { pool, pages, promised } = file.huge!;
  const head = pool.take("unpromised");
  if (head === NO_FRAME) return BUS_ADRERR;
  yield* lockTables(kernel, thread.mm);
  if (pages.find(0) !== NOT_CACHED) pool.untake(head, "unpromised");
  else {
    pages.insert(0, head);
    promised.add(0);
    kernel.frames.mapping.write(head, file.id);
    kernel.frames.index.write(head, 0);
  }
  unlockTables(kernel, thread.mm);
  return yield* stage.access(thread, PLACE, STORE);
};

/** Two threads write to the same huge page, the last one of the pool: both have it. */
function bothFault(come: Come, lockGraph: LockGraph): World {
  const stage = poolStage({ cpus: 2, huge: 1, lockGraph });
  const threads = stage.process("program", [0, 1]);
  const opened = openHuge(stage, "data", HUGE);
  stage.machine.call(threads[0], "mmap", mapping(opened, SHARED_FIXED));
  const verdicts = run(stage, threads, () => opened, come);
  return stage.starts(() => (verdicts.every((verdict) => verdict === 0) ? undefined : `SIGBUS: ${verdicts}`));
}

/** Two programs write to huge pages of their own, and the pool has one: one of them gets it. */
function oneGetsIt(flags: number, lockGraph: LockGraph): World {
  const stage = poolStage({ cpus: 2, huge: 1, lockGraph });
  const threads = [0, 1].map((cpu) => stage.process(`program ${cpu}`, [cpu])[0]!);
  const files = threads.map((thread, at) => {
    const opened = openHuge(stage, `data ${at}`, HUGE);
    stage.machine.call(thread, "mmap", mapping(opened, flags));
    return opened;
  });
  const verdicts = run(stage, threads, (at) => files[at]!, faults);
  return stage.starts(() => {
    const served = verdicts.filter((verdict) => verdict === 0).length;
    return served === 1 && verdicts.includes(BUS_ADRERR) ? undefined : `one page, and ${served} have it: ${verdicts}`;
  });
}

/** What becomes of each thread, once they have run. */
function run(stage: Stage, threads: readonly Thread[], file: (at: number) => OpenFile, come: Come): Verdict[] {
  const verdicts: Verdict[] = [];
  for (const [at, thread] of threads.entries()) stage.scheduler.add(thread, comes(at, thread));
  return verdicts;

  function* comes(at: number, thread: Thread): Path<void> {
    verdicts[at] = yield* come(stage, thread, file(at));
  }
}

export const pools: readonly Scenario[] = [
  {
    name: "last-huge-page",
    claim:
      "The last page of a pool goes to one of those who fault; nobody is killed because another thread brings the same page.",
    variants: [
      {
        name: "same-page",
        says: "two threads fault the same page of a file",
        expects: "holds",
        build: (graph) => bothFault(faults, graph),
      },
      {
        name: "takes-first",
        says: "the same, and each takes a page before he looks whether one is needed",
        expects: "breaks",
        build: (graph) => bothFault(takesFirst, graph),
      },
      {
        name: "shared",
        says: "two processes, each with a file of its own",
        expects: "holds",
        build: (graph) => oneGetsIt(SHARED_FIXED, graph),
      },
      {
        name: "private",
        says: "two processes, each with a private mapping",
        expects: "holds",
        build: (graph) => oneGetsIt(PRIVATE_FIXED, graph),
      },
    ],
  },
];
