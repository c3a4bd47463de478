/**
 * Scenarios about what makes a process want a table of its own that it shares since a fork, while the other thread, or the other
 * process, faults in the shared one.
 */
import { addressOf } from "../../base/units.ts";
import type { Process, Thread } from "../../mm/process.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { byteAt, wrongIf } from "./contents.ts";
import { LATER, VALUE } from "./huge-stage.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, Stage } from "./stage.ts";

const MADV_DONTNEED = 4;
const READ = 1;
/** Pages of the area, all in one leaf table: the first holds VALUE. */
const PAGES = 3;

interface Family {
  readonly stage: Stage;
  /** On CPUs 0 and 1. */
  readonly threads: readonly [Thread, Thread];
  readonly child: Process;
}

/** A program that has written to its first page, and a child that shares the table. */
function family(lockGraph: LockGraph): Family {
  const design = { pageTableSharing: "fork-shared" } as const;
  const stage = new Stage({ kind: "pae", kernel: "linux-2.6.11", cpus: 2, lockGraph, design });
  const threads = stage.process("program", [0, 1]);
  stage.map(threads[0], PAGE, PAGES);
  stage.store(threads[0], PAGE, VALUE);
  const child = stage.machine.fork(threads[0]) as Process;
  child.threads[0]!.cpu = 1;
  return { stage, threads, child };
}

/** What the parent does on CPU 0 that it needs a table of its own for. */
type Trigger = (family: Family) => Path<unknown>;
const call =
  (name: string, ...args: readonly number[]): Trigger =>
  ({ stage, threads }) =>
    stage.call(threads[0], name, args);

const triggers: readonly { readonly name: string; readonly says: string; readonly does: Trigger }[] = [
  { name: "write", says: "a write", does: ({ stage, threads }) => stage.storeByte(threads[0], PAGE + 2, LATER) },
  { name: "mprotect", says: "mprotect of a part", does: call("mprotect", addressOf(PAGE + 2), addressOf(1), READ) },
  { name: "munmap", says: "munmap of a part", does: call("munmap", addressOf(PAGE + 2), addressOf(1)) },
  { name: "mlock", says: "mlock of a part", does: call("mlock", addressOf(PAGE + 2), addressOf(1)) },
  {
    name: "dontneed",
    says: "MADV_DONTNEED of a part",
    does: call("madvise", addressOf(PAGE + 2), addressOf(1), MADV_DONTNEED),
  },
];

/** While the parent gets a table of its own, its other thread or its child writes to a page that nobody has. */
function triggerAgainst(trigger: Trigger, whose: "thread" | "child", lockGraph: LockGraph): World {
  const world = family(lockGraph);
  const { stage, threads, child } = world;
  const writer = whose === "thread" ? threads[1] : child.threads[0]!;
  stage.scheduler.add(threads[0], trigger(world));
  stage.scheduler.add(writer, stage.storeByte(writer, PAGE + 1, LATER));
  const other = whose === "thread" ? child.mm : threads[0].mm;
  return stage.starts(
    () =>
      wrongIf(byteAt(stage, writer.mm, PAGE + 1), [LATER], "the page that was written") ??
      wrongIf(byteAt(stage, other, PAGE + 1), [null, 0], "the same page of the other process") ??
      wrongIf(byteAt(stage, threads[0].mm, PAGE), [VALUE], "the parent's page") ??
      wrongIf(byteAt(stage, child.mm, PAGE), [VALUE], "the child's page"),
  );
}

export const unsharing: readonly Scenario[] = [
  {
    name: "unshare-against-fault",
    claim:
      "Whatever a process wants a table of its own for, it gets it once, with what others have filled meanwhile, and nobody finds a page of another's in his.",
    variants: triggers.flatMap(({ name, says, does }) =>
      (["thread", "child"] as const).map((whose) => ({
        name: `${name}-${whose}`,
        says: `${says} while ${whose === "thread" ? "the other thread" : "the child"} faults`,
        expects: "holds" as const,
        build: (graph: LockGraph) => triggerAgainst(does, whose, graph),
      })),
    ),
  },
];
