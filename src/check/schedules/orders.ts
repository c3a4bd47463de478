/** Scenarios about orders of locks: one that is taken against the order by those who come from the other side. */
import { SpinLock } from "../../sync/lock.ts";
import { type Path, point } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { Task } from "../../sync/task.ts";
import type { LockGraph } from "../../sync/validator.ts";
import type { Scenario } from "./scenario.ts";
import { Stage } from "./stage.ts";

/** The locks of one page table and of one page's chain of entries. */
interface Locks {
  readonly tables: SpinLock;
  readonly chain: SpinLock;
}

type Reclaim = (task: Task, locks: Locks) => Path<void>;

/** As a fault comes: from the page table to the page. */
function* forward(task: Task, { tables, chain }: Locks): Path<void> {
  yield* tables.acquire(task);
  yield* chain.acquire(task);
  chain.release(task);
  tables.release(task);
}

/** As reclaim comes: from the page to a page table that maps it. If that is taken, it lets go, and comes again later. */
function* trying(task: Task, { tables, chain }: Locks): Path<void> {
  for (;;) {
    yield* chain.acquire(task);
    const had = tables.attempt(task);
    if (had) tables.release(task);
    chain.release(task);
    if (had) return;
    yield { on: "a better moment", ready: () => tables.owner === undefined };
  }
}

/** The same, but it waits for the page table with the page in its hands. */
function* waiting(task: Task, { tables, chain }: Locks): Path<void> {
  yield* chain.acquire(task);
  yield* tables.acquire(task);
  tables.release(task);
  chain.release(task);
}

function reverseMapAgainstFault(reclaim: Reclaim, cpus: number, lockGraph: LockGraph): World {
  const stage = new Stage({ kind: "pae", cpus: 2, preemption: "on", lockGraph });
  const locks = { tables: new SpinLock("page_table_lock of a program"), chain: new SpinLock("pte_chain_lock") };
  const running = (path: Reclaim): Path<void> => {
    return (function* () {
      yield point("its start");
      yield* path(stage.kernel.current.task, locks);
    })();
  };
  stage.kernelTask("fault", 0, running(forward));
  stage.kernelTask("reclaim", cpus - 1, running(reclaim));
  return stage.starts();
}

export const orders: readonly Scenario[] = [
  {
    name: "reverse-map-against-fault",
    claim:
      "Faults take page_table_lock and then the lock of a page's chain; reclaim comes from the page. It only tries page_table_lock, and lets go when it fails: a lock that is tried makes no order.",
    variants: [
      {
        name: "as-it-is",
        says: "reclaim tries page_table_lock",
        expects: "holds",
        build: (graph) => reverseMapAgainstFault(trying, 2, graph),
      },
      {
        name: "waits",
        says: "reclaim waits for page_table_lock",
        expects: "breaks",
        build: (graph) => reverseMapAgainstFault(waiting, 2, graph),
      },
      {
        name: "waits-on-one-cpu",
        says: "the same on one CPU, where the two never meet: only the order of locks tells",
        expects: "breaks",
        build: (graph) => reverseMapAgainstFault(waiting, 1, graph),
      },
    ],
  },
];
