/** Programs whose memory is huge pages, or may become huge, on a machine whose tasks are interleaved. */
import { bug } from "../../base/errors.ts";
import { addressOf } from "../../base/units.ts";
import { MEMORY } from "../../mm/address-space.ts";
import { PG_LRU } from "../../mm/frames.ts";
import type { Kernel } from "../../mm/kernel.ts";
import type { Thread } from "../../mm/process.ts";
import { atOnce, shrinkPage } from "../../mm/reclaim/shrink-page.ts";
import { type Path, point } from "../../sync/path.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { PAGE, Stage } from "./stage.ts";

/** Pages of 4 KiB in a huge page. */
export const HUGE = 512;
/** What a page holds before anybody else runs, and what is written later. */
export const VALUE = 7;
export const LATER = 8;
const MADV_HUGEPAGE = 14;

export interface Program {
  readonly stage: Stage;
  readonly kernel: Kernel;
  /** On CPUs 0 and 1. */
  readonly threads: readonly [Thread, Thread];
}

/** A program with an area at PAGE that may have one huge page; `pages` of it hold VALUE, and were written before that was so. */
export function smallPages(lockGraph: LockGraph, pages: number): Program {
  const design = { transparentPages: "madvise" } as const;
  const stage = new Stage({
    kind: "x86-64",
    kernel: "linux-6.1",
    cpus: 2,
    lockGraph,
    design,
    swap: "4M",
    tunables: { pageCluster: 0, khugepagedPages: HUGE },
  });
  const threads = stage.process("program", [0, 1]);
  stage.map(threads[0], PAGE, HUGE);
  for (let page = 0; page < pages; page++) stage.store(threads[0], PAGE + page, VALUE);
  if (stage.machine.call(threads[0], "madvise", [addressOf(PAGE), addressOf(HUGE), MADV_HUGEPAGE]) < 0)
    bug("a scenario's madvise fails");
  return { stage, kernel: stage.kernel, threads };
}

/** The same, and its first page is part of a huge one. */
export function hugePage(lockGraph: LockGraph): Program {
  const program = smallPages(lockGraph, 0);
  program.stage.store(program.threads[0], PAGE, VALUE);
  return program;
}

/** Reclaim takes one page, as MADV_PAGEOUT has it: off its list with others, and a little later it is its turn. */
export function* takes(kernel: Kernel, frame: number): Path<void> {
  const { frames, reclaim, allocator, current } = kernel;
  current.task.watch?.touch(MEMORY, "write");
  if (!frames.has(frame, PG_LRU)) return;
  reclaim.forget(frame);
  frames.addReference(frame);
  yield point("its turn");
  if ((yield* shrinkPage(kernel, frame, atOnce)) !== "freed") reclaim.adopt(frame);
  allocator.release(frame);
}
