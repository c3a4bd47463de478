/**
 * Scenarios about khugepaged, which makes a huge page of small ones: against whoever uses the small ones, gives them up, has
 * them copied by fork or taken by reclaim, and against the end of the address space.
 */
import { addressOf, type Pfn } from "../../base/units.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Process } from "../../mm/process.ts";
import { referenced } from "../../mm/reclaim/referenced.ts";
import type { Path } from "../../sync/path.ts";
import type { World } from "../../sync/search.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { byteAt, frameAt, wrongIf } from "./contents.ts";
import { freesBeforeFlush } from "./doubles.ts";
import { HUGE, LATER, type Program, smallPages, takes, VALUE } from "./huge-stage.ts";
import type { Scenario } from "./scenario.ts";
import { PAGE } from "./stage.ts";

const MADV_DONTNEED = 4;
const KHUGEPAGED = "khugepaged";
/** Small pages that there are before. */
const PAGES = 2;

type Change = (kernel: Kernel) => void;
const asItIs: Change = () => {};

/** What the program does on CPU 1 while khugepaged has its turn on CPU 0, and what is wrong then. */
interface Doing {
  readonly does: (program: Program, frame: Pfn) => Path<unknown>;
  readonly wrong: (program: Program) => string | undefined;
}

function collapseAgainst({ does, wrong }: Doing, change: Change, lockGraph: LockGraph): World {
  const program = smallPages(lockGraph, PAGES);
  const { stage, kernel, threads } = program;
  const { khugepaged } = kernel.transparent;
  khugepaged.enter(threads[0].mm);
  // The other CPU knows the page.
  stage.store(threads[1], PAGE, VALUE);
  // Reclaim has looked at it, and takes it unless it is used again.
  const frame = frameAt(kernel, threads[0].mm, PAGE)!;
  referenced(kernel, frame);
  change(kernel);
  stage.kernelTask(KHUGEPAGED, 0, khugepaged.turn(kernel));
  stage.scheduler.add(threads[1], does(program, frame));
  return stage.starts(() => wrong(program));
}

const holds = ({ stage, threads }: Program, at: number, ...expected: (number | null)[]): string | undefined =>
  wrongIf(byteAt(stage, threads[0].mm, PAGE + at), expected, `page ${at}`);

/** It writes to a page that there is, and to one that there is not. */
const writes = (at: number): Doing => ({
  does: ({ stage, threads }) => stage.storeByte(threads[1], PAGE + at, LATER),
  wrong: (program) => holds(program, at, LATER) ?? holds(program, 1, at === 1 ? LATER : VALUE),
});

/** It gives all pages back, or a part of them. */
const givesBack = (pages: number): Doing => ({
  does: ({ stage, threads }) => stage.call(threads[1], "madvise", [addressOf(PAGE), addressOf(pages), MADV_DONTNEED]),
  wrong: (program) => holds(program, 0, 0, null) ?? (pages > 1 ? holds(program, 1, 0, null) : holds(program, 1, VALUE)),
});

const unmaps = (pages: number): Doing => ({
  does: ({ stage, threads }) => stage.munmap(threads[1], PAGE, pages),
  wrong: (program) => holds(program, 0, null) ?? holds(program, 1, pages > 1 ? null : VALUE),
});

/** It forks: both have both pages. */
const forks: Doing = {
  does: ({ stage, threads }) => stage.fork(threads[1]),
  wrong: ({ stage, kernel }) => {
    for (const mm of kernel.spaces) {
      for (const at of [0, 1]) {
        const wrong = wrongIf(byteAt(stage, mm, PAGE + at), [VALUE], `page ${at} of ${mm.id}`);
        if (wrong !== undefined) return wrong;
      }
    }
    return kernel.spaces.size === 2 ? undefined : "there is no child";
  },
};

const ends: Doing = {
  does: ({ stage, threads }) => stage.exit(threads[1].process as Process),
  wrong: () => undefined,
};

/** Reclaim takes one of the small pages, as MADV_PAGEOUT would. */
const isReclaimed: Doing = {
  does: ({ kernel }, frame) => takes(kernel, frame),
  wrong: (program) => holds(program, 0, VALUE, null) ?? holds(program, 1, VALUE),
};

/** khugepaged changes tables without being alone in the address space. */
const collapsesWithoutSemaphore: Change = ({ spaces }) => {
  for (const { mmapSem } of spaces) {
    const take = mmapSem.write.bind(mmapSem);
    const release = mmapSem.releaseWrite.bind(mmapSem);
    mmapSem.write = function* (task) {
      if (task.name !== KHUGEPAGED) yield* take(task);
    };
    mmapSem.releaseWrite = (task) => {
      if (task.name !== KHUGEPAGED) release(task);
    };
  }
};

/** The end of an address space is none of khugepaged's business. */
const leavesUnnoticed: Change = ({ transparent: { khugepaged } }) => {
  khugepaged.leave = function* () {};
};

const holding = (name: string, says: string, doing: Doing) =>
  ({ name, says, expects: "holds", build: (graph: LockGraph) => collapseAgainst(doing, asItIs, graph) }) as const;
const breaking = (name: string, says: string, doing: Doing, change: Change) =>
  ({ name, says, expects: "breaks", build: (graph: LockGraph) => collapseAgainst(doing, change, graph) }) as const;

export const hugeCollapse: readonly Scenario[] = [
  {
    name: "collapse-against-write",
    claim:
      "What is written to a small page before every CPU has forgotten it is copied; what is written later is written to the huge page.",
    variants: [
      holding("mapped", "a write to a page that there is, and that its CPU knows", writes(0)),
      holding("hole", "a write to a page that there is not", writes(9)),
      breaking(
        "does-not-wait",
        "copying begins while the interrupts are still on their way",
        writes(0),
        freesBeforeFlush,
      ),
    ],
  },
  {
    name: "collapse-against-zap",
    claim: "What a program has given back does not come again with a huge page, nor goes what it has kept.",
    variants: [
      holding("dontneed-all", "MADV_DONTNEED of all", givesBack(HUGE)),
      holding("dontneed-part", "MADV_DONTNEED of one small page", givesBack(1)),
      holding("munmap-all", "munmap of all", unmaps(HUGE)),
      holding("munmap-part", "munmap of one small page, after which no huge page fits", unmaps(1)),
      breaking(
        "no-semaphore",
        "MADV_DONTNEED of one, and khugepaged does not keep others from the tables",
        givesBack(1),
        collapsesWithoutSemaphore,
      ),
    ],
  },
  {
    name: "collapse-against-fork",
    claim: "A child has the small pages or the huge one, and its parent the same.",
    variants: [
      holding("as-it-is", "fork while khugepaged has its turn", forks),
      breaking("no-semaphore", "khugepaged does not keep others from the tables", forks, collapsesWithoutSemaphore),
    ],
  },
  {
    name: "collapse-against-exit",
    claim: "An address space ends when khugepaged has done with it, and it begins nothing there any more.",
    variants: [
      holding("as-it-is", "the program ends while khugepaged has its turn", ends),
      breaking("leaves-unnoticed", "nobody waits for khugepaged", ends, leavesUnnoticed),
    ],
  },
  {
    name: "collapse-against-reclaim",
    claim:
      "A page that reclaim has taken off its list is not made part of a huge one, or is nobody's but reclaim's then.",
    variants: [
      holding("as-it-is", "reclaim takes one of the small pages", isReclaimed),
      breaking(
        "does-not-wait",
        "its frame is free while the interrupts are still on their way",
        isReclaimed,
        freesBeforeFlush,
      ),
    ],
  },
];
