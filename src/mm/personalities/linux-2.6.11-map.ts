/**
 * mmap of 2.6.11: a length of 0 succeeds, MAP_FIXED_NOREPLACE and MAP_SHARED_VALIDATE do not exist, what lay at the
 * place is gone before the limits are looked at, and the reservation of shared memory is the file's alone.
 *
 * @models linux-2.6.11 mm/mmap.c do_mmap_pgoff; arch/i386/kernel/sys_i386.c do_mmap2
 * @differs MAP_POPULATE brings the pages of a shared mapping in directly, not through remap_file_pages
 */
import { EACCES, EAGAIN, EBADF, EINVAL, ENOMEM, EPERM } from "../../base/errno.ts";
import { addressOf, PAGE_SIZE, pageOf } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import { checkLockedLimit, mayLock } from "../accounting.ts";
import type { AddressSpace } from "../address-space.ts";
import { findBigPlace } from "../bigpages/big-place.ts";
import type { OpenFile } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import { type MapRequest, VM_MAY } from "../map.ts";
import { mapRegion } from "../map-region.ts";
import { OVERCOMMIT_NEVER } from "../overcommit.ts";
import { findPlace } from "../placement.ts";
import { populate } from "../populate.ts";
import type { Thread } from "../process.ts";
import { unmap } from "../unmap.ts";
import { anonymousIndex, VM_GROWSDOWN, VM_LOCKED, VM_MAYSHARE, VM_MAYWRITE, VM_NORESERVE, VM_SHARED } from "../vma.ts";
import * as flag from "../vma-flags.ts";
import { alignUpWrapped, isAligned, wordLimit } from "../words.ts";

/** The call: the address, or -ERRNO. */
export function* mmap(kernel: Kernel, thread: Thread, request: MapRequest): Path<number> {
  const { mm } = thread;
  const { flags } = request;
  const file = (flags & flag.MAP_ANONYMOUS) !== 0 ? null : request.file;
  if (!isAligned(kernel.layout, request.offsetBytes)) return -EINVAL;
  if ((flags & flag.MAP_ANONYMOUS) === 0 && file === null) return -EBADF;
  if (request.lengthBytes === 0) return request.address;
  if (file !== null && file.file.huge !== null) return yield* mapHuge(kernel, thread, request, file);

  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const address = yield* mapLocked(kernel, thread, request, file);
  const locked = ((flags & flag.MAP_LOCKED) | (mm.defaultFlags & VM_LOCKED)) !== 0;
  mm.mmapSem.releaseWrite(thread);
  if (address < 0) return address;
  const shared = (flags & flag.MAP_TYPE) === flag.MAP_SHARED;
  const wanted = (flags & (flag.MAP_POPULATE | flag.MAP_NONBLOCK)) === flag.MAP_POPULATE;
  if (locked || (wanted && shared)) {
    const first = pageOf(address);
    const pages = pageOf(alignUpWrapped(kernel.layout, request.lengthBytes));
    yield* populate(kernel, thread, first, first + pages, "next-area");
  }
  return address;
}

/** A mapping of a file for somebody who holds mmap_sem for write, and brings the pages in himself. */
export const mapHeld = (kernel: Kernel, thread: Thread, request: MapRequest): Path<number> =>
  request.file!.file.huge === null
    ? mapLocked(kernel, thread, request, request.file)
    : mapHugeLocked(kernel, thread.mm, request, request.file!);

function* mapLocked(kernel: Kernel, thread: Thread, request: MapRequest, file: OpenFile | null): Path<number> {
  const { layout, tunables } = kernel;
  const { mm } = thread;
  const { flags, offsetBytes } = request;
  const pages = pageOf(alignUpWrapped(layout, request.lengthBytes));
  if (pages === 0 || pages > layout.taskEnd) return -EINVAL;
  if (pageOf(offsetBytes) + pages >= wordLimit(layout)) return -EINVAL;
  if (mm.vmas.count > tunables.maxMapCount) return -ENOMEM;
  const address = findPlace(kernel, mm, {
    address: request.address,
    pages,
    flags,
    backing: request.file === null ? "memory" : "file",
  });
  if (address < 0) return address;

  const vmFlags = flag.vmFlagsOfProt(request.prot) | flag.vmFlagsOfMap(flags) | mm.defaultFlags | VM_MAY;
  if ((flags & flag.MAP_LOCKED) !== 0 && !mayLock(mm)) return -EPERM;
  if (checkLockedLimit(mm, vmFlags, pages) < 0) return -EAGAIN;
  const typed = typedFlags(request, file, vmFlags);
  if (typed < 0) return typed;
  const start = pageOf(address);
  if (file !== null && (typed & VM_GROWSDOWN) !== 0) {
    // Found out by the driver only, when the place is cleared already.
    const cleared = yield* unmap(kernel, mm, start, start + pages);
    return cleared < 0 ? -ENOMEM : -EINVAL;
  }
  const own = (typed & VM_SHARED) !== 0 ? 0 : anonymousIndex(start);
  const fileIndex = file === null ? own : offsetBytes / PAGE_SIZE;
  const result = yield* mapUncounted(kernel, thread, { start, pages, flags: typed, opened: file, fileIndex }, flags);
  return result < 0 ? result : address;
}

/** 2.6.11 remembers nothing of MAP_NORESERVE: the area is only not charged when it is made. */
function* mapUncounted(
  kernel: Kernel,
  thread: Thread,
  region: Parameters<typeof mapRegion>[2],
  flags: number,
): Path<number> {
  const unreserved = (flags & flag.MAP_NORESERVE) !== 0 && kernel.commitment.mode !== OVERCOMMIT_NEVER;
  if (!unreserved) return yield* mapRegion(kernel, thread.mm, region);
  return yield* mapRegion(kernel, thread.mm, { ...region, flags: region.flags | VM_NORESERVE });
}

/** VM_* bits by the kind of mapping and what the file was opened for. */
function typedFlags({ flags, prot }: MapRequest, file: OpenFile | null, vmFlags: number): number {
  const type = flags & flag.MAP_TYPE;
  const shared = type === flag.MAP_SHARED;
  if (!shared && type !== flag.MAP_PRIVATE) return -EINVAL;
  if (file === null) return shared ? vmFlags | VM_SHARED | VM_MAYSHARE : vmFlags;
  if (shared && (prot & flag.PROT_WRITE) !== 0 && !file.writable) return -EACCES;
  if (!file.readable) return -EACCES;
  if (!shared) return vmFlags;
  return file.writable ? vmFlags | VM_SHARED | VM_MAYSHARE : (vmFlags | VM_MAYSHARE) & ~VM_MAYWRITE;
}

/**
 * A file of huge pages, all of which come at once. What lay at a fixed place is gone even if that fails.
 *
 * @models linux-2.6.11 fs/hugetlbfs/inode.c hugetlb_get_unmapped_area, hugetlbfs_file_mmap; include/linux/hugetlb.h
 */
function* mapHuge(kernel: Kernel, thread: Thread, request: MapRequest, file: OpenFile): Path<number> {
  const { mm } = thread;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const result = yield* mapHugeLocked(kernel, mm, request, file);
  mm.mmapSem.releaseWrite(thread);
  return result;
}

function* mapHugeLocked(kernel: Kernel, mm: AddressSpace, request: MapRequest, file: OpenFile): Path<number> {
  const { layout } = kernel;
  const { flags, address, offsetBytes } = request;
  const { pool } = file.file.huge!;
  const pages = pageOf(alignUpWrapped(layout, request.lengthBytes));
  if (pages === 0 || pages > layout.taskEnd || pages % pool.pages !== 0) return -EINVAL;
  const fixed = (flags & flag.MAP_FIXED) !== 0;
  if (fixed && pageOf(address) + pages > layout.taskEnd) return -ENOMEM;
  if (fixed && pageOf(address) % pool.pages !== 0) return -EINVAL;
  const start = fixed ? pageOf(address) : findBigPlace(kernel, mm, pool, address, pages);
  if (start < 0) return start;
  const vmFlags = flag.vmFlagsOfProt(request.prot) | flag.vmFlagsOfMap(flags) | mm.defaultFlags | VM_MAY;
  if ((flags & flag.MAP_LOCKED) !== 0 && !mayLock(mm)) return -EPERM;
  if (checkLockedLimit(mm, vmFlags, pages) < 0) return -EAGAIN;
  const typed = typedFlags(request, file, vmFlags);
  if (typed < 0) return typed;
  if ((yield* unmap(kernel, mm, start, start + pages)) < 0) return -ENOMEM;
  const fileIndex = offsetBytes / PAGE_SIZE;
  // Huge pages are never swapped: there is nothing to lock.
  const region = { start, end: start + pages, flags: typed & ~VM_LOCKED, pool, opened: file, fileIndex };
  const result = yield* kernel.bigPages.map(kernel, mm, region);
  return result < 0 ? result : addressOf(start);
}
