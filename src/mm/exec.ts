/**
 * exec: a new, empty address space takes the place of the old one. The new program's image and its stack are mapped by
 * whoever loads it.
 *
 * @models linux-6.1 fs/exec.c bprm_mm_init, exec_mmap
 * @differs argument pages are the loader's business; the new address space is empty
 */
import { ENOMEM } from "../base/errno.ts";
import type { Path } from "../sync/path.ts";
import type { Kernel } from "./kernel.ts";
import type { Thread } from "./process.ts";
import { lacksMemory, retried } from "./retried.ts";
import { createSpace, releaseSpace, switchSpace } from "./space.ts";

/** Gives the thread's process an empty address space: 0, or -ENOMEM with nothing changed. */
export function* execSpace(kernel: Kernel, thread: Thread): Path<number> {
  return yield* retried(kernel, () => replaceSpace(kernel, thread), lacksMemory);
}

function* replaceSpace(kernel: Kernel, thread: Thread): Path<number> {
  const { process } = thread;
  const old = process.mm;
  const mm = createSpace(kernel, old.limits);
  if (mm === null) return -ENOMEM;
  process.mm = mm;
  if (old.cpus.has(thread.cpu)) switchSpace(kernel, kernel.cpus[thread.cpu]!, mm);
  yield* releaseSpace(kernel, old);
  kernel.counters.execs++;
  return 0;
}
