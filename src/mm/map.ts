/**
 * mmap: checks, in the order in which the kernel makes them; then a place; then the area itself, which often is only a
 * neighbour that grows.
 *
 * @models linux-6.1 mm/mmap.c ksys_mmap_pgoff, do_mmap; mm/util.c vm_mmap_pgoff
 * @differs a kernel without hugetlbfs knows MAP_HUGETLB, and has no page for it; MAP_SYNC means nothing; memory keys, noexec mounts, append-only files and sealed files do not exist
 */
import { EACCES, EBADF, EEXIST, EINVAL, ENOMEM, EOPNOTSUPP, EOVERFLOW, EPERM } from "../base/errno.ts";
import { addressOf, type FileIndex, PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { checkLockedLimit, mayExpand, mayLock } from "./accounting.ts";
import type { AddressSpace } from "./address-space.ts";
import { findBigPlace } from "./bigpages/big-place.ts";
import { hugeOf } from "./bigpages/huge-file.ts";
import type { OpenFile } from "./file.ts";
import type { Kernel } from "./kernel.ts";
import type { AddressLayout } from "./layout.ts";
import { mapRegion, type Region } from "./map-region.ts";
import { OVERCOMMIT_NEVER } from "./overcommit.ts";
import { findPlace } from "./placement.ts";
import { populate } from "./populate.ts";
import type { Thread } from "./process.ts";
import { mappedPages, unmap } from "./unmap.ts";
import {
  anonymousIndex,
  VM_GROWSDOWN,
  VM_LOCKED,
  VM_LOCKONFAULT,
  VM_MAYEXEC,
  VM_MAYREAD,
  VM_MAYSHARE,
  VM_MAYWRITE,
  VM_NORESERVE,
  VM_SHARED,
  VM_SYNC,
} from "./vma.ts";
import * as flag from "./vma-flags.ts";
import { alignDown, alignUp, alignUpWrapped, isAligned, wordLimit } from "./words.ts";

/** The arguments of the call. */
export interface MapRequest {
  readonly address: Vaddr;
  readonly lengthBytes: number;
  /** PROT_* bits. */
  readonly prot: number;
  /** MAP_* bits. */
  readonly flags: number;
  /** Null: the descriptor is not open. With MAP_ANONYMOUS nobody looks. */
  readonly file: OpenFile | null;
  readonly offsetBytes: number;
}

/** What an area may ever be given, unless its file forbids it. */
export const VM_MAY = VM_MAYREAD | VM_MAYWRITE | VM_MAYEXEC;

/** The flags that every file may be mapped with; MAP_SHARED ignores others, MAP_SHARED_VALIDATE refuses them. */
const LEGACY_FLAGS =
  flag.MAP_SHARED |
  flag.MAP_PRIVATE |
  flag.MAP_FIXED |
  flag.MAP_ANONYMOUS |
  flag.MAP_DENYWRITE |
  flag.MAP_EXECUTABLE |
  flag.MAP_GROWSDOWN |
  flag.MAP_LOCKED |
  flag.MAP_NORESERVE |
  flag.MAP_POPULATE |
  flag.MAP_NONBLOCK |
  flag.MAP_STACK |
  flag.MAP_HUGETLB |
  flag.MAP_32BIT |
  (21 << flag.MAP_HUGE_SHIFT) |
  (30 << flag.MAP_HUGE_SHIFT);

/** The call: the address, or -ERRNO. */
export function* mmap(kernel: Kernel, thread: Thread, request: MapRequest): Path<number> {
  const { mm } = thread;
  const anonymous = (request.flags & flag.MAP_ANONYMOUS) !== 0;
  if (!isAligned(kernel.layout, request.offsetBytes)) return -EINVAL;
  if (!anonymous && request.file === null) return -EBADF;
  const file = anonymous ? null : hugeOf(request.file!.file);
  const huge = file !== null || (request.flags & flag.MAP_HUGETLB) !== 0;
  if (huge && file === null && (!anonymous || !hugePageExists(kernel, request.flags))) return -EINVAL;

  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const placed = anonymous ? { ...request, file: null } : request;
  const address = huge ? yield* mapHuge(kernel, thread, placed) : yield* mapLocked(kernel, thread, placed);
  mm.mmapSem.releaseWrite(thread);
  if (address >= 0 && wantsPages(request.flags, mm.defaultFlags)) {
    const first = pageOf(address);
    yield* populate(kernel, thread, first, first + pageOf(alignUp(kernel.layout, request.lengthBytes)), "next-area");
  }
  return address;
}

/** A mapping of a file for somebody who holds mmap_sem for write, and brings the pages in himself. */
export const mapHeld = (kernel: Kernel, thread: Thread, request: MapRequest): Path<number> =>
  hugeOf(request.file!.file) === null ? mapLocked(kernel, thread, request) : mapHuge(kernel, thread, request);

/** Whether a new area's pages are brought in at once. */
const wantsPages = (flags: number, defaultFlags: number): boolean =>
  ((flags & flag.MAP_LOCKED) | (defaultFlags & VM_LOCKED)) !== 0 ||
  (flags & (flag.MAP_POPULATE | flag.MAP_NONBLOCK)) === flag.MAP_POPULATE;

/**
 * Everything but the descriptor, the huge pages and the populating. Requires: mmap_sem is held for write.
 * remap_file_pages comes in here too.
 */
export function* mapLocked(kernel: Kernel, thread: Thread, request: MapRequest): Path<number> {
  const { mm } = thread;
  const address = place(kernel, thread, request);
  if (address < 0) return address;
  const { prot, file } = request;
  const pages = pageOf(alignUp(kernel.layout, request.lengthBytes));
  const start = pageOf(address);
  if ((request.flags & flag.MAP_FIXED_NOREPLACE) !== 0 && mm.vmas.intersecting(start, start + pages) !== null) {
    return -EEXIST;
  }
  const vmFlags = newFlags(kernel, mm, prot, request.flags);
  if ((request.flags & flag.MAP_LOCKED) !== 0 && !mayLock(mm)) return -EPERM;
  const locked = checkLockedLimit(mm, vmFlags, pages);
  if (locked < 0) return locked;
  const typed =
    file === null ? anonymousFlags(kernel, request.flags, vmFlags) : fileFlags(kernel.layout, request, file, vmFlags);
  if (typed < 0) return typed;
  const reserve = (request.flags & flag.MAP_NORESERVE) !== 0 && kernel.commitment.mode !== OVERCOMMIT_NEVER;
  const region: Region = {
    start,
    pages,
    flags: reserve ? typed | VM_NORESERVE : typed,
    opened: file,
    fileIndex: indexOf(request, typed, start),
  };
  const result = yield* mapRegion(kernel, mm, region);
  return result < 0 ? result : address;
}

/** The VM_* bits of a new area, before anyone has asked what it maps. */
function newFlags(kernel: Kernel, mm: AddressSpace, prot: number, flags: number): number {
  const stack = (flags & flag.MAP_STACK) !== 0 ? kernel.personality.stackFlags : 0;
  const sync = (flags & flag.MAP_SYNC) !== 0 ? VM_SYNC : 0;
  return flag.vmFlagsOfProt(prot) | flag.vmFlagsOfMap(flags) | sync | stack | mm.defaultFlags | VM_MAY;
}

/** The first page's index: the file's; 0 for new shared memory; its own number for private memory. */
function indexOf({ file, offsetBytes }: MapRequest, vmFlags: number, start: Vpn): FileIndex {
  if (file !== null) return offsetBytes / PAGE_SIZE;
  return (vmFlags & VM_SHARED) !== 0 ? 0 : anonymousIndex(start);
}

/** The checks of length and offset, then a place. */
function place(kernel: Kernel, thread: Thread, request: MapRequest): number {
  const { layout, tunables } = kernel;
  const { lengthBytes, offsetBytes } = request;
  const { mm } = thread;
  if (lengthBytes === 0) return -EINVAL;
  const length = alignUpWrapped(layout, lengthBytes);
  if (length === 0) return -ENOMEM;
  if (pageOf(offsetBytes) + pageOf(length) >= wordLimit(layout)) return -EOVERFLOW;
  if (mm.vmas.count > tunables.maxMapCount) return -ENOMEM;
  const noReplace = (request.flags & flag.MAP_FIXED_NOREPLACE) !== 0 ? flag.MAP_FIXED : 0;
  const flags = request.flags | noReplace;
  const address =
    (flags & flag.MAP_FIXED) !== 0 ? request.address : raisedHint(layout, request.address, tunables.mmapMinAddr);
  const backing = request.file === null ? "memory" : "file";
  return findPlace(kernel, mm, { address, pages: pageOf(length), flags, backing });
}

/** A hint below vm.mmap_min_addr means that address. */
function raisedHint(layout: AddressLayout, address: Vaddr, lowest: Vaddr): Vaddr {
  const aligned = alignDown(layout, address);
  return aligned !== 0 && aligned < lowest ? alignUp(layout, lowest) : aligned;
}

/** VM_* bits by MAP_SHARED, PRIVATE or DROPPABLE, for memory without a file; -EINVAL for anything else. */
function anonymousFlags(kernel: Kernel, flags: number, vmFlags: number): number {
  const type = flags & flag.MAP_TYPE;
  if (type === flag.MAP_PRIVATE) return vmFlags;
  const { droppableFlags } = kernel.personality;
  if (type === flag.MAP_DROPPABLE && droppableFlags !== 0 && kernel.layout.abi === "x86-64") {
    return (flags & flag.MAP_LOCKED) !== 0 || (vmFlags & VM_GROWSDOWN) !== 0 ? -EINVAL : vmFlags | droppableFlags;
  }
  if (type !== flag.MAP_SHARED || (vmFlags & VM_GROWSDOWN) !== 0) return -EINVAL;
  return vmFlags | VM_SHARED | VM_MAYSHARE;
}

/** The same for a file, by what it was opened for. */
function fileFlags(layout: AddressLayout, request: MapRequest, file: OpenFile, vmFlags: number): number {
  const { flags, prot, offsetBytes, lengthBytes } = request;
  const type = flags & flag.MAP_TYPE;
  if (offsetBytes + alignUp(layout, lengthBytes) > MAX_FILE_BYTES) return -EOVERFLOW;
  let result = vmFlags;
  if (type === flag.MAP_SHARED || type === flag.MAP_SHARED_VALIDATE) {
    if (type === flag.MAP_SHARED_VALIDATE && (flags & ~LEGACY_FLAGS) !== 0) return -EOPNOTSUPP;
    if ((prot & flag.PROT_WRITE) !== 0 && !file.writable) return -EACCES;
    result |= VM_SHARED | VM_MAYSHARE;
    if (!file.writable) result &= ~(VM_MAYWRITE | VM_SHARED);
  } else if (type !== flag.MAP_PRIVATE) return -EINVAL;
  if (!file.readable) return -EACCES;
  return (result & VM_GROWSDOWN) !== 0 ? -EINVAL : result;
}

/** MAX_LFS_FILESIZE: what a file offset can say. */
const MAX_FILE_BYTES = 2 ** 63;

/** The size that MAP_HUGETLB asks for: 0 for the usual one, or its logarithm. */
const sizeAsked = (flags: number): number => (flags >>> flag.MAP_HUGE_SHIFT) & flag.MAP_HUGE_MASK;

/** Whether there are pages of that size, or could be: the usual one is known even to a kernel that has no pools. */
function hugePageExists(kernel: Kernel, flags: number): boolean {
  const log = sizeAsked(flags);
  return log === 0 || PAGE_SIZE * usualHugePages(kernel) === 2 ** log || kernel.bigPages.poolFor(log) !== null;
}

const usualHugePages = ({ format }: Kernel): number => format.entrySpan(2);

/**
 * A mapping of huge pages: the checks in their order, then the area. What lay at a fixed place is gone even if there are
 * too few pages for it. Requires: mmap_sem is held for write.
 *
 * @models linux-6.1 mm/mmap.c ksys_mmap_pgoff; fs/hugetlbfs/inode.c hugetlb_get_unmapped_area
 */
export function* mapHuge(kernel: Kernel, thread: Thread, request: MapRequest): Path<number> {
  const { mm } = thread;
  const { flags, offsetBytes, file } = request;
  const pool = file === null ? kernel.bigPages.poolFor(sizeAsked(flags)) : file.file.huge!.pool;
  const hugePages = pool === null ? usualHugePages(kernel) : pool.pages;
  const hugeBytes = PAGE_SIZE * hugePages;
  const fixed = (flags & (flag.MAP_FIXED | flag.MAP_FIXED_NOREPLACE)) !== 0;
  const lengthBytes = (Math.ceil(request.lengthBytes / hugeBytes) * hugeBytes) % wordLimit(kernel.layout);
  if (fixed && lengthBytes > 0 && request.address % hugeBytes !== 0) return -EINVAL;
  const address = place(kernel, thread, { ...request, lengthBytes });
  if (address < 0) return address;
  const start =
    fixed || pool === null ? pageOf(address) : findBigPlace(kernel, mm, pool, request.address, pageOf(lengthBytes));
  if (start < 0) return start;
  const end = start + pageOf(lengthBytes);
  if ((flags & flag.MAP_FIXED_NOREPLACE) !== 0 && mm.vmas.intersecting(start, end) !== null) return -EEXIST;
  const vmFlags = newFlags(kernel, mm, request.prot, flags);
  if ((flags & flag.MAP_LOCKED) !== 0 && !mayLock(mm)) return -EPERM;
  const locked = checkLockedLimit(mm, vmFlags, end - start);
  if (locked < 0) return locked;
  const typed =
    file === null ? hugeFlags(flags, vmFlags) : fileFlags(kernel.layout, { ...request, lengthBytes }, file, vmFlags);
  if (typed < 0) return typed;
  if (!mayExpand(kernel, mm, typed, end - start - mappedPages(mm, start, end))) return -ENOMEM;
  const cleared = fixed ? yield* unmap(kernel, mm, start, end) : 0;
  if (cleared < 0) return -ENOMEM;
  if (offsetBytes % hugeBytes !== 0) return -EINVAL;
  if (pool === null) return -ENOMEM;
  const reserve = (flags & flag.MAP_NORESERVE) !== 0 ? VM_NORESERVE : 0;
  // Huge pages are never swapped: there is nothing to lock.
  const result = yield* kernel.bigPages.map(kernel, mm, {
    start,
    end,
    flags: (typed & ~(VM_LOCKED | VM_LOCKONFAULT)) | reserve,
    pool,
    opened: file,
    fileIndex: file === null ? 0 : offsetBytes / PAGE_SIZE,
  });
  return result < 0 ? result : addressOf(start);
}

/** VM_* bits by the kind of mapping, for huge pages without a file. */
function hugeFlags(flags: number, vmFlags: number): number {
  const type = flags & flag.MAP_TYPE;
  if (type < flag.MAP_SHARED || type > flag.MAP_SHARED_VALIDATE) return -EINVAL;
  if (type === flag.MAP_SHARED_VALIDATE && (flags & ~LEGACY_FLAGS) !== 0) return -EOPNOTSUPP;
  if ((vmFlags & VM_GROWSDOWN) !== 0) return -EINVAL;
  return type === flag.MAP_PRIVATE ? vmFlags : vmFlags | VM_SHARED | VM_MAYSHARE;
}
