/**
 * What the scheduler is told while it interleaves tasks. A path that runs to completion has nobody to tell: its task's
 * `watch` is null, and that is all it costs.
 */
import type { Lock } from "./lock.ts";
import type { Task } from "./task.ts";

/** Steps that only read an object commute with one another. */
export type Touch = "read" | "write";

/** How a lock came to be held: by waiting for it, which makes an order of locks, or by trying, which does not. */
export type Taking = "waited" | "tried";

export interface Watch {
  /** The running step looks at or changes what goes by this name, and whose state other CPUs may change. */
  touch(what: string, how: Touch): void;
  acquired(task: Task, lock: Lock, how: Taking): void;
  released(task: Task, lock: Lock): void;
}
