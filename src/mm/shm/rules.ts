/**
 * How kernels differ in System V shared memory: limits, numbers, and who may have segments of huge pages.
 *
 * @models linux-2.6.11 ipc/shm.c newseg, fs/hugetlbfs/inode.c can_do_hugetlb_shm, mm/mlock.c user_shm_lock
 * @models linux-6.1 ipc/shm.c newseg, fs/hugetlbfs/inode.c hugetlb_file_setup
 */
import { EIDRM, EINVAL, ENOMEM, ENOSYS, EPERM } from "../../base/errno.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import type { Kernel } from "../kernel.ts";
import type { Thread } from "../process.ts";
import { VM_HUGETLB, type Vma } from "../vma.ts";
import { wordLimit } from "../words.ts";
import { isAttached, type Numbering } from "./segments.ts";

export interface SegmentRules {
  readonly numbering: Numbering;
  /** A number whose place another segment has by now. */
  readonly staleNumber: number;
  /** SHMMAX, and SHMALL in pages. */
  readonly mostBytes: (kernel: Kernel) => number;
  readonly mostPages: (kernel: Kernel) => number;
  /** The logarithm of the huge pages that the flags ask for; 0: of the usual ones. */
  readonly sizeLog: (flags: number) => number;
  /** What is said where there are no huge pages at all. */
  readonly withoutPool: number;
  /** Bytes of a segment's file of huge pages: what was asked for, or whole pages. */
  readonly hugeBytes: (bytes: number, unit: number) => number;
  /** Whether a process may have huge pages: 0 or -EPERM. */
  readonly mayHaveHuge: (kernel: Kernel, thread: Thread) => number;
  /** Bytes that count as locked memory while the segment is there; -ENOMEM if that is too much. */
  readonly locksHuge: (kernel: Kernel, thread: Thread, bytes: number) => number;
  /** SHM_NORESERVE means something. */
  readonly knowsNoReserve: boolean;
  /** SHM_REMAP may round an address down to 0. */
  readonly remapsZero: boolean;
  /** Whether a place that reaches beyond the last address counts as taken. */
  readonly refusesWrap: boolean;
  /** Pages below a stack that no segment may take without SHM_REMAP; 0: it may take all. */
  readonly stackRoomPages: number;
  /** Whether shmdt takes such an area for a segment. */
  readonly detaches: (vma: Vma) => boolean;
  /** Whether shmdt unmaps what one shmat has made, or whatever lies as if it had. */
  readonly detachesOne: boolean;
}

const SHM_HUGE_SHIFT = 26;
const SHM_HUGE_MASK = 0x3f;
const OLD_SHMMAX = 32 * 2 ** 20;

const isFree = ({ tunables }: Kernel, { mm }: Thread): boolean =>
  mm.limits.privilege === "root" || tunables.hugetlbShmGroup === "everybody";

/** Whoever may lock memory may have huge pages, as far as he may lock it. */
export const segments2611: SegmentRules = {
  numbering: "lowest place, number of segments",
  staleNumber: -EIDRM,
  mostBytes: () => OLD_SHMMAX,
  mostPages: () => (OLD_SHMMAX / PAGE_SIZE) * (4096 / 16) - 1,
  sizeLog: () => 0,
  withoutPool: -ENOSYS,
  hugeBytes: (bytes) => bytes,
  mayHaveHuge: (kernel, thread) => (isFree(kernel, thread) || thread.mm.limits.lockedBytes > 0 ? 0 : -EPERM),
  locksHuge: ({ segments }, { mm }, bytes) => {
    const pages = (each: number) => Math.floor(each / PAGE_SIZE);
    const fits = pages(bytes) + pages(segments.lockedBytes) <= pages(mm.limits.lockedBytes);
    return fits || mm.limits.privilege === "root" ? bytes : -ENOMEM;
  },
  knowsNoReserve: false,
  remapsZero: true,
  refusesWrap: false,
  stackRoomPages: 5,
  detaches: (vma) => isAttached(vma) || (vma.flags & VM_HUGETLB) !== 0,
  detachesOne: false,
};

/** What one may lock is no reason to have huge pages any more. */
export const segments61: SegmentRules = {
  numbering: "next place, number of rounds",
  staleNumber: -EINVAL,
  mostBytes: ({ layout }) => wordLimit(layout) - 2 ** 24 - 1,
  mostPages: ({ layout }) => wordLimit(layout) - 2 ** 24 - 1,
  sizeLog: (flags) => (flags >>> SHM_HUGE_SHIFT) & SHM_HUGE_MASK,
  withoutPool: -ENOMEM,
  hugeBytes: (bytes, unit) => Math.ceil(bytes / unit) * unit,
  mayHaveHuge: (kernel, thread) => (isFree(kernel, thread) ? 0 : -EPERM),
  locksHuge: () => 0,
  knowsNoReserve: true,
  remapsZero: false,
  refusesWrap: true,
  stackRoomPages: 0,
  detaches: isAttached,
  detachesOne: true,
};
