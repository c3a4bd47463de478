/**
 * Kernel paths. A generator is a kernel stack: a path that may wait is a generator function, and what it yields says
 * what it waits for. One driver (here) runs a path to completion on one CPU; a scheduler may interleave many.
 */
import { bug } from "../base/errors.ts";

/** What a suspended path waits for. */
export interface Wait {
  /** In words, for dumps: "mmap_sem of 12", "disk". */
  readonly on: string;
  /** Whether the path may go on. */
  ready(): boolean;
}

/** A kernel path that ends with a `T`. */
export type Path<T> = Generator<Wait, T, void>;

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
