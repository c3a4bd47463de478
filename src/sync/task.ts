/** A thread of execution as locks and the scheduler see it: where it runs and what it holds. */
import type { Lock } from "./lock.ts";
import type { Watch } from "./watch.ts";

export class Task {
  readonly id: number;
  readonly name: string;
  /** The CPU that it runs on. */
  cpu = 0;
  /** The locks that it holds, oldest first. */
  readonly held: Lock[] = [];
  /** Reasons why it may not be preempted, nor sleep: spinlocks and atomic maps that it holds. */
  preemptCount = 0;
  /** Who looks on: the scheduler, while it interleaves this task with others. Null: the task runs to completion. */
  watch: Watch | null = null;

  constructor(id: number, name: string) {
    this.id = id;
    this.name = name;
  }
}

/** Who runs now (Linux's `current`): whoever runs a task sets it. */
export class Current {
  task: Task = new Task(0, "boot");
}
