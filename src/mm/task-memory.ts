/**
 * What a task costs the kernel beside its address space: a stack, a task_struct, and for a process that is not just one
 * more thread of another its signal handlers, open files and credentials.
 *
 * @models linux-6.1 kernel/fork.c copy_process, dup_task_struct
 * @differs a task's memory goes when it exits; Linux keeps the task_struct until the parent has waited for it
 */
import type { Path } from "../sync/path.ts";
import type { Kernel } from "./kernel.ts";
import type { KernelStack } from "./kernel-stacks.ts";
import { orWait } from "./mapped-frame.ts";
import type { Thread } from "./process.ts";
import type { Slab } from "./slab.ts";

export interface TaskMemory {
  readonly stack: KernelStack;
  /** The caches of which the task has one object each. */
  readonly objects: readonly Slab[];
}

/** The first thread of a process, or one that shares its process with others. */
export type TaskKind = "process" | "thread";

/** Memory for one more task; null, and nothing changed, if there is none. */
export function allocateTask({ slabs, stacks }: Kernel, kind: TaskKind): TaskMemory | null {
  const objects = kind === "process" ? [slabs.tasks, ...slabs.processParts] : [slabs.tasks];
  for (let at = 0; at < objects.length; at++) {
    if (objects[at]!.allocate() < 0) {
      for (const cache of objects.slice(0, at)) cache.free();
      return null;
    }
  }
  const stack = stacks.allocate();
  if (stack !== null) return { stack, objects };
  for (const cache of objects) cache.free();
  return null;
}

/** The same, and waits until there is some; null if there is none to be had. */
export function* waitForTask(kernel: Kernel, kind: TaskKind): Path<TaskMemory | null> {
  return yield* orWait(kernel.allocator, () => allocateTask(kernel, kind));
}

/** Gives back what `allocateTask` gave. */
export function freeTask({ stacks }: Kernel, { stack, objects }: TaskMemory): void {
  stacks.free(stack);
  for (const cache of objects) cache.free();
}

/** The thread has ended: its memory goes, if it ever had any. */
export function releaseTask(kernel: Kernel, thread: Thread): void {
  if (thread.memory === null) return;
  freeTask(kernel, thread.memory);
  thread.memory = null;
}
