/**
 * Kernel paths. A generator is a kernel stack: a path that may wait is a generator function, and what it yields says
 * what it waits for. One driver (here) runs a path to completion on one CPU; the scheduler interleaves many.
 */
import { bug } from "../base/errors.ts";

/**
 * How a path waits:
 *
 *     sleep   the CPU may run others meanwhile; forbidden while preemption is off
 *     spin    the CPU does nothing else, but takes interrupts
 *     point   it waits for nothing: others may come in between, on this CPU only if the kernel is preemptible
 *     user    between two instructions of a program: the timer may take the CPU away
 */
export type Waiting = "sleep" | "spin" | "point" | "user";

/** What a suspended path waits for. */
export interface Wait {
  /** In words, for dumps: "mmap_sem of 12", "disk". */
  readonly on: string;
  /** Left out: it sleeps. */
  readonly how?: Waiting;
  /** Whether the path may go on. */
  ready(): boolean;
}

/** A kernel path that ends with a `T`. */
export type Path<T> = Generator<Wait, T, void>;

/** A place where others may come in between. */
export const point = (on: string, how: "point" | "user" = "point"): Wait => ({ on, how, ready: () => true });

/**
 * Runs a path to its end on one CPU. With nobody else to run, whatever the path waits for must already be there:
 * anything else is a deadlock, and a bug.
 */
export function runToCompletion<T>(path: Path<T>): T {
  let step = path.next();
  while (!step.done) {
    if (!step.value.ready()) bug(`nobody else runs, and this path waits for ${step.value.on}`);
    step = path.next();
  }
  return step.value;
}
