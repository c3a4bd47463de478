/**
 * page_table_lock, and with it the room to open tables. Where windows on tables may have to be waited for, room comes
 * first, since nobody sleeps under a lock that spins, and is kept as long as the lock: what opens a table in between never
 * waits, and never finds a series full, even if it waited for other CPUs meanwhile.
 *
 *     takeTableRoom (may sleep) -> page_table_lock (spins) -> open, close -> unlock -> giveTableRoom
 *
 * The idiom of a hot path:
 *
 *     if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
 */
import type { Path } from "../sync/path.ts";
import type { AddressSpace } from "./address-space.ts";
import type { Kernel } from "./kernel.ts";

/** The series of windows on page tables, by the name that the scheduler knows them by. */
const SERIES = "page-table series";

/** The lock, if it is free and no room must be taken first; whether it is had. */
export function tryLockTables(kernel: Kernel, mm: AddressSpace): boolean {
  return !kernel.tables.takesRoom && mm.pageTableLock.tryAcquire(kernel.current.task);
}

/** The running task holds the page_table_lock of `mm` from now on, and may not sleep. */
export function* lockTables(kernel: Kernel, mm: AddressSpace): Path<void> {
  if (kernel.tables.takesRoom) yield* takeTableRoom(kernel);
  const { task } = kernel.current;
  if (!mm.pageTableLock.tryAcquire(task)) yield* mm.pageTableLock.acquire(task);
}

export function unlockTables(kernel: Kernel, mm: AddressSpace): void {
  mm.pageTableLock.release(kernel.current.task);
  if (kernel.tables.takesRoom) giveTableRoom(kernel);
}

/** Room to open tables from now on. Requires: no lock that spins is held. */
export function* takeTableRoom(kernel: Kernel): Path<void> {
  kernel.current.task.watch?.touch(SERIES, "write");
  const wait = kernel.tables.access.takeRoom();
  if (wait === undefined) return;
  yield* wait;
  kernel.current.task.watch?.touch(SERIES, "write");
}

export function giveTableRoom(kernel: Kernel): void {
  kernel.current.task.watch?.touch(SERIES, "write");
  kernel.tables.access.giveRoom();
}
