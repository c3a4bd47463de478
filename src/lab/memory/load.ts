/** Loads that a person has sized: what the machine has no memory for is his mistake, and says so. */
import { UsageError } from "../../base/errors.ts";
import type { Machine } from "../../machine.ts";
import type { Thread } from "../../mm/process.ts";
import type { Argument } from "../../mm/syscalls.ts";

/** `result`, unless it is an error: then the load is too large. */
export function needed(result: number, what: string): number {
  if (result >= 0) return result;
  throw new UsageError(`the machine has no memory for ${what} of the load; use a smaller load or a larger machine`);
}

/** A system call that only want of memory can make fail. */
export const neededCall = (machine: Machine, thread: Thread, name: string, args: readonly Argument[]): number =>
  needed(machine.call(thread, name, args), `${name} by ${thread.name}`);

/** A child of `parent`. */
export function neededChild(machine: Machine, parent: Thread): Thread {
  const child = machine.fork(parent);
  return typeof child === "number" ? (needed(child, "one more process") as never) : child.threads[0]!;
}
