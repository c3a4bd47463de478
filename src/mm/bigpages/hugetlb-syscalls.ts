/**
 * The first huge pages: two calls, and segments that processes share by a key. An area has all its pages from the start;
 * a segment lives as long as somebody maps it.
 *
 *     alloc_hugepages(key, address, length, prot, flag)     key 0: memory of one's own, which children share
 *                                                           key > 0: the segment of that key; IPC_CREAT makes it
 *     free_hugepages(address)                               of the area that starts there
 *
 * @models linux-2.5.36 arch/i386/mm/hugetlbpage.c, arch/i386/kernel/sys_i386.c sys_alloc_hugepages, sys_free_hugepages
 * @differs everybody has one uid: a segment's owner and mode are not looked at
 */
import { EINVAL, ENOENT, ENOMEM } from "../../base/errno.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { type FileObject, OpenFile } from "../file.ts";
import { holdFile, releaseFile } from "../file-lifetime.ts";
import type { Kernel } from "../kernel.ts";
import type { Thread } from "../process.ts";
import { unmap } from "../unmap.ts";
import { VM_DONTEXPAND, VM_HUGETLB, VM_MAYEXEC, VM_MAYREAD, VM_MAYSHARE, VM_MAYWRITE, VM_SHARED } from "../vma.ts";
import { vmFlagsOfProt } from "../vma-flags.ts";
import type { BigRegion, HugepageRequest } from "./big-pages.ts";
import { findBigPlace } from "./big-place.ts";
import { createHugeFile } from "./huge-pages.ts";
import { PrefaultedHugetlbfs } from "./prefaulted-hugetlbfs.ts";

/** MAX_ID: segments that there may be. */
const MOST_SEGMENTS = 32;
const IPC_CREAT = 0o1000;

const SEGMENT_FLAGS = VM_HUGETLB | VM_DONTEXPAND | VM_SHARED | VM_MAYSHARE | VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;

export class HugetlbSyscalls extends PrefaultedHugetlbfs {
  private readonly segments = new Map<number, FileObject>();

  /** There are no files of huge pages, and mmap knows nothing of them. */
  override poolFor(): null {
    return null;
  }

  // biome-ignore lint/correctness/useYield: a path that never waits
  override *map(_kernel: Kernel, _mm: Thread["mm"], _region: BigRegion): Path<number> {
    return -ENOMEM;
  }

  override *allocHugepages(kernel: Kernel, thread: Thread, request: HugepageRequest): Path<number> {
    const { mm } = thread;
    const pool = this.pools[0];
    if (pool === undefined || request.key < 0) return -EINVAL;
    const { bytes } = request;
    if (bytes <= 0 || bytes % (pool.pages * PAGE_SIZE) !== 0) return -EINVAL;
    if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
    const result = yield* this.allocate(kernel, thread, request);
    mm.mmapSem.releaseWrite(thread);
    return result;
  }

  private *allocate(kernel: Kernel, { mm }: Thread, request: HugepageRequest): Path<number> {
    const pool = this.pools[0]!;
    const pages = pageOf(request.bytes);
    const start = findBigPlace(kernel, mm, pool, request.address, pages);
    if (start < 0) return start;
    const file = this.segment(kernel, request, pages);
    if (typeof file === "number") return file;
    holdFile(file);
    const result = yield* this.mapFilled(kernel, mm, {
      start,
      end: start + pages,
      flags: SEGMENT_FLAGS | vmFlagsOfProt(request.prot),
      pool,
      opened: new OpenFile(file, "read-write"),
      fileIndex: 0,
    });
    releaseFile(kernel, file);
    return result < 0 ? result : addressOf(start);
  }

  /** The segment of the key, or a new one; or -ERRNO. */
  private segment(kernel: Kernel, { key, flag }: HugepageRequest, pages: number): FileObject | number {
    for (const [known, { references }] of this.segments) if (references === 0) this.segments.delete(known);
    const found = key === 0 ? undefined : this.segments.get(key);
    if (found !== undefined) return pages > found.endIndex ? -EINVAL : found;
    if (key !== 0 && (flag & IPC_CREAT) === 0) return -ENOENT;
    if (key !== 0 && this.segments.size >= MOST_SEGMENTS) return -ENOMEM;
    const file = createHugeFile(kernel, `huge segment ${key}`, this.pools[0]!, pages);
    file.named = false;
    if (key !== 0) this.segments.set(key, file);
    return file;
  }

  override *freeHugepages(kernel: Kernel, thread: Thread, address: Vaddr): Path<number> {
    const { mm } = thread;
    if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
    const vma = mm.vmas.containing(pageOf(address));
    const isOne = vma !== null && addressOf(vma.start) === address && (vma.flags & VM_HUGETLB) !== 0;
    const result = isOne ? yield* unmap(kernel, mm, vma.start, vma.end) : -EINVAL;
    mm.mmapSem.releaseWrite(thread);
    return result;
  }
}
