/**
 * hugetlbfs as it is today: an area is promised its pages when it is made, and given them by faults.
 *
 *     mmap      the pool must have a page for each that the area (or, shared, its file) has not been promised: or ENOMEM
 *     fault     a promised page, else one that nobody was promised, else SIGBUS; beyond the file's end SIGBUS
 *     write     to a page that others have: a copy. Its owner, who was promised his pages and has had them, may take the
 *               page away from his children to get on; a child that finds no page for its copy is killed
 *
 * Pages stay: they are never swapped, written back or counted as resident.
 *
 * @models linux-6.1 mm/hugetlb.c hugetlb_fault, hugetlb_no_page, hugetlb_wp, alloc_huge_page, unmap_ref_private
 * @models linux-6.1 fs/hugetlbfs/inode.c hugetlbfs_file_mmap, hugetlb_file_setup
 * @differs 6.1 charges nobody with the faults of mlock and MAP_POPULATE; here they are counted, as by 6.18
 * @differs mincore says of a page of the file that is not mapped here that it is not there
 */
import { EINVAL, ENOMEM } from "../../base/errno.ts";
import type { Pfn, Vpn } from "../../base/units.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import { PTE_ACCESSED, PTE_DIRTY, PTE_WRITE } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import { account } from "../accounting.ts";
import type { AddressSpace } from "../address-space.ts";
import { MADV_COLD, MADV_COLLAPSE, MADV_DONTNEED, MADV_DONTNEED_LOCKED, MADV_FREE, MADV_PAGEOUT } from "../advise.ts";
import { anonVmaPrepare } from "../anon-vma.ts";
import { type FileObject, OpenFile } from "../file.ts";
import { holdFile, releaseFile } from "../file-lifetime.ts";
import { NO_FRAME } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { NO_TABLE } from "../page-table.ts";
import { isAttached } from "../shm/segments.ts";
import { lockTables, tryLockTables, unlockTables } from "../table-lock.ts";
import { BUS_ADRERR, FAULT_MINOR, FAULT_OOM, type Intent, NEEDS_MEMORY, type Verdict } from "../verdict.ts";
import { VM_HUGETLB, VM_MAYSHARE, VM_NORESERVE, VM_WRITE, type Vma } from "../vma.ts";
import { createVma, forgetVma, insertVma } from "../vma-memory.ts";
import { BigAreas } from "./big-areas.ts";
import type { Advised, BigRegion, BigRemap, BigSegment } from "./big-pages.ts";
import { type HugeFile, PrivatePromise, putHuge } from "./huge-file.ts";
import { createHugeFile, zeroHuge } from "./huge-pages.ts";
import type { Claim, HugePool } from "./huge-pool.ts";
import {
  type BigEntry,
  bigEntryAt,
  bigFlags,
  bigTable,
  changeBig,
  clearBig,
  flagsOf,
  headAt,
  moveBig,
  protectBig,
  setBig,
} from "./large-entries.ts";

/** Where a fault is: the area, the first page of the big page, and its number in the file. */
interface Spot {
  readonly vma: Vma;
  readonly huge: HugeFile;
  readonly page: Vpn;
  readonly at: number;
  readonly entry: BigEntry;
  /** Pages that lose a reference once TLBs are flushed. */
  readonly dropped: Pfn[];
}

export class Hugetlbfs extends BigAreas {
  override poolFor(log: number): HugePool | null {
    if (log === 0) return this.pools[0] ?? null;
    return this.pools.find(({ pages }) => pages * PAGE_SIZE === 2 ** log) ?? null;
  }

  // biome-ignore lint/correctness/useYield: a path that never waits
  override *map(kernel: Kernel, mm: AddressSpace, region: BigRegion): Path<number> {
    const { start, end, pool, fileIndex } = region;
    if (fileIndex % pool.pages !== 0) return -EINVAL;
    const opened = region.opened ?? openAnonymous(kernel, pool, end - start);
    const { file } = opened;
    if (region.opened === null) holdFile(file);
    const flags = region.flags | VM_HUGETLB | kernel.personality.bigAreaFlags;
    const result = this.mapFile(kernel, mm, { ...region, opened, flags });
    if (region.opened === null) releaseFile(kernel, file);
    return result;
  }

  /** An area of a file of huge pages: its pages are promised first. */
  protected mapFile(kernel: Kernel, mm: AddressSpace, region: BigRegion & { readonly opened: OpenFile }): number {
    const { start, end, pool, fileIndex, flags, opened } = region;
    const { file } = opened;
    const first = fileIndex / pool.pages;
    const pages = (end - start) / pool.pages;
    const isShared = (flags & VM_MAYSHARE) !== 0;
    // A segment's pages were promised when it was made, or never will be.
    const isPromised = (flags & VM_NORESERVE) === 0 && !isAttached(region);
    const vma = createVma(kernel, mm, start, end, flags, { file, opened, fileIndex });
    if (vma === null) return -ENOMEM;
    if (isPromised && !(isShared ? file.huge!.promise(first, first + pages) : pool.reserve(pages))) {
      forgetVma(kernel, vma);
      return -ENOMEM;
    }
    if (isPromised && !isShared) vma.privatePromise = new PrivatePromise();
    insertVma(vma);
    account(mm, flags, end - start);
    if ((flags & VM_WRITE) !== 0) file.sizeBytes = Math.max(file.sizeBytes, (fileIndex + (end - start)) * PAGE_SIZE);
    return 0;
  }

  override createSegment(kernel: Kernel, { name, bytes, pool, isPromised }: BigSegment): FileObject | null {
    const pages = Math.ceil(bytes / (pool.pages * PAGE_SIZE));
    const file = createHugeFile(kernel, name, pool, pages * pool.pages);
    if (!isPromised || file.huge!.promise(0, pages)) return file;
    kernel.files.forget(file);
    return null;
  }

  override *fault(kernel: Kernel, vma: Vma, page: Vpn, intent: Intent): Path<Verdict> {
    const pool = this.poolOf(vma);
    const { tables } = kernel;
    const { mm } = vma;
    const first = page - (page % pool.pages);
    for (let failures = 1; ; failures++) {
      const isThere =
        tables.tableAt(mm, first, pool.level) !== NO_TABLE || (yield* this.shareTable(kernel, vma, first));
      if (!isThere || this.isBlocked(kernel, vma, first)) {
        if ((yield* bigTable(kernel, mm, first, pool)) < 0) return FAULT_OOM;
      }
      if (!tryLockTables(kernel, mm)) yield* lockTables(kernel, mm);
      const entry = bigEntryAt(kernel, mm, first, pool);
      const dropped: Pfn[] = [];
      const verdict = entry === null ? NEEDS_MEMORY : this.repair(kernel, spotAt(vma, first, entry, dropped), intent);
      if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
      unlockTables(kernel, mm);
      for (const head of dropped) putHuge(kernel.frames, pool, head);
      if (verdict !== NEEDS_MEMORY) return verdict;
      if (entry !== null && !(yield* kernel.allocator.waitForMemory(failures))) return FAULT_OOM;
    }
  }

  /** Whether a table that maps nothing any more hangs where the page should be. */
  private isBlocked({ tables }: Kernel, vma: Vma, page: Vpn): boolean {
    const { level } = this.poolOf(vma);
    return tables.below(tables.tableAt(vma.mm, page, level), tables.indexAt(page, level)) !== NO_TABLE;
  }

  private repair(kernel: Kernel, spot: Spot, intent: Intent): Verdict {
    const flags = flagsOf(kernel, spot.entry);
    if (flags === 0) return this.missing(kernel, spot, intent);
    if (intent === "write" && (flags & PTE_WRITE) === 0) return this.writeProtected(kernel, spot, flags);
    changeBig(kernel, spot.entry, flags | PTE_ACCESSED | (intent === "write" ? PTE_DIRTY : 0));
    kernel.counters.spuriousFaults++;
    return FAULT_MINOR;
  }

  /** No entry: the file's page, or a new one. */
  private missing(kernel: Kernel, spot: Spot, intent: Intent): Verdict {
    const { frames, counters } = kernel;
    const { vma, huge, at, entry } = spot;
    const { pool } = huge;
    if (vma.isRobbed || at >= Math.floor(vma.file!.sizeBytes / (pool.pages * PAGE_SIZE))) return BUS_ADRERR;
    const isShared = (vma.flags & VM_MAYSHARE) !== 0;
    if (!isShared && anonVmaPrepare(kernel, vma) < 0) return NEEDS_MEMORY;
    let head = huge.pages.find(at);
    if (head === NOT_CACHED) {
      const claim = this.claimOf(spot);
      head = pool.take(claim);
      if (head === NO_FRAME) return BUS_ADRERR;
      if (isShared && huge.pages.insert(at, head) < 0) {
        pool.untake(head, claim);
        return NEEDS_MEMORY;
      }
      zeroHuge(kernel, head, pool);
      if (isShared) this.keep(kernel, spot, head);
      else vma.privatePromise?.used.add(at);
    } else frames.addReference(head);
    setBig(kernel, entry, head, bigFlags(vma));
    counters.hugeFaults++;
    return intent === "write" && !isShared ? this.writeProtected(kernel, spot, bigFlags(vma)) : FAULT_MINOR;
  }

  /** The page is the file's from now on, which has a reference of its own. */
  protected keep({ frames }: Kernel, { vma, huge, at }: Spot, head: Pfn): void {
    huge.promised.add(at);
    frames.mapping.write(head, vma.file!.id);
    frames.index.write(head, at);
    frames.addReference(head);
  }

  /** Whether the place was promised a page that it has not had. */
  private claimOf({ vma, huge, at }: Spot): Claim {
    const isPromised =
      (vma.flags & VM_MAYSHARE) !== 0
        ? huge.promised.has(at) && huge.pages.find(at) === NOT_CACHED
        : vma.privatePromise !== null && !vma.privatePromise.used.has(at);
    return isPromised ? "promised" : "unpromised";
  }

  /** A write to an entry that forbids it. */
  private writeProtected(kernel: Kernel, spot: Spot, flags: number): Verdict {
    const { frames, counters } = kernel;
    const { vma, huge, at, entry, page } = spot;
    const { pool } = huge;
    const written = flags | PTE_WRITE | PTE_DIRTY | PTE_ACCESSED;
    const old = headAt(kernel, entry);
    const mayReuse = () => isPrivate(kernel, old) && frames.mapCount.read(old) === 1;
    if ((vma.flags & VM_MAYSHARE) !== 0 || mayReuse()) {
      changeBig(kernel, entry, written);
      counters.reusedPages++;
      return FAULT_MINOR;
    }
    // An owner copies from what he shares with children: his promise has been kept already.
    const isOwner = vma.privatePromise !== null && huge.pages.find(at) !== old;
    const copy = pool.take(isOwner ? "unpromised" : this.claimOf(spot));
    if (copy === NO_FRAME) {
      if (!isOwner) return BUS_ADRERR;
      takeFromOthers(kernel, spot, old);
      if (!mayReuse()) return BUS_ADRERR;
      changeBig(kernel, entry, written);
      return FAULT_MINOR;
    }
    vma.privatePromise?.used.add(at);
    for (let part = 0; part < pool.pages; part++) kernel.contents.copy(old + part, copy + part);
    clearBig(kernel, entry);
    kernel.tlbFlush.page(vma.mm, page);
    setBig(kernel, entry, copy, written);
    spot.dropped.push(old);
    counters.hugePagesCopied++;
    return FAULT_MINOR;
  }

  /** What private pages had been promised may be promised again when they go. */
  protected override dropper(kernel: Kernel, vma: Vma): (head: Pfn, page: Vpn) => void {
    const { frames, personality } = kernel;
    const pool = this.poolOf(vma);
    const { mappings } = vma.file!;
    const promise = personality.hugePromises === "renewed" ? vma.privatePromise : null;
    return (head, page) => {
      const isGivenBack = isPrivate(kernel, head) && frames.refs.read(head) === 1 && pool.surplus === 0;
      putHuge(frames, pool, head);
      // To an area that has gone meanwhile nothing is promised.
      if (!isGivenBack || !mappings.has(vma)) return;
      if (promise?.used.delete(vma.indexAt(page) / pool.pages) === true) pool.reserveAnyway(1);
    };
  }

  override *protect(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): Path<number> {
    return yield* protectBig(kernel, vma, this.poolOf(vma), { first, end }, this.sharing);
  }

  override *move(kernel: Kernel, from: Vma, fromPage: Vpn, _to: Vma, toPage: Vpn, pages: number): Path<number> {
    return yield* moveBig(kernel, from, this.poolOf(from), { fromPage, toPage, pages }, this.sharing);
  }

  /** What the old place will take back has been taken over by the new one. */
  override moved(_kernel: Kernel, vma: Vma, first: Vpn, end: Vpn): void {
    if (vma.privatePromise !== null) this.poolOf(vma).reserveAnyway(unusedOf(vma, first, end));
  }

  override closed(_kernel: Kernel, vma: Vma): void {
    if (vma.privatePromise !== null) this.poolOf(vma).unreserve(unusedOf(vma, vma.start, vma.end));
  }

  override refusesProtect(_kernel: Kernel, _vma: Vma): number {
    return 0;
  }

  /**
   * Only whole huge pages move, and no area grows.
   *
   * @models linux-6.1 mm/mremap.c sys_mremap
   */
  override remapped(_kernel: Kernel, vma: Vma, remap: BigRemap): BigRemap | number {
    const { pages } = this.poolOf(vma);
    const { from, to } = remap;
    if (from % pages !== 0 || (to !== null && to % pages !== 0)) return -EINVAL;
    const oldPages = Math.ceil(remap.oldPages / pages) * pages;
    const newPages = Math.ceil(remap.newPages / pages) * pages;
    return newPages > oldPages ? -EINVAL : { ...remap, oldPages, newPages };
  }

  /** @models linux-6.1 mm/madvise.c madvise_dontneed_free_valid_vma */
  override advised(_kernel: Kernel, vma: Vma, advice: number, range: Advised): Advised | number {
    const { pages } = this.poolOf(vma);
    if (refusedAdvice.has(advice)) return -EINVAL;
    if (advice !== MADV_DONTNEED && advice !== MADV_DONTNEED_LOCKED) return range;
    if (range.start % pages !== 0) return -EINVAL;
    return { start: range.start, end: range.end - (range.end % pages) };
  }
}

const refusedAdvice = new Set([MADV_FREE, MADV_COLD, MADV_PAGEOUT, MADV_COLLAPSE]);

function spotAt(vma: Vma, page: Vpn, entry: BigEntry, dropped: Pfn[]): Spot {
  const huge = vma.file!.huge!;
  return { vma, huge, page, at: vma.indexAt(page) / huge.pool.pages, entry, dropped };
}

/** Whether a huge page is no file's. */
const isPrivate = ({ frames }: Kernel, head: Pfn): boolean => frames.mapping.read(head) === 0;

/** Places of `[first, end)` that were promised a page and have not had it. */
function unusedOf(vma: Vma, first: Vpn, end: Vpn): number {
  const { pool } = vma.file!.huge!;
  const from = vma.indexAt(first) / pool.pages;
  const to = from + (end - first) / pool.pages;
  let used = 0;
  for (const at of vma.privatePromise!.used) if (at >= from && at < to) used++;
  return to - from - used;
}

/** Private mappings of others that were promised nothing lose `head`, so that its owner can have it. */
function takeFromOthers(kernel: Kernel, { vma, huge, at, dropped }: Spot, head: Pfn): void {
  const { pool } = huge;
  const index = at * pool.pages;
  for (const other of vma.file!.mappings.overlapping(index, index + pool.pages)) {
    if (other === vma || (other.flags & VM_MAYSHARE) !== 0 || other.privatePromise !== null) continue;
    const page = other.start + (index - other.fileIndex);
    const entry = bigEntryAt(kernel, other.mm, page, pool);
    if (entry === null || flagsOf(kernel, entry) === 0 || headAt(kernel, entry) !== head) continue;
    dropped.push(clearBig(kernel, entry));
    kernel.tlbFlush.page(other.mm, page);
    other.isRobbed = true;
    kernel.counters.hugePagesTaken++;
  }
}

/** What MAP_ANONYMOUS maps: a file of its own, without a name. */
function openAnonymous(kernel: Kernel, pool: HugePool, pages: number): OpenFile {
  const file = createHugeFile(kernel, "anon_hugepage", pool, pages);
  file.named = false;
  return new OpenFile(file, "read-write");
}
