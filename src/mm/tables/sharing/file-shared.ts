/**
 * A file has page tables of its own, and every shared mapping of it that covers them whole has these very tables: one tree
 * for all, however many processes there are. It hangs in an address space that nobody runs in, with one area that maps the
 * whole file at its indices; a fault of a process is repaired there.
 *
 *     file's tree      [ table of index 0 ][ table of index 512 ][ 1024 ]...       page = index
 *                             ^                   ^
 *     process A  |........[==========1024 pages of the file, from index 0, aligned==========]....|
 *     process B  |...[==========the same, or a part, wherever it is aligned alike==========].....|
 *
 * With four levels or more a process that maps a whole aligned gigabyte has the table above too, and so pays for no leaf
 * tables and for none that point to them. Rights differ by the entries that lead to the file's tables: read-only, or not to
 * be executed. Pages are resident in the file's tree, once; no process counts them.
 *
 * What a process wants otherwise it gets by leaving, for which it needs no memory: what it loses is found in the file again
 * by its next fault, in tables of its own if its area does not lie so any more. The tree goes with the last user of the file.
 *
 * @models Aziz 2022, "mshare: sharing page tables among processes" (RFC), and its successors until 2025; never merged
 * @differs every shared mapping takes part that lies so, without a call of its own; mprotect and munmap are the process's own,
 *          not for all
 */
import type { Pfn, Vpn } from "../../../base/units.ts";
import { SpinLock } from "../../../sync/lock.ts";
import { type Path, runToCompletion } from "../../../sync/path.ts";
import { account } from "../../accounting.ts";
import { MEMORY } from "../../address-space.ts";
import type { FileObject } from "../../file.ts";
import type { Kernel } from "../../kernel.ts";
import { Limits } from "../../limits.ts";
import { LEAF, NO_TABLE } from "../../page-table.ts";
import type { Slab } from "../../slab.ts";
import { createSpace, releaseSpace } from "../../space.ts";
import { lockTables, unlockTables } from "../../table-lock.ts";
import * as vm from "../../vma.ts";
import { createVma, insertVma } from "../../vma-memory.ts";
import { createPlaces } from "./places.ts";
import type { SharedTable } from "./shared-tables.ts";
import type { HostedPlace, SharingParts, TableSharing } from "./table-sharing.ts";

/** Areas that have tables of their own, whatever they map. */
const ALONE = vm.VM_LOCKED | vm.VM_LOCKONFAULT | vm.VM_NONLINEAR | vm.VM_PFNMAP | vm.VM_MIXEDMAP | vm.VM_BIG;
/** What the file's own area allows: everything; what a process may is a matter of the entries that lead there. */
const ALL_RIGHTS =
  vm.VM_READ |
  vm.VM_WRITE |
  vm.VM_EXEC |
  vm.VM_SHARED |
  vm.VM_MAYSHARE |
  vm.VM_MAYREAD |
  vm.VM_MAYWRITE |
  vm.VM_MAYEXEC;

/** The tree of one file. */
interface Host {
  readonly vma: vm.Vma;
  readonly lock: SpinLock;
}

export class FileShared implements TableSharing {
  readonly sharesMappings = true;
  private readonly places: Slab;
  private readonly hosts = new Map<FileObject, Host>();

  constructor(parts: SharingParts) {
    this.places = createPlaces(parts);
  }

  maySharePages(): boolean {
    return false;
  }

  // biome-ignore lint/correctness/useYield: a path that is never taken
  *shareAtFork() {
    return 0;
  }

  joinAtFault(): Pfn {
    return NO_TABLE;
  }

  isHosted(kernel: Kernel, vma: vm.Vma, page: Vpn): boolean {
    return this.isGuest(vma) && lies(kernel, vma, page, LEAF);
  }

  leavesToFaults({ tables }: Kernel, vma: vm.Vma): boolean {
    return this.isGuest(vma) && vma.pages >= tables.span(LEAF);
  }

  *attach(kernel: Kernel, vma: vm.Vma, page: Vpn): Path<HostedPlace | null> {
    const { tables, current } = kernel;
    const host = this.hosts.get(vma.file!) ?? this.tryMakeHost(kernel, vma.file!);
    if (host === null) return null;
    const index: Vpn = host.vma.start + (vma.indexAt(page) - host.vma.fileIndex);
    const place = { vma: host.vma, page: index };
    yield* lockTables(kernel, vma.mm);
    // All tables of a file have one lock. Whoever leaves one holds it until his CPUs have forgotten it: it must be waited for.
    if (!host.lock.tryAcquire(current.task)) yield* host.lock.acquire(current.task);
    const table = this.tryEnsureHosted(kernel, host, index);
    const isThere = tables.tableAt(vma.mm, page, LEAF) !== NO_TABLE;
    const isHung = table !== null && (isThere || this.tryHang(kernel, table, vma, page));
    host.lock.release(current.task);
    unlockTables(kernel, vma.mm);
    return isHung ? place : null;
  }

  dropHost(kernel: Kernel, file: FileObject): boolean {
    const host = this.hosts.get(file);
    if (host === undefined || file.references > 1) return false;
    this.hosts.delete(file);
    const { shared } = kernel.tables;
    for (const table of [...shared.all]) if (table.host === host.vma.mm) shared.endHosted(table);
    // No CPU has ever run there, and nobody else knows of it.
    runToCompletion(releaseSpace(kernel, host.vma.mm));
    return true;
  }

  placesGone(count: number): void {
    for (let left = count; left > 0; left--) this.places.free();
  }

  private isGuest({ file, flags, mm }: vm.Vma): boolean {
    if (file === null || (flags & ALONE) !== 0 || (flags & vm.VM_MAYSHARE) === 0) return false;
    return this.hosts.get(file)?.vma.mm !== mm;
  }

  private tryMakeHost(kernel: Kernel, file: FileObject): Host | null {
    const mm = createSpace(kernel, new Limits());
    if (mm === null) return null;
    const vma = createVma(kernel, mm, 0, kernel.layout.taskEnd, ALL_RIGHTS, { file, opened: null, fileIndex: 0 });
    if (vma === null) {
      runToCompletion(releaseSpace(kernel, mm));
      return null;
    }
    insertVma(vma);
    account(mm, vma.flags, vma.pages);
    const host = { vma, lock: new SpinLock(`pte_page_lock of ${file.name} ${mm.id}`, MEMORY) };
    this.hosts.set(file, host);
    return host;
  }

  /** The file's table for a page of it, and what is known of who has it; null without memory. */
  private tryEnsureHosted(kernel: Kernel, { vma, lock }: Host, index: Vpn): SharedTable | null {
    const { tables } = kernel;
    const { mm } = vma;
    const leaf = tables.tryEnsureLeaf(mm, index);
    if (leaf === NO_TABLE) return null;
    const known = tables.shared.find(leaf);
    if (known !== undefined) return known;
    let above: SharedTable | null = null;
    if (sharesAbove(kernel)) {
      const table = tables.tableAt(mm, index, LEAF + 1);
      const first = index - (index % tables.span(LEAF + 1));
      above = tables.shared.find(table) ?? tables.shared.beginHosted(table, first, { host: mm, lock, above: null });
    }
    const first = index - (index % tables.span(LEAF));
    return tables.shared.beginHosted(leaf, first, { host: mm, lock, above });
  }

  /** Hangs the table, or the one above it, over the page. Requires: both locks are held. */
  private tryHang(kernel: Kernel, leaf: SharedTable, vma: vm.Vma, page: Vpn): boolean {
    const { tables, format, counters } = kernel;
    const { mm } = vma;
    const isAbove =
      leaf.above !== null && lies(kernel, vma, page, LEAF + 1) && tables.tableAt(mm, page, LEAF + 1) === NO_TABLE;
    const table = isAbove ? leaf.above! : leaf;
    const level = isAbove ? LEAF + 1 : LEAF;
    const parent = tables.tryEnsure(mm, page, level + 1);
    if (parent === NO_TABLE || this.places.allocate() < 0) return false;
    const index = tables.indexAt(page, level + 1);
    tables.hang(mm, parent, level + 1, index, table.frame);
    if ((vma.flags & vm.VM_WRITE) === 0) tables.allowWrites(parent, index, "none");
    if ((vma.flags & vm.VM_EXEC) === 0 && format.hasNoExecute) tables.forbidFetches(parent, index);
    tables.shared.add(table, mm, page - (page % tables.span(level)));
    counters.tablesShared++;
    return true;
  }
}

/** Whether the table of that level around `page` lies in the area whole, and as it lies in the file. */
function lies({ tables, layout }: Kernel, vma: vm.Vma, page: Vpn, level: number): boolean {
  const span = tables.span(level);
  const start = page - (page % span);
  if (start < vma.start || start + span > vma.end) return false;
  const index = vma.indexAt(start);
  return index % span === 0 && index + span <= layout.taskEnd;
}

/** Whether tables above the leaves can be shared: those that a CPU keeps, or that are born with their address space, cannot. */
const sharesAbove = ({ tables }: Kernel): boolean => tables.levels > LEAF + 2;
