/** page_table_lock, for paths where a generator more is no matter; hot ones write the idiom of sync/lock.ts out. */
import type { Path } from "../sync/path.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Kernel } from "./kernel.ts";

/** The running task holds the page_table_lock of `mm` from now on, and may not sleep. */
export function* lockTables(kernel: Kernel, mm: AddressSpace): Path<void> {
  const { task } = kernel.current;
  if (!mm.pageTableLock.tryAcquire(task)) yield* mm.pageTableLock.acquire(task);
}

export function unlockTables(kernel: Kernel, mm: AddressSpace): void {
  mm.pageTableLock.release(kernel.current.task);
}
