/**
 * Scenarios about memory that is moved so that huge pages can be had, and about huge pages that are split so that memory can be
 * had: against programs that use what is moved or split, and against others who want the same page.
 */
import { addressOf, PAGE_SIZE, type Pfn } from "../../base/units.ts";
import { MEMORY } from "../../mm/address-space.ts";
import { WANT_USER } from "../../mm/allocator.ts";
import { OpenFile } from "../../mm/file.ts";
import { PG_HEAD, PG_LRU } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import { tryLockPage, unlockPage } from "../../mm/page-lock.ts";
import { referenced } from "../../mm/reclaim/referenced.ts";
import { splitPage } from "../../mm/thp/huge-reclaim.ts";
import { migrate } from "../../mm/thp/migrate.ts";
import type { Owner } from "../../mm/zone.ts";
import { type Path, point } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { byteAt, frameAt, wrongIf } from "./contents.ts";
import { freesBeforeFlush } from "./doubles.ts";
import { HUGE, hugePage, LATER, type Program, smallPages, takes, VALUE } from "./huge-stage.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE, READ_WRITE, SHARED_FIXED, Stage } from "./stage.ts";

const MADV_DONTNEED = 4;
const READ = 1;
/** MREMAP_MAYMOVE | MREMAP_FIXED */
const MREMAP_TO = 3;

type Change = (kernel: Kernel) => void;
const asItIs: Change = () => {};

/** What the program does on CPU 1; what it says is wrong. */
type Doing = (program: Program, frame: Pfn) => Path<string | undefined>;

const writes: Doing = function* ({ stage, threads }) {
  yield* stage.storeByte(threads[1], PAGE, LATER);
  return wrongIf(yield* stage.loadByte(threads[1], PAGE), [LATER], "the page that was written");
};
const reads: Doing = function* ({ stage, threads }) {
  return wrongIf(yield* stage.loadByte(threads[1], PAGE), [VALUE], "the page");
};
const faultsBeside: Doing = function* ({ stage, threads }) {
  yield* stage.storeByte(threads[1], PAGE + 1, LATER);
  return wrongIf(yield* stage.loadByte(threads[1], PAGE), [VALUE], "the page");
};
const unmaps = (pages: number): Doing =>
  function* ({ stage, threads }) {
    yield* stage.munmap(threads[1], PAGE, pages);
    return wrongIf(byteAt(stage, threads[1].mm, PAGE), [null], "the page that is unmapped");
  };
const givesBack = (pages: number): Doing =>
  function* ({ stage, threads }) {
    yield* stage.call(threads[1], "madvise", [addressOf(PAGE), addressOf(pages), MADV_DONTNEED]);
    return wrongIf(yield* stage.loadByte(threads[1], PAGE), [0], "the page that was given back");
  };
const protects = (pages: number): Doing =>
  function* ({ stage, threads }) {
    yield* stage.call(threads[1], "mprotect", [addressOf(PAGE), addressOf(pages), READ]);
    return wrongIf(yield* stage.loadByte(threads[1], PAGE), [VALUE], "the page");
  };
const moves: Doing = function* ({ stage, threads }) {
  const args = [addressOf(PAGE), addressOf(HUGE), addressOf(HUGE), MREMAP_TO, addressOf(PAGE + 2 * HUGE)];
  yield* stage.call(threads[1], "mremap", args);
  return wrongIf(yield* stage.loadByte(threads[1], PAGE + 2 * HUGE), [VALUE], "the page at its new place");
};
const forks: Doing = function* ({ stage, threads }) {
  yield* stage.fork(threads[1]);
  return wrongIf(yield* stage.loadByte(threads[1], PAGE), [VALUE], "the parent's page");
};
const ends: Doing = function* ({ stage, threads }) {
  yield* stage.exit(threads[1].process);
  return undefined;
};
/** Reclaim, on that CPU, takes the page as MADV_PAGEOUT would. */
const isReclaimed: Doing = function* ({ kernel }, frame) {
  yield* takes(kernel, frame);
  return undefined;
};

/** The page is split, as before it is swapped, and goes on as it is. */
function* splits(kernel: Kernel, head: number): Path<void> {
  const { frames, reclaim, allocator, current, tlbFlush } = kernel;
  current.task.watch?.touch(MEMORY, "write");
  if (!frames.has(head, PG_LRU)) return;
  reclaim.forget(head);
  frames.addReference(head);
  yield point("its turn");
  if (tryLockPage(kernel, head)) {
    if (frames.has(head, PG_HEAD)) splitPage(kernel, head);
    if (tlbFlush.owes) yield* tlbFlush.settle();
    unlockPage(kernel, head);
  }
  reclaim.adopt(head);
  allocator.release(head);
}

function against(program: Program, kernelDoes: KernelDoes, does: Doing, change: Change): World {
  const { stage, kernel, threads } = program;
  const frame = frameAt(kernel, threads[0].mm, PAGE)!;
  let wrong: string | undefined = "the program has not come to its end";
  // The other CPU knows the page.
  stage.store(threads[1], PAGE, VALUE);
  // And reclaim has looked, so that the page goes unless it is used again.
  referenced(kernel, frame);
  change(kernel);
  stage.kernelTask("kcompactd", 0, kernelDoes(kernel, frame));
  stage.scheduler.add(
    threads[1],
    (function* () {
      wrong = yield* does(program, frame);
    })(),
  );
  return stage.starts(() => wrong);
}

/** What the kernel does on CPU 0 to the page that the program has at first. */
type KernelDoes = (kernel: Kernel, frame: Pfn) => Path<unknown>;

const splitAgainst = (does: Doing, change: Change, graph: LockGraph): World =>
  against(hugePage(graph), does === writes ? takes : splits, does, change);

const moveAgainst = (does: Doing, change: Change, graph: LockGraph): World =>
  against(smallPages(graph, 1), movesPage, does, change);

function* movesPage(kernel: Kernel, from: number): Path<void> {
  const to = kernel.allocator.tryAllocate(0, WANT_USER, kernel.frames.owner.read(from) as Owner);
  if (!(yield* migrate(kernel, from, to))) kernel.allocator.release(to);
}

/** Another process maps the page of the file that is moved. */
function fileMoveAgainstRead(graph: LockGraph): World {
  const stage = new Stage({ kind: "x86-64", kernel: "linux-6.1", cpus: 2, lockGraph: graph });
  const { kernel, machine } = stage;
  const [owner] = stage.process("owner", [0]);
  const [other] = stage.process("other", [1]);
  const file = kernel.files.create({ name: "data", kind: "shmem", sizeBytes: PAGE_SIZE });
  const opened = new OpenFile(file, "read-write");
  for (const thread of [owner, other])
    machine.call(thread, "mmap", [addressOf(PAGE), PAGE_SIZE, READ_WRITE, SHARED_FIXED, opened, 0]);
  stage.store(owner, PAGE, VALUE);
  let seen = -1;
  stage.kernelTask("kcompactd", 0, movesPage(kernel, file.pages.find(0)));
  stage.scheduler.add(
    other,
    (function* () {
      seen = yield* stage.loadByte(other, PAGE);
    })(),
  );
  return stage.starts(() => wrongIf(seen, [VALUE], "the file's page"));
}

/** What happens to what is split, or moved, meanwhile. */
const doings: readonly { readonly name: string; readonly says: string; readonly does: Doing }[] = [
  { name: "write", says: "the program writes to the page", does: writes },
  { name: "read", says: "the program reads the page", does: reads },
  { name: "fault-beside", says: "the program writes to the page beside it", does: faultsBeside },
  { name: "munmap", says: "the program unmaps the page", does: unmaps(1) },
  { name: "munmap-all", says: "the program unmaps all of its area", does: unmaps(HUGE) },
  { name: "dontneed", says: "the program gives the page back", does: givesBack(1) },
  { name: "dontneed-all", says: "the program gives all of its area back", does: givesBack(HUGE) },
  { name: "mprotect", says: "the program makes the page read-only, which splits its area", does: protects(1) },
  { name: "mprotect-all", says: "the program makes all of its area read-only", does: protects(HUGE) },
  { name: "mremap", says: "the program moves all of its area elsewhere", does: moves },
  { name: "fork", says: "the program forks", does: forks },
  { name: "exit", says: "the program ends", does: ends },
  { name: "reclaim", says: "reclaim takes the page", does: isReclaimed },
];

type Build = (does: Doing, change: Change, graph: LockGraph) => World;
const holding = (build: Build) =>
  doings.map(({ name, says, does }) => ({
    name,
    says,
    expects: "holds" as const,
    build: (graph: LockGraph) => build(does, asItIs, graph),
  }));

export const hugeMoves: readonly Scenario[] = [
  {
    name: "split-against-program",
    claim:
      "A huge page that is split under a program is the same memory: whoever comes to its large entry and finds it gone goes on with small ones.",
    variants: [
      ...holding(splitAgainst),
      {
        name: "does-not-wait",
        says: "the page is split and swapped, and its frame is free while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => splitAgainst(writes, freesBeforeFlush, graph),
      },
    ],
  },
  {
    name: "move-against-program",
    claim:
      "A page that is moved is moved with what was last written to it, for all who map it, and reclaim finds it on no list meanwhile.",
    variants: [
      ...holding(moveAgainst),
      {
        name: "file",
        says: "another process reads the page of a file, which is moved",
        expects: "holds",
        build: fileMoveAgainstRead,
      },
      {
        name: "does-not-wait",
        says: "the page is copied while the interrupts are still on their way",
        expects: "breaks",
        build: (graph) => moveAgainst(writes, freesBeforeFlush, graph),
      },
    ],
  },
];
