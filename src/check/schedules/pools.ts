/**
 * Scenarios about huge pages: files that lose pages while faults map them, a pool that runs dry, and page tables that two
 * processes have in common while one of them leaves.
 */
import { addressOf, PAGE_SIZE, type Vpn } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import { putHuge } from "../../mm/bigpages/huge-file.ts";
import { createHugeFile } from "../../mm/bigpages/huge-pages.ts";
import { bigEntryAt, flagsOf, headAt } from "../../mm/bigpages/large-entries.ts";
import type { TableSharing } from "../../mm/bigpages/table-sharing.ts";
import { handleFault } from "../../mm/fault.ts";
import { type FileObject, OpenFile } from "../../mm/file.ts";
import { NO_FRAME, PG_TABLE } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { NOT_CACHED } from "../../mm/page-cache.ts";
import type { Thread } from "../../mm/process.ts";
import { lockTables, unlockTables } from "../../mm/table-lock.ts";
import { BUS_ADRERR, type Verdict } from "../../mm/verdict.ts";
import { VM_MAYSHARE } from "../../mm/vma.ts";
import { type Path, point } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import type { Scenario } from "./scenario.ts";
import { PRIVATE_FIXED, READ_WRITE, SHARED_FIXED, Stage } from "./stage.ts";

/** Pages of 4 KiB in a huge page, and in what one table of the second level maps. */
const HUGE = 512;
const GIB = 512 * HUGE;
/** Where the file is mapped: aligned for a table that is shared. */
const PLACE: Vpn = GIB;
const MAP_NORESERVE = 0x4000;
const HOLE = 3;
const READ = 1;
const VALUE = 7;

interface PoolShape {
  readonly cpus: number;
  /** Of the pool. */
  readonly huge: number;
  readonly lockGraph: LockGraph;
  readonly hugePages?: "hugetlbfs" | "hugetlbfs-shared-pmd";
}

const stageOf = ({ cpus, huge, lockGraph, hugePages = "hugetlbfs" }: PoolShape): Stage =>
  new Stage({
    kind: "x86-64",
    kernel: "linux-6.1",
    cpus,
    lockGraph,
    design: { hugePages },
    tunables: { hugePages: huge },
  });

/** A file on hugetlbfs of so many pages of 4 KiB. */
function openHuge({ kernel }: Stage, name: string, pages: number): OpenFile {
  return new OpenFile(createHugeFile(kernel, name, kernel.bigPages.pools[0]!, pages), "read-write");
}

/** The arguments of mmap for all of the file, whose pages nobody is promised. */
const mapping = (opened: OpenFile, flags: number) => [
  addressOf(PLACE),
  opened.file.sizeBytes,
  READ_WRITE,
  flags | MAP_NORESERVE,
  opened,
  0,
];

// Files that lose pages.

interface Mapped {
  readonly stage: Stage;
  /** On CPU 0, who cuts the file, and on CPU 1, who maps it. */
  readonly cutter: Thread;
  readonly mapper: Thread;
  readonly opened: OpenFile;
}

/** A file of one huge page, which one process has written to and another may cut. */
function mappedFile(flags: number, lockGraph: LockGraph): Mapped {
  const stage = stageOf({ cpus: 2, huge: 2, lockGraph });
  const [cutter] = stage.process("cutter", [0]);
  const [mapper] = stage.process("mapper", [1]);
  const opened = openHuge(stage, "data", HUGE);
  stage.machine.call(mapper, "mmap", mapping(opened, flags));
  stage.store(mapper, PLACE, 1);
  return { stage, cutter, mapper, opened };
}

/** How the file loses its page. */
type Cut = (mapped: Mapped) => Path<unknown>;

const punches: Cut = ({ stage, cutter, opened }) =>
  stage.call(cutter, "fallocate", [opened, HOLE, 0, HUGE * PAGE_SIZE]);

const truncates: Cut = ({ stage, cutter, opened }) => stage.call(cutter, "ftruncate", [opened, 0]);

/** The cut written out: unmap the page, take it from the file, and look at nothing again. */
const cutsOnce = (size: "keeps-size" | "size-last"): Cut =>
  function* ({ stage, cutter, opened: { file } }) {
    const { kernel } = stage;
    const { bigPages, frames } = kernel;
    const huge = file.huge!;
    if (!file.lock.tryAcquire(cutter)) yield* file.lock.acquire(cutter);
    for (const vma of file.mappings.overlapping(0, HUGE)) yield* bigPages.zapFile(kernel, vma, 0, HUGE);
    for (const head of huge.cut(0, 1)) putHuge(frames, huge.pool, head);
    if (size === "size-last") file.sizeBytes = 0;
    file.lock.release(cutter);
  };

/** An entry for a page that the file has lost, or beyond its end. */
function lostPage({ kernel }: Stage, file: FileObject): string | undefined {
  const { pages, pool } = file.huge!;
  for (const vma of file.mappings.overlapping(0, Number.POSITIVE_INFINITY)) {
    for (let page = vma.start; page < vma.end; page += HUGE) {
      const entry = bigEntryAt(kernel, vma.mm, page, pool);
      if (entry === null || flagsOf(kernel, entry) === 0) continue;
      const at = vma.indexAt(page) / HUGE;
      const what = `${vma.mm.id} maps huge page ${at} of the file`;
      if (at * HUGE >= file.endIndex) return `${what}, which ends before it`;
      if ((vma.flags & VM_MAYSHARE) !== 0 && pages.find(at) !== headAt(kernel, entry)) return `${what}, which lost it`;
    }
  }
  return undefined;
}

/** CPU 0 cuts the file while CPU 1 does something to what maps it. */
function cutAgainst(mapped: Mapped, cut: Cut, other: Path<unknown>): World {
  const { stage, cutter, mapper, opened } = mapped;
  stage.scheduler.add(cutter, cut(mapped));
  stage.scheduler.add(mapper, other);
  return stage.starts(() => lostPage(stage, opened.file));
}

function cutAgainstFault(cut: Cut, graph: LockGraph): World {
  const mapped = mappedFile(SHARED_FIXED, graph);
  return cutAgainst(mapped, cut, storeOnce(mapped));
}

/** One fault at most: a program that tries for ever could be disturbed for ever. */
function* storeOnce({ stage: { kernel }, mapper }: Mapped): Path<void> {
  yield point("its only instruction", "user");
  const { mmu } = kernel.cpus[mapper.cpu]!;
  if (!mmu.touch(PLACE, STORE)) yield* handleFault(kernel, mapper, addressOf(PLACE), mmu.faultError);
}

/** The mapper has a copy of his own, which fork gives to his child, too. */
function cutAgainstFork(looks: "again" | "once", graph: LockGraph): World {
  const mapped = mappedFile(PRIVATE_FIXED, graph);
  const { stage, mapper, opened } = mapped;
  if (looks === "once") Object.defineProperty(opened.file.mappings, "generation", { get: () => 0 });
  return cutAgainst(mapped, truncates, stage.fork(mapper));
}

/** The mapper unmaps the file, and maps another in its place, which nobody cuts. */
function cutAgainstUnmap(change: (file: FileObject) => void, graph: LockGraph): World {
  const { stage, cutter, mapper, opened } = mappedFile(SHARED_FIXED, graph);
  const other = openHuge(stage, "other", HUGE);
  change(opened.file);
  let seen = -1;
  stage.scheduler.add(mapper, replace());
  stage.scheduler.add(cutter, stage.call(cutter, "ftruncate", [opened, 0]));
  return stage.starts(() => (seen === VALUE ? undefined : `the program wrote ${VALUE}, and reads ${seen}`));

  function* replace(): Path<void> {
    yield* stage.munmap(mapper, PLACE, HUGE);
    yield* stage.call(mapper, "mmap", mapping(other, PRIVATE_FIXED));
    yield* stage.storeByte(mapper, PLACE, VALUE);
    seen = yield* stage.loadByte(mapper, PLACE);
  }
}

/** An area that mapped the file once maps it for ever. */
const areasNeverGo = ({ mappings }: FileObject): void => {
  mappings.has = () => true;
};

// A pool that runs dry.

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
  const stage = stageOf({ cpus: 2, huge: 1, lockGraph });
  const threads = stage.process("program", [0, 1]);
  const opened = openHuge(stage, "data", HUGE);
  stage.machine.call(threads[0], "mmap", mapping(opened, SHARED_FIXED));
  const verdicts = run(stage, threads, () => opened, come);
  return stage.starts(() => (verdicts.every((verdict) => verdict === 0) ? undefined : `SIGBUS: ${verdicts}`));
}

/** Two programs write to huge pages of their own, and the pool has one: one of them gets it. */
function oneGetsIt(flags: number, lockGraph: LockGraph): World {
  const stage = stageOf({ cpus: 2, huge: 1, lockGraph });
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

// Tables in common.

interface InCommon {
  readonly stage: Stage;
  /** On CPUs 0 and 1. */
  readonly leaver: readonly [Thread, Thread];
  /** On CPU 2. */
  readonly other: Thread;
}

/** Two processes map a gigabyte of a file; the first has been on two CPUs. `touched`: whether they have its table in common. */
function inCommon(touched: "both" | "by-other", lockGraph: LockGraph): InCommon {
  const stage = stageOf({ cpus: 3, huge: 1, lockGraph, hugePages: "hugetlbfs-shared-pmd" });
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

export const pools: readonly Scenario[] = [
  {
    name: "huge-fault-against-cut",
    claim:
      "Nobody maps a huge page that its file has lost: a new size counts before pages are unmapped, and a hole is unmapped until no fault has come in between.",
    variants: [
      {
        name: "hole",
        says: "a hole is made while a fault maps the page",
        expects: "holds",
        build: (graph) => cutAgainstFault(punches, graph),
      },
      {
        name: "hole-looks-once",
        says: "the same, and the page is taken from the file without a second look",
        expects: "breaks",
        build: (graph) => cutAgainstFault(cutsOnce("keeps-size"), graph),
      },
      {
        name: "truncation",
        says: "the file is cut while a fault maps the page",
        expects: "holds",
        build: (graph) => cutAgainstFault(truncates, graph),
      },
      {
        name: "size-last",
        says: "the same, and the size is changed when the page is gone",
        expects: "breaks",
        build: (graph) => cutAgainstFault(cutsOnce("size-last"), graph),
      },
    ],
  },
  {
    name: "huge-truncate-against-fork",
    claim: "Truncation looks at all areas of huge pages again if fork has copied entries to others while it waited.",
    variants: [
      {
        name: "as-it-is",
        says: "it looks at all areas again",
        expects: "holds",
        build: (graph) => cutAgainstFork("again", graph),
      },
      {
        name: "looks-once",
        says: "it goes through the areas that it found first",
        expects: "breaks",
        build: (graph) => cutAgainstFork("once", graph),
      },
    ],
  },
  {
    name: "huge-truncate-against-unmap",
    claim: "Truncation asks, with the tables locked, whether the area still maps the file: others may be in its place.",
    variants: [
      {
        name: "as-it-is",
        says: "one process cuts the file, another unmaps it and maps another file there",
        expects: "holds",
        build: (graph) => cutAgainstUnmap(() => {}, graph),
      },
      {
        name: "trusts-the-area",
        says: "truncation takes the area that it found for one that still maps the file",
        expects: "breaks",
        build: (graph) => cutAgainstUnmap(areasNeverGo, graph),
      },
    ],
  },
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
