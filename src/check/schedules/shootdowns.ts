/** Scenarios about what TLBs remember: unmapping, freeing tables, forking, while other CPUs use the same pages. */
import { STORE } from "../../hw/access.ts";
import { MEMORY } from "../../mm/address-space.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Thread } from "../../mm/process.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { forkForgetsToFlush, freesBeforeFlush, lazyCpusKeepTheirTlb } from "./doubles.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, Stage, type StageKind } from "./stage.ts";

type Change = (kernel: Kernel) => void;

const asItIs: Change = () => {};

/** CPU 0 unmaps a page that both CPUs have used; CPU 1 writes to it, and runs a task of the kernel's. */
function unmapAgainstAccess(change: Change, lockGraph: LockGraph): World {
  const stage = new Stage({ kind: "pae", cpus: 2, lockGraph });
  const [unmapper, writer] = stage.process("program", [0, 1]);
  stage.map(unmapper, PAGE, 2);
  stage.store(unmapper, PAGE, 1);
  stage.store(writer, PAGE, 2);
  change(stage.kernel);
  const { scheduler } = stage;
  scheduler.add(unmapper, stage.munmap(unmapper, PAGE, 1));
  scheduler.add(writer, stage.access(writer, PAGE, STORE));
  stage.kernelTask("kernel task", 1, stage.doNothing());
  return stage.starts();
}

/** CPU 0 unmaps everything, and its page table goes; CPU 1 uses another page of the same table, by its walk cache. */
function freeTableAgainstWalk(kind: StageKind, change: Change, lockGraph: LockGraph): World {
  const stage = new Stage({ kind, cpus: 2, lockGraph, kernel: kind === "x86-64" ? "linux-6.1" : "linux-2.6.11" });
  const [unmapper, writer] = stage.process("program", [0, 1]);
  stage.map(unmapper, PAGE, 4);
  stage.store(writer, PAGE, 1);
  stage.store(writer, PAGE + 1, 1);
  change(stage.kernel);
  stage.scheduler.add(unmapper, stage.munmap(unmapper, PAGE, 4));
  stage.scheduler.add(writer, stage.access(writer, PAGE + 2, STORE));
  return stage.starts();
}

/** CPU 0 forks while CPU 1 writes to the parent; after fork has returned the child's page must not change. */
function forkAgainstWriter(change: Change, lockGraph: LockGraph): World {
  const stage = new Stage({ kind: "pae", cpus: 2, lockGraph });
  const [forker, writer] = stage.process("parent", [0, 1]);
  stage.map(forker, PAGE, 1);
  stage.store(forker, PAGE, 1);
  stage.store(writer, PAGE, 2);
  change(stage.kernel);
  let seen = -1;
  let seenLater = -1;
  stage.scheduler.add(forker, forkAndLook());
  stage.scheduler.add(writer, stage.storeByte(writer, PAGE, 3));
  return stage.starts(() => {
    if (seen === seenLater) return undefined;
    return `the child's page changed from ${seen} to ${seenLater} after fork had returned`;
  }, "contents");

  function* forkAndLook(): Path<void> {
    const child = yield* stage.fork(forker);
    if (child === null) return;
    seen = byteOf(child);
    yield* stage.doNothing();
    seenLater = byteOf(child);
  }

  function byteOf(child: Thread): number {
    const { kernel } = stage;
    const leaf = kernel.tables.tableAt(child.mm, PAGE, 1);
    const table = kernel.tables.open(leaf);
    const frame = kernel.entries.frame(table, kernel.tables.indexAt(PAGE, 1));
    kernel.tables.close(table);
    stage.scheduler.touch(MEMORY, "read");
    return kernel.memory.readByte(frame, 0);
  }
}

/** CPU 0's process ends while CPU 1 has its address space only lazily. */
function exitAgainstLazy(change: Change, lockGraph: LockGraph): World {
  const stage = new Stage({ kind: "pae", cpus: 2, lockGraph });
  const [ending, other] = stage.process("program", [0, 1]);
  const [bystander] = stage.process("bystander", [1]);
  stage.map(bystander, PAGE, 1);
  stage.map(ending, PAGE, 2);
  stage.store(ending, PAGE, 1);
  stage.store(other, PAGE, 2);
  change(stage.kernel);
  stage.kernelTask("kernel task", 1, stage.doNothing());
  stage.scheduler.add(ending, stage.exit(ending.process));
  stage.scheduler.add(bystander, stage.access(bystander, PAGE, STORE));
  return stage.starts();
}

export const shootdowns: readonly Scenario[] = [
  {
    name: "unmap-against-access",
    claim:
      "A frame is freed only when no CPU can reach it any more: unmapping waits for every CPU that may remember it, and a lazy CPU leaves.",
    variants: [
      {
        name: "as-it-is",
        says: "gather, flush, wait for acknowledgements, free",
        expects: "holds",
        build: (graph) => unmapAgainstAccess(asItIs, graph),
      },
      {
        name: "frees-before-flush",
        says: "the frame is freed while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => unmapAgainstAccess(freesBeforeFlush, graph),
      },
      {
        name: "lazy-keeps-tlb",
        says: "a lazy CPU answers the interrupt, and keeps its TLB",
        expects: "breaks",
        build: (graph) => unmapAgainstAccess(lazyCpusKeepTheirTlb, graph),
      },
    ],
  },
  {
    name: "free-table-against-walk",
    claim:
      "A page table is freed only after a flush, as the frames are: CPUs remember tables too, and would walk through what the frame holds next.",
    variants: [
      {
        name: "as-it-is",
        says: "tables go through the gather",
        expects: "holds",
        build: (graph) => freeTableAgainstWalk("x86-64", asItIs, graph),
      },
      {
        name: "frees-before-flush",
        says: "the table is freed while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => freeTableAgainstWalk("x86-64", freesBeforeFlush, graph),
      },
    ],
  },
  {
    name: "fork-against-writer",
    claim:
      "fork flushes before it returns: otherwise the parent's other threads go on writing to what the child shares.",
    variants: [
      {
        name: "as-it-is",
        says: "write-protect, flush all CPUs of the parent, return",
        expects: "holds",
        build: (graph) => forkAgainstWriter(asItIs, graph),
      },
      {
        name: "no-flush",
        says: "fork returns without a flush",
        expects: "breaks",
        build: (graph) => forkAgainstWriter(forkForgetsToFlush, graph),
      },
    ],
  },
  {
    name: "exit-against-lazy-cpu",
    claim: "An address space dies only when the CPUs that keep it lazily have left it.",
    variants: [
      {
        name: "as-it-is",
        says: "every CPU is made to leave",
        expects: "holds",
        build: (graph) => exitAgainstLazy(asItIs, graph),
      },
      {
        name: "lazy-keeps-tlb",
        says: "a lazy CPU answers the interrupt, and keeps its TLB",
        expects: "breaks",
        build: (graph) => exitAgainstLazy(lazyCpusKeepTheirTlb, graph),
      },
    ],
  },
];
