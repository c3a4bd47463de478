/**
 * fork shares whole leaf tables instead of copying what is in them, and who maps a file as somebody else does finds that
 * one's tables. Both see one table until one of them needs another: to write to a private page, to change or lock a part, to
 * have a page back from swap (unshare.ts).
 *
 *     fork         parent --> table <-- child      entries above read-only, if private areas may be written
 *     fault        B has no table there; A maps the same pages of the file, whole and aligned: A's is hung in B's tree
 *
 * A fork costs one entry for each table instead of 512 or 1024, and a reverse map that chains entries has one link for all
 * sharers. A fault of one maps the page for all. What it costs is the copy of a whole table at the first write to each, and
 * a list of places that whoever changes an entry goes through.
 *
 * @models McCracken 2002-10 shpte-2.5.43 (what shares: fork, and mappings of one file)
 * @differs a table that has a locked or nonlinear area in it is copied; truncation clears the entries for all at once
 */
import { ENOMEM } from "../../../base/errno.ts";
import type { Pfn, Vpn } from "../../../base/units.ts";
import { PTE_PRESENT, PTE_PROT_NONE, PTE_SWAP } from "../../../hw/pte.ts";
import type { Path } from "../../../sync/path.ts";
import type { AddressSpace, Resident } from "../../address-space.ts";
import type { Kernel } from "../../kernel.ts";
import { kindOfPage, orWait } from "../../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../../page-table.ts";
import type { Slab } from "../../slab.ts";
import { giveTableRoom, takeTableRoom } from "../../table-lock.ts";
import * as vm from "../../vma.ts";
import { nobodyHosts } from "./nobody-hosts.ts";
import { createPlaces } from "./places.ts";
import { lockShared, unlockShared } from "./shared-lock.ts";
import type { SharedTable, TableKind } from "./shared-tables.ts";
import type { SharingParts, TableSharing } from "./table-sharing.ts";

/** Areas whose entries are nobody else's to have, or to change. */
const ALONE = vm.VM_LOCKED | vm.VM_LOCKONFAULT | vm.VM_NONLINEAR | vm.VM_PFNMAP | vm.VM_MIXEDMAP | vm.VM_BIG;
/** And those that a child does not get as they are. */
const NOT_FORKED = ALONE | vm.VM_DONTCOPY | vm.VM_WIPEONFORK;
/** What two areas must have in common for their entries to be the same. */
const SAME = vm.VM_ACCESS | vm.VM_SHARED | vm.VM_MAYSHARE | vm.VM_MAYWRITE;

/** A table that somebody else has, and where. */
interface Candidate {
  readonly table: Pfn;
  readonly mm: AddressSpace;
  readonly first: Vpn;
}

export class ForkShared implements TableSharing {
  readonly sharesMappings = true;
  readonly isHosted = nobodyHosts.isHosted;
  readonly leavesToFaults = nobodyHosts.leavesToFaults;
  readonly attach = nobodyHosts.attach;
  readonly dropHost = nobodyHosts.dropHost;
  private readonly places: Slab;

  constructor({ slabs, wordBytes }: SharingParts) {
    this.places = createPlaces({ slabs, wordBytes });
  }

  maySharePages({ tables }: Kernel, parent: AddressSpace, page: Vpn): boolean {
    const start = page - (page % tables.span(LEAF));
    const end = start + tables.span(LEAF);
    for (let vma = parent.vmas.find(start); vma !== null && vma.start < end; vma = vma.above) {
      if ((vma.flags & NOT_FORKED) !== 0) return false;
    }
    return true;
  }

  *shareAtFork(kernel: Kernel, child: AddressSpace, parent: AddressSpace, page: Vpn): Path<number> {
    const { tables, allocator } = kernel;
    const { task } = kernel.current;
    // An area before this one has brought the table already, if both lie in it.
    if (tables.tableAt(child, page, LEAF) !== NO_TABLE) return 0;
    if ((yield* tables.ensure(child, page, LEAF + 1)) < 0) return -ENOMEM;
    const drawn = yield* orWait(allocator, () => (this.places.allocateAll(2) < 0 ? null : 2));
    if (drawn === null) return -ENOMEM;
    if (tables.takesRoom) yield* takeTableRoom(kernel);
    if (!child.birthLock.tryAcquire(task)) yield* child.birthLock.acquire(task);
    if (!parent.pageTableLock.tryAcquire(task)) yield* parent.pageTableLock.acquire(task);
    const known = yield* lockShared(kernel, parent, page);
    const table = tables.tableAt(parent, page, LEAF);
    let used = 0;
    if (table !== NO_TABLE) {
      const first = page - (page % tables.span(LEAF));
      const shared = known ?? this.begin(kernel, { table, mm: parent, first });
      this.hang(kernel, shared, child, first);
      used = known === null ? 2 : 1;
    }
    if (known !== null) unlockShared(kernel, known);
    parent.pageTableLock.release(task);
    child.birthLock.release(task);
    if (tables.takesRoom) giveTableRoom(kernel);
    this.placesGone(drawn - used);
    return 0;
  }

  joinAtFault(kernel: Kernel, vma: vm.Vma, page: Vpn): Pfn {
    const { tables, current } = kernel;
    const found = this.candidate(kernel, vma, page);
    if (found === null) return NO_TABLE;
    const { mm } = vma;
    // Two page_table_locks: the second is only tried, and so is the table's.
    if (found.mm !== mm && !found.mm.pageTableLock.attempt(current.task)) return NO_TABLE;
    const known = tables.shared.find(found.table);
    const isMine = known === undefined || known.lock.attempt(current.task);
    const joined = isMine && this.join(kernel, vma, page, found, known);
    if (known !== undefined && isMine) unlockShared(kernel, known);
    if (found.mm !== mm) found.mm.pageTableLock.release(current.task);
    return joined ? found.table : NO_TABLE;
  }

  placesGone(count: number): void {
    for (let left = count; left > 0; left--) this.places.free();
  }

  /** Requires: the candidate's locks are held. */
  private join(
    kernel: Kernel,
    { mm, file }: vm.Vma,
    page: Vpn,
    found: Candidate,
    known: SharedTable | undefined,
  ): boolean {
    const { tables } = kernel;
    if (tables.tryEnsure(mm, page, LEAF + 1) === NO_TABLE) return false;
    if (this.places.allocateAll(known === undefined ? 2 : 1) < 0) return false;
    const shared = known ?? this.begin(kernel, found);
    this.hang(kernel, shared, mm, page - (page % tables.span(LEAF)));
    file!.mappings.spread();
    return true;
  }

  /** The table will have a second place. Requires: the page_table_lock of the first is held. */
  private begin(kernel: Kernel, { table, mm, first }: Candidate): SharedTable {
    const { tables } = kernel;
    const kind = kindOf(kernel, mm, first);
    if (kind.readOnly) {
      tables.allowWrites(tables.tableAt(mm, first, LEAF + 1), tables.indexAt(first, LEAF + 1), "none");
    }
    return tables.shared.begin(table, mm, first, kind, residentOf(kernel, table));
  }

  /** Requires: `mm` has a table of the level above, and nothing in it there. */
  private hang(kernel: Kernel, shared: SharedTable, mm: AddressSpace, first: Vpn): void {
    const { tables } = kernel;
    const parent = tables.tableAt(mm, first, LEAF + 1);
    const index = tables.indexAt(first, LEAF + 1);
    tables.hang(mm, parent, LEAF + 1, index, shared.frame);
    if (shared.readOnly) tables.allowWrites(parent, index, "none");
    tables.shared.add(shared, mm, first);
    mm.tablesByLevel[LEAF]!++;
    kernel.counters.tablesShared++;
  }

  /** Somebody who maps the pages of the whole table around `page`, with the same rights, and has a table for them. */
  private candidate({ tables }: Kernel, vma: vm.Vma, page: Vpn): Candidate | null {
    const { file, flags } = vma;
    const span = tables.span(LEAF);
    const start = page - (page % span);
    if (file === null || (flags & ALONE) !== 0 || (flags & vm.VM_MAYSHARE) === 0) return null;
    if (start < vma.start || start + span > vma.end) return null;
    const index = vma.indexAt(start);
    let found: Candidate | null = null;
    file.mappings.forEach(index, index + span, (other) => {
      const at = other.start + (index - other.fileIndex);
      const covers = at % span === 0 && at >= other.start && at + span <= other.end;
      if (other === vma || !covers || (other.flags & ALONE) !== 0 || ((other.flags ^ flags) & SAME) !== 0) return true;
      // Whoever changes his areas or his pages now has looked already whether others have his tables.
      if (other.mm !== vma.mm && other.mm.mmapSem.isHeld) return true;
      const table = tables.tableAt(other.mm, at, LEAF);
      if (table === NO_TABLE || tables.shared.find(table)?.uniform === false) return true;
      found = { table, mm: other.mm, first: at };
      return false;
    });
    return found;
  }
}

/** What the table at `first` is, by the areas that it covers. */
function kindOf({ tables }: Kernel, mm: AddressSpace, first: Vpn): TableKind {
  const end = first + tables.span(LEAF);
  const lowest = mm.vmas.find(first);
  let readOnly = false;
  for (let vma = lowest; vma !== null && vma.start < end; vma = vma.above) readOnly ||= vm.isCopyOnWrite(vma.flags);
  return { readOnly, uniform: lowest !== null && lowest.start <= first && lowest.end >= end };
}

/** What the entries of a leaf table map, or name in swap. */
function residentOf(kernel: Kernel, frame: Pfn): Resident {
  const { tables, entries, zeroFrame } = kernel;
  const resident = { anon: 0, file: 0, shmem: 0, swap: 0 };
  const length = tables.span(LEAF);
  const table = tables.open(frame);
  for (let at = entries.nextUsed(table, 0, length); at < length; at = entries.nextUsed(table, at + 1, length)) {
    const flags = entries.flags(table, at);
    if (flags === PTE_SWAP) resident.swap++;
    if ((flags & (PTE_PRESENT | PTE_PROT_NONE)) === 0) continue;
    const page = entries.frame(table, at);
    if (page !== zeroFrame) resident[kindOfPage(kernel.frames, page)]++;
  }
  tables.close(table);
  return resident;
}
