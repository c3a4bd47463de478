/**
 * Whether processes that map the same gigabyte of a file of huge pages share the table that maps it. A table of the
 * second level is then in several trees; whoever changes what only he should see leaves it first, and may come back by
 * his next fault. Whoever leaves holds the file's lock until his CPUs have forgotten the table, and whoever unmaps takes
 * it too: else the last owner could free the table while CPUs of one who has left still walk through it.
 *
 *     area     |......[======1 GiB, aligned, all within the area======]...|     VM_MAYSHARE, same rights, same place
 *     A's and B's level 3 -> one table of level 2 -> 512 pages of 2 MiB
 *
 * @models linux-6.1 mm/hugetlb.c huge_pmd_share, huge_pmd_unshare, page_table_shareable, __unmap_hugepage_range_final
 * @differs the lock is for tables alone: in Linux it is i_mmap_rwsem, which areas are linked under, too
 */
import { bug } from "../../base/errors.ts";
import type { Pfn, Vpn } from "../../base/units.ts";
import type { Mutex } from "../../sync/lock.ts";
import type { AddressSpace } from "../address-space.ts";
import type { Kernel } from "../kernel.ts";
import { NO_TABLE } from "../page-table.ts";
import { VM_LOCKED, VM_LOCKONFAULT, VM_MAYSHARE, type Vma } from "../vma.ts";

export interface TableSharing {
  /** Tables that hang in one more tree than the first, for each such tree. */
  readonly inCommon: number;
  /** In how many trees a table hangs. */
  treesOf(table: Pfn): number;
  /** What is held by whoever shares or leaves tables of the area, and unmaps it; null if its tables are its own. */
  lockOf(vma: Vma): Mutex | null;
  /**
   * Hangs the table of somebody else who maps the same, for a page that has none yet; says whether it did. Requires: the
   * lock is held.
   */
  share(kernel: Kernel, vma: Vma, page: Vpn): boolean;
  /**
   * Leaves the tables of `[first, end)` that others have too: how many. The caller flushes. Requires: the lock, until that
   * is done, and page_table_lock are held.
   */
  unshare(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): number;
}

export const ownTables: TableSharing = {
  inCommon: 0,
  treesOf: () => 1,
  lockOf: () => null,
  share: () => false,
  unshare: () => 0,
};

/** The level of the tables that are shared, and of the entries that they hang on. */
const SHARED = 2;
const ABOVE = 3;

const LOCK_BITS = VM_LOCKED | VM_LOCKONFAULT;

export class SharedTables implements TableSharing {
  /** By table that has several trees: whose. */
  private readonly owners = new Map<Pfn, Set<AddressSpace>>();
  inCommon = 0;

  treesOf(table: Pfn): number {
    return this.owners.get(table)?.size ?? 1;
  }

  lockOf({ file, flags }: Vma): Mutex | null {
    return (flags & VM_MAYSHARE) === 0 ? null : file!.huge!.tablesLock;
  }

  share(kernel: Kernel, vma: Vma, page: Vpn): boolean {
    const { tables } = kernel;
    const { mm } = vma;
    const span = tables.span(SHARED);
    const start = page - (page % span);
    if ((vma.flags & VM_MAYSHARE) === 0 || start < vma.start || start + span > vma.end) return false;
    const found = this.candidate(kernel, vma, start, span);
    if (found === null) return false;
    const parent = tables.tryEnsure(mm, page, ABOVE);
    if (parent === NO_TABLE) return false;
    tables.hang(mm, parent, ABOVE, tables.indexAt(page, ABOVE), found.table);
    mm.tablesByLevel[SHARED]!++;
    const owners = this.owners.get(found.table) ?? new Set([found.mm]);
    this.owners.set(found.table, owners.add(mm));
    this.inCommon++;
    kernel.counters.hugeTablesShared++;
    return true;
  }

  unshare(kernel: Kernel, { mm }: Vma, first: Vpn, end: Vpn): number {
    const { tables } = kernel;
    if (this.owners.size === 0) return 0;
    let left = 0;
    for (let page = first; page < end; page = tables.endOf(page, SHARED, end)) {
      const table = tables.tableAt(mm, page, SHARED);
      const owners = table === NO_TABLE ? undefined : this.owners.get(table);
      if (owners === undefined) continue;
      if (!owners.delete(mm)) bug(`address space ${mm.id} has table ${table} of others`);
      if (owners.size === 1) this.owners.delete(table);
      tables.unhang(mm, tables.tableAt(mm, page, ABOVE), ABOVE, tables.indexAt(page, ABOVE));
      mm.tablesByLevel[SHARED]!--;
      this.inCommon--;
      left++;
    }
    kernel.counters.hugeTablesUnshared += left;
    return left;
  }

  /**
   * A table that another area has for the same part of the file, at a place that it covers whole, with the same rights. One
   * that is being unmapped is still on the file's list, and about to free its tables.
   */
  private candidate(
    { tables }: Kernel,
    vma: Vma,
    start: Vpn,
    span: number,
  ): { readonly table: Pfn; readonly mm: AddressSpace } | null {
    const index = vma.indexAt(start);
    let found: { readonly table: Pfn; readonly mm: AddressSpace } | null = null;
    vma.file!.mappings.forEach(index, index + span, (other) => {
      const at = other.start + (index - other.fileIndex);
      const covers = at % span === 0 && at >= other.start && at + span <= other.end;
      if (other.mm === vma.mm || !covers || other.mm.vmas.containing(at) !== other) return true;
      if ((other.flags & ~LOCK_BITS) !== (vma.flags & ~LOCK_BITS)) return true;
      const table = tables.tableAt(other.mm, at, SHARED);
      if (table !== NO_TABLE) found = { table, mm: other.mm };
      return found === null;
    });
    return found;
  }
}
