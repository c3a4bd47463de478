/**
 * The lock of a leaf table that several places have. It is taken inside page_table_lock by whoever changes the table's
 * entries, or its places, and a path that cannot wait tries it, as reclaim tries page_table_lock.
 *
 *     const shared = tables.shared.exist ? yield* lockShared(kernel, mm, page) : null;
 *     ...
 *     if (shared !== null) unlockShared(kernel, shared);
 */
import type { Vpn } from "../../../base/units.ts";
import type { Path } from "../../../sync/path.ts";
import type { AddressSpace } from "../../address-space.ts";
import type { Kernel } from "../../kernel.ts";
import { LEAF, NO_TABLE } from "../../page-table.ts";
import type { SharedTable } from "./shared-tables.ts";

/** What is shared of the leaf table of `page`; undefined if it is nobody else's, or not there. */
export function sharedAt({ tables }: Kernel, mm: AddressSpace, page: Vpn): SharedTable | undefined {
  if (!tables.shared.exist) return undefined;
  const leaf = tables.tableAt(mm, page, LEAF);
  const shared = leaf === NO_TABLE ? undefined : tables.shared.find(leaf);
  return shared?.isSharedFor(mm) === true ? shared : undefined;
}

/** The leaf table of `page`, locked; null if nobody shares it. Requires: page_table_lock is held. */
export function* lockShared(kernel: Kernel, mm: AddressSpace, page: Vpn): Path<SharedTable | null> {
  const { task } = kernel.current;
  for (let shared = sharedAt(kernel, mm, page); shared !== undefined; shared = sharedAt(kernel, mm, page)) {
    if (!shared.lock.tryAcquire(task)) yield* shared.lock.acquire(task);
    // The others may have left meanwhile.
    if (sharedAt(kernel, mm, page) === shared) return shared;
    shared.lock.release(task);
  }
  return null;
}

export function unlockShared({ current }: Kernel, shared: SharedTable): void {
  shared.lock.release(current.task);
}
