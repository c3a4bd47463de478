/** A thread of execution as locks and the scheduler see it: where it runs and what it holds. */
import type { Lock } from "./lock.ts";
import type { Watch } from "./watch.ts";

export class Task {
  readonly id: number;
  readonly name: string;
  /** The CPU that it runs on. */
  cpu = 0;
  /** The locks that it holds, oldest first, in the first `depth` places: an array that shrinks is allocated anew. */
  private readonly stack: (Lock | null)[] = [null, null, null, null];
  private depth = 0;
  /** Reasons why it may not be preempted, nor sleep: spinlocks and atomic maps that it holds. */
  preemptCount = 0;
  /** It frees memory for others: it may have the last there is, and frees none for itself (PF_MEMALLOC). */
  freesMemory = false;
  /** Who looks on: the scheduler, while it interleaves this task with others. Null: the task runs to completion. */
  watch: Watch | null = null;

  constructor(id: number, name: string) {
    this.id = id;
    this.name = name;
  }

  /** The locks that it holds, oldest first. */
  get held(): readonly Lock[] {
    return this.stack.slice(0, this.depth) as Lock[];
  }

  hold(lock: Lock): void {
    this.stack[this.depth++] = lock;
  }

  /** The lock is held once less. */
  unhold(lock: Lock): void {
    const { stack } = this;
    let at = --this.depth;
    let moved = stack[at]!;
    stack[at] = null;
    // Locks are not always released in the order in which they were taken.
    while (moved !== lock) {
      at--;
      const next = stack[at]!;
      stack[at] = moved;
      moved = next;
    }
  }
}

/** Who runs now (Linux's `current`): whoever runs a task sets it. */
export class Current {
  task: Task = new Task(0, "boot");
}
