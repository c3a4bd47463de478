/** Scenarios about reclaim: a page that is freed while a fault wants it, and kswapd against a program that writes and unmaps. */
import { addressOf, PAGE_SIZE, type Pfn } from "../../base/units.ts";
import { LOAD } from "../../hw/access.ts";
import { MEMORY } from "../../mm/address-space.ts";
import { WANT_USER } from "../../mm/allocator.ts";
import { type FileObject, OpenFile } from "../../mm/file.ts";
import { dropPage } from "../../mm/file-pages.ts";
import { PG_REFERENCED } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { NOT_CACHED } from "../../mm/page-cache.ts";
import type { Thread } from "../../mm/process.ts";
import { runKswapd } from "../../mm/reclaim/make-room.ts";
import { shrinkPage, whenShort } from "../../mm/reclaim/shrink-page.ts";
import { SwapOut } from "../../mm/reclaim/swap-out.ts";
import { OWNER_USER } from "../../mm/zone.ts";
import { type Path, point, runToCompletion } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { freesBeforeFlush } from "./doubles.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, READ_WRITE, SHARED_FIXED, Stage, type StageShape } from "./stage.ts";

type Kind = Pick<StageShape, "kind" | "kernel" | "design"> & { readonly kswapdTurns?: number };
const of2611: Kind = { kind: "pae", kernel: "linux-2.6.11" };
/** One turn takes entries away, the next frees what nobody maps any more. */
const of24: Kind = { ...of2611, design: { reclaim: "linux-2.4", reverseMap: "none" }, kswapdTurns: 2 };
const of61: Kind = { kind: "x86-64", kernel: "linux-6.1" };

const VALUE = 7;
const MADV_DONTNEED = 4;

interface Mapped {
  readonly stage: Stage;
  readonly threads: readonly [Thread, Thread];
  readonly file: FileObject;
}

/** Two threads that map a file of one page, which is cached and clean. */
function mappedFile(kind: Kind, lockGraph: LockGraph): Mapped {
  const stage = new Stage({ ...kind, cpus: 2, lockGraph });
  const threads = stage.process("program", [0, 1]);
  const file = stage.kernel.files.create({ name: "data", kind: "regular", sizeBytes: PAGE_SIZE });
  const opened = new OpenFile(file, "read-write");
  const [thread] = threads;
  stage.machine.call(thread, "mmap", [addressOf(PAGE), PAGE_SIZE, READ_WRITE, SHARED_FIXED, opened, 0]);
  stage.machine.access(thread, addressOf(PAGE), LOAD);
  return { stage, threads, file };
}

/** What the file's page holds, in memory or on disk. */
function contentsOf({ stage, file }: Mapped): number {
  const { memory, allocator } = stage.kernel;
  const cached = file.pages.find(0);
  if (cached !== NOT_CACHED) return memory.readByte(cached, 0);
  const scratch = allocator.tryAllocate(0, WANT_USER, OWNER_USER);
  file.disk.load(memory, scratch, 0);
  const value = memory.readByte(scratch, 0);
  allocator.free(scratch, 0);
  return value;
}

/** How reclaim deals with one old page. */
type Scan = (kernel: Kernel, file: FileObject, frame: Pfn) => Path<void>;

/** The page is taken off its list with a reference, and goes the way of all old pages. */
const asItIs: Scan = function* (kernel, _file, frame) {
  const { frames, reclaim, allocator, current } = kernel;
  current.task.watch?.touch(MEMORY, "write");
  reclaim.forget(frame);
  frames.addReference(frame);
  if ((yield* shrinkPage(kernel, frame, whenShort)) !== "freed") reclaim.adopt(frame);
  allocator.release(frame);
};

/** The page is not locked, and its references are counted once. */
const countsOnce: Scan = function* (kernel, file, frame) {
  const { frames, reclaim, allocator, current } = kernel;
  current.task.watch?.touch(MEMORY, "write");
  reclaim.forget(frame);
  frames.addReference(frame);
  const isUnused = frames.refs.read(frame) === 2;
  yield point("its turn");
  current.task.watch?.touch(MEMORY, "write");
  if (isUnused) dropPage(kernel, file, 0, frame);
  else reclaim.adopt(frame);
  allocator.release(frame);
};

/** CPU 0 stores to a page that is cached and not mapped, while CPU 1 frees it: what was stored is not lost. */
function reclaimAgainstFault(kind: Kind, scan: Scan, lockGraph: LockGraph): World {
  const mapped = mappedFile(kind, lockGraph);
  const { stage, threads, file } = mapped;
  const { kernel, machine } = stage;
  const [thread] = threads;
  machine.call(thread, "madvise", [addressOf(PAGE), PAGE_SIZE, MADV_DONTNEED]);
  const frame = file.pages.find(0);
  kernel.frames.clearFlag(frame, PG_REFERENCED);
  stage.scheduler.add(thread, stage.storeByte(thread, PAGE, VALUE));
  stage.kernelTask("kswapd", 1, scan(kernel, file, frame));
  return stage.starts(() => verdictOn(mapped));
}

/** CPU 0 stores to a page that is mapped and clean, then unmaps it, while kswapd takes all that it can on CPU 1. */
function kswapdAgainstProgram(kind: Kind, change: (kernel: Kernel) => void, lockGraph: LockGraph): World {
  const mapped = mappedFile(kind, lockGraph);
  const { stage, threads } = mapped;
  const { kernel } = stage;
  const [thread] = threads;
  change(kernel);
  // No zone has enough.
  for (const zone of kernel.allocator.zones) {
    zone.low = zone.present;
    zone.high = zone.present;
  }
  stage.scheduler.add(thread, storeAndUnmap());
  stage.kernelTask("kswapd", 1, turns());
  return stage.starts(() => verdictOn(mapped));

  function* turns(): Path<void> {
    for (let turn = 0; turn < (kind.kswapdTurns ?? 1); turn++) yield* runKswapd(kernel);
  }

  function* storeAndUnmap(): Path<void> {
    yield* stage.storeByte(thread, PAGE, VALUE);
    yield* stage.munmap(thread, PAGE, 1);
  }
}

/** A walk of address spaces has been there before, and nobody has used anything since: the next takes what it meets. */
function forgetsUse(kernel: Kernel): void {
  runToCompletion(new SwapOut().walk(kernel, WANT_USER));
  for (const zone of kernel.allocator.zones) {
    for (const list of kernel.reclaim.listsOf(zone)) for (const frame of [...list]) kernel.reclaim.deactivate(frame);
  }
}

function verdictOn(mapped: Mapped): string | undefined {
  const left = contentsOf(mapped);
  return left === VALUE ? undefined : `the program wrote ${VALUE}, and the file has ${left}`;
}

export const reclaiming: readonly Scenario[] = [
  {
    name: "reclaim-against-fault",
    claim: "A page leaves its cache only if nobody else holds it, looked at and taken in one step, with its lock held.",
    variants: [
      {
        name: "as-it-is",
        says: "the kernel of 2.6.11",
        expects: "holds",
        build: (graph) => reclaimAgainstFault(of2611, asItIs, graph),
      },
      {
        name: "as-it-is-6.1",
        says: "the kernel of 6.1",
        expects: "holds",
        build: (graph) => reclaimAgainstFault(of61, asItIs, graph),
      },
      {
        name: "counts-once",
        says: "references are counted, and the page is dropped a little later, without its lock",
        expects: "breaks",
        build: (graph) => reclaimAgainstFault(of2611, countsOnce, graph),
      },
    ],
  },
  {
    name: "kswapd-against-program",
    claim:
      "What a program stores while kswapd takes its page away reaches the file, and no CPU keeps a way to the frame.",
    variants: [
      {
        name: "as-it-is",
        says: "the kernel of 2.6.11",
        expects: "holds",
        build: (graph) => kswapdAgainstProgram(of2611, () => {}, graph),
      },
      {
        name: "as-it-is-6.1",
        says: "the kernel of 6.1",
        expects: "holds",
        build: (graph) => kswapdAgainstProgram(of61, () => {}, graph),
      },
      {
        name: "as-it-is-2.4",
        says: "the walk of address spaces of 2.4",
        expects: "holds",
        build: (graph) => kswapdAgainstProgram(of24, forgetsUse, graph),
      },
      {
        name: "does-not-wait",
        says: "the page is freed while the interrupts that flush TLBs are still on their way",
        expects: "breaks",
        build: (graph) => kswapdAgainstProgram(of2611, freesBeforeFlush, graph),
      },
    ],
  },
];
