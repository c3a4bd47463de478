/** Scenarios about files of huge pages that lose pages while others map them, fork or unmap. */
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { STORE } from "../../hw/access.ts";
import { putHuge } from "../../mm/bigpages/huge-file.ts";
import { bigEntryAt, flagsOf, headAt } from "../../mm/bigpages/large-entries.ts";
import { handleFault } from "../../mm/fault.ts";
import type { FileObject, OpenFile } from "../../mm/file.ts";
import type { Thread } from "../../mm/process.ts";
import { VM_MAYSHARE } from "../../mm/vma.ts";
import { type Path, point } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { areasNeverGo } from "./doubles.ts";
import { HUGE, mapping, openHuge, PLACE, poolStage, VALUE } from "./pool-stage.ts";
import type { Scenario } from "./scenario.ts";
import { PRIVATE_FIXED, SHARED_FIXED, type Stage } from "./stage.ts";

const HOLE = 3;

interface Mapped {
  readonly stage: Stage;
  /** On CPU 0, who cuts the file, and on CPU 1, who maps it. */
  readonly cutter: Thread;
  readonly mapper: Thread;
  readonly opened: OpenFile;
}

/** A file of one huge page, which one process has written to and another may cut. */
function mappedFile(flags: number, lockGraph: LockGraph): Mapped {
  const stage = poolStage({ cpus: 2, huge: 2, lockGraph });
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

export const hugeFiles: readonly Scenario[] = [
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
];
