/**
 * hugetlbfs as it was at first: an area gets all its pages when it is made, and no fault ever finds anything to do. There
 * are no promises and no private copies: an area that could be written privately is refused.
 *
 * @models linux-2.6.11 fs/hugetlbfs/inode.c hugetlbfs_file_mmap; arch/i386/mm/hugetlbpage.c hugetlb_prefault
 * @differs huge pages are no part of RSS, as today; 2.6.11 counted them in
 * @models linux-2.6.11 mm/mprotect.c sys_mprotect; mm/mremap.c do_mremap; mm/madvise.c madvise_dontneed
 */
import { EACCES, EINVAL, ENOMEM } from "../../base/errno.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { account } from "../accounting.ts";
import type { AddressSpace } from "../address-space.ts";
import { MADV_DONTNEED } from "../advise.ts";
import type { FileObject } from "../file.ts";
import { NO_FRAME } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { NOT_CACHED } from "../page-cache.ts";
import { NO_TABLE } from "../page-table.ts";
import { unmap } from "../unmap.ts";
import { VM_HUGETLB, VM_MAYSHARE, VM_WRITE, type Vma } from "../vma.ts";
import { createVma, insertVma } from "../vma-memory.ts";
import { BigAreas } from "./big-areas.ts";
import type { Advised, BigRegion, BigSegment } from "./big-pages.ts";
import { zeroHuge } from "./huge-pages.ts";
import type { HugePool } from "./huge-pool.ts";
import { bigFlags, bigTable, flagsOf, setBig } from "./large-entries.ts";

export class PrefaultedHugetlbfs extends BigAreas {
  override poolFor(log: number): HugePool | null {
    return log === 0 ? (this.pools[0] ?? null) : null;
  }

  override *map(kernel: Kernel, mm: AddressSpace, region: BigRegion): Path<number> {
    const { start, end, pool, flags, opened, fileIndex } = region;
    if (opened === null || (flags & (VM_MAYSHARE | VM_WRITE)) === VM_WRITE) return -EINVAL;
    if (fileIndex % pool.pages !== 0 || start % pool.pages !== 0 || end % pool.pages !== 0) return -EINVAL;
    const { file } = opened;
    const endBytes = (fileIndex + (end - start)) * PAGE_SIZE;
    if ((flags & VM_WRITE) === 0 && endBytes > file.sizeBytes) return -ENOMEM;
    const all = flags | VM_HUGETLB | kernel.personality.bigAreaFlags;
    const result = yield* this.mapFilled(kernel, mm, { ...region, opened, flags: all });
    if (result === 0) file.sizeBytes = Math.max(file.sizeBytes, endBytes);
    return result;
  }

  /** An area with all its pages: 0, or -ENOMEM with nothing mapped. */
  protected *mapFilled(
    kernel: Kernel,
    mm: AddressSpace,
    { start, end, flags, opened, fileIndex }: BigRegion,
  ): Path<number> {
    const vma = createVma(kernel, mm, start, end, flags, { file: opened!.file, opened, fileIndex });
    if (vma === null) return -ENOMEM;
    insertVma(vma);
    account(mm, flags, end - start);
    const result = yield* this.fill(kernel, vma);
    if (result < 0) yield* unmap(kernel, mm, start, end);
    return result;
  }

  /** Gives every place of the area its page, the file's or a new one: 0 or -ENOMEM with some of them there. */
  protected *fill(kernel: Kernel, vma: Vma): Path<number> {
    const { tables, frames } = kernel;
    const huge = vma.file!.huge!;
    const { pool } = huge;
    for (let page = vma.start; page < vma.end; page += pool.pages) {
      if (tables.tableAt(vma.mm, page, pool.level) === NO_TABLE) yield* this.shareTable(kernel, vma, page);
      const table = yield* bigTable(kernel, vma.mm, page, pool);
      if (table < 0) return -ENOMEM;
      const entry = { table, index: tables.indexAt(page, pool.level) };
      if (flagsOf(kernel, entry) !== 0) continue;
      const at = vma.indexAt(page) / pool.pages;
      let head = huge.pages.find(at);
      if (head === NOT_CACHED) {
        head = pool.take("unpromised");
        if (head === NO_FRAME) return -ENOMEM;
        if (huge.pages.insert(at, head) < 0) {
          pool.untake(head, "unpromised");
          return -ENOMEM;
        }
        zeroHuge(kernel, head, pool);
        frames.mapping.write(head, vma.file!.id);
        frames.index.write(head, at);
      }
      frames.addReference(head);
      setBig(kernel, entry, head, bigFlags(vma));
      kernel.counters.hugeFaults++;
    }
    return 0;
  }

  /** Its size is what was asked for: one that is not of whole huge pages can never be mapped. */
  override createSegment(kernel: Kernel, { name, bytes, pool }: BigSegment): FileObject | null {
    if (Math.ceil(bytes / (pool.pages * PAGE_SIZE)) > pool.free) return null;
    return kernel.files.create({ name, kind: "hugetlbfs", sizeBytes: bytes, pool });
  }

  override refusesProtect(_kernel: Kernel, _vma: Vma): number {
    return -EACCES;
  }

  override advised(kernel: Kernel, vma: Vma, advice: number, range: Advised): Advised | number {
    return advice === MADV_DONTNEED ? -EINVAL : super.advised(kernel, vma, advice, range);
  }
}
