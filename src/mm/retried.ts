/**
 * What fails because a small object, a page table or a chain could not be had, though memory could be freed, is done
 * again from its beginning once some is. Linux waits in the midst of it, in the allocation itself; the outcome is the
 * same, because what fails for want of memory changes nothing, or nothing that doing it again does not find done.
 */
import { EAGAIN, ENOMEM } from "../base/errno.ts";
import type { Path } from "../sync/path.ts";
import type { Kernel } from "./kernel.ts";

/**
 * Takes `path` again for as long as it `fails`, an allocation has failed meanwhile without waiting, and memory can be freed.
 * What has waited in vain fails for good.
 */
export function* retried<T>(kernel: Kernel, path: () => Path<T>, fails: (result: T) => boolean): Path<T> {
  const { allocator } = kernel;
  for (let rounds = 1; ; rounds++) {
    const { failures, refusals } = allocator;
    const result = yield* path();
    const mayRetry = fails(result) && allocator.failures > failures && allocator.refusals === refusals;
    if (!mayRetry || !(yield* allocator.waitForMemory(rounds))) return result;
  }
}

/** Whether a call may have failed for want of memory. */
export const lacksMemory = (result: number): boolean => result === -ENOMEM || result === -EAGAIN;
