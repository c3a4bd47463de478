/**
 * map_large_page: the sketch of May 2002, completed. A privileged program names an address, a size and an index; each
 * entry of the second level gets the big page of its index, which all who name that index share.
 *
 *     address, size    multiples of a big page, below the end of user space, where nothing is mapped: else EINVAL, ENOMEM
 *     index            of the first page; below 1024
 *     result           the bytes mapped: fewer than asked for if pages run out
 *
 * It is not mmap, and the rest of the kernel does not know these pages: areas of them are VM_MAGIC. They are unmapped in
 * whole big pages, a child does not inherit them, and every other call refuses them.
 *
 * @models MAIL-BIGPAGE sys_map_ugly_big_page, get_magic_bigpage
 * @differs what the sketch left out or got wrong: docs/decisions/0006-magic-big-pages.md
 */
import { EINVAL, ENOMEM, EPERM } from "../../base/errno.ts";
import { PAGE_SIZE, type Pfn, pageOf, type Vaddr, type Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { account } from "../accounting.ts";
import { NO_FRAME } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import type { Thread } from "../process.ts";
import { unmap } from "../unmap.ts";
import {
  anonymousIndex,
  VM_DONTCOPY,
  VM_DONTEXPAND,
  VM_MAGIC,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_READ,
  VM_SHARED,
  VM_WRITE,
} from "../vma.ts";
import { createVma, insertVma } from "../vma-memory.ts";
import { BigAreas } from "./big-areas.ts";
import { zeroHuge } from "./huge-pages.ts";
import { bigFlags, bigTable, setBig } from "./large-entries.ts";

/** MAXBIGPAGES. */
const MOST_PAGES = 1024;

const MAGIC_FLAGS =
  VM_MAGIC | VM_READ | VM_WRITE | VM_SHARED | VM_MAYREAD | VM_MAYWRITE | VM_MAYSHARE | VM_DONTCOPY | VM_DONTEXPAND;

export class MagicPages extends BigAreas {
  /** By index: the big page that was made for it. It is kept for ever, as a segment of shared memory is that has a name. */
  private readonly byIndex = new Map<number, Pfn>();

  /** The pages that have an index, which counts as one of their users. */
  *indexed(): Generator<Pfn> {
    yield* this.byIndex.values();
  }

  override *mapLargePage(kernel: Kernel, thread: Thread, address: Vaddr, bytes: number, index: number): Path<number> {
    const { mm } = thread;
    const { taskEnd } = kernel.layout;
    const pool = this.pools[0];
    if (mm.limits.privilege !== "root") return -EPERM;
    if (pool === undefined) return -EINVAL;
    const unit = pool.pages * PAGE_SIZE;
    if (address % unit !== 0 || bytes % unit !== 0) return -EINVAL;
    if (pageOf(bytes) > taskEnd || pageOf(address) > taskEnd - pageOf(bytes)) return -EINVAL;
    if (bytes === 0) return 0;
    if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
    const mapped = yield* this.mapRange(kernel, thread, pageOf(address), pageOf(address + bytes), index);
    mm.mmapSem.releaseWrite(thread);
    return mapped < 0 ? mapped : mapped * PAGE_SIZE;
  }

  /** The pages of 4 KiB that have been mapped, or -ENOMEM. */
  private *mapRange(kernel: Kernel, { mm }: Thread, first: Vpn, end: Vpn, index: number): Path<number> {
    const { tables, frames } = kernel;
    const pool = this.pools[0]!;
    if (mm.vmas.intersecting(first, end) !== null || mm.vmas.count > kernel.tunables.maxMapCount) return -ENOMEM;
    const heads = this.pagesFrom(kernel, index, (end - first) / pool.pages);
    if (heads.length === 0) return 0;
    const stop = first + heads.length * pool.pages;
    const vma = createVma(kernel, mm, first, stop, MAGIC_FLAGS, {
      file: null,
      opened: null,
      fileIndex: anonymousIndex(first),
    });
    if (vma === null) return -ENOMEM;
    insertVma(vma);
    account(mm, MAGIC_FLAGS, vma.pages);
    for (const [at, head] of heads.entries()) {
      const page = first + at * pool.pages;
      const table = yield* bigTable(kernel, mm, page, pool);
      if (table < 0) {
        // What could not be mapped is no part of the area.
        yield* unmap(kernel, mm, page, stop);
        return page - first;
      }
      frames.addReference(head);
      setBig(kernel, { table, index: tables.indexAt(page, pool.level) }, head, bigFlags(vma));
    }
    return stop - first;
  }
  /** The pages of up to `count` indices from `index` on, until there is none to be had. */
  private pagesFrom(kernel: Kernel, index: number, count: number): Pfn[] {
    const heads: Pfn[] = [];
    while (heads.length < count) {
      const head = this.pageOf(kernel, index + heads.length);
      if (head === NO_FRAME) break;
      heads.push(head);
    }
    return heads;
  }

  private pageOf(kernel: Kernel, index: number): Pfn {
    if (index < 0 || index >= MOST_PAGES) return NO_FRAME;
    const known = this.byIndex.get(index);
    if (known !== undefined) return known;
    const pool = this.pools[0]!;
    const head = pool.take("unpromised");
    if (head === NO_FRAME) return NO_FRAME;
    zeroHuge(kernel, head, pool);
    this.byIndex.set(index, head);
    return head;
  }
}
