/**
 * shmget, shmat, shmdt, and shmctl as far as it removes: the checks of each in the order in which its kernel makes them.
 *
 *     shmget(key, size, flags)      a segment by its key, or a new one; SHM_HUGETLB: of huge pages
 *     shmat(id, address, flags)     maps it; SHM_RND rounds the address down, SHM_REMAP may take what is there
 *     shmdt(address)                unmaps all that is left of what shmat had put there
 *     shmctl(id, IPC_RMID)          nobody finds it by its key any more, and it goes when nobody maps it
 *
 * @models linux-6.1 ipc/shm.c newseg, do_shmat, ksys_shmdt, shmctl_down; ipc/util.c ipcget, ipcperms
 * @models linux-2.6.11 ipc/shm.c sys_shmget, do_shmat, sys_shmdt, sys_shmctl
 * @differs shmctl knows IPC_RMID alone; a system has no limits of its own for segments
 */
import { EACCES, EEXIST, EINVAL, ENOENT, ENOMEM, ENOSPC } from "../../base/errno.ts";
import { addressOf, PAGE_SIZE, pageOf, type Vaddr, type Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import { createSharedMemory, holdFile, releaseFile, unlinkFile } from "../file-lifetime.ts";
import type { Kernel } from "../kernel.ts";
import type { MapRequest } from "../map.ts";
import { OVERCOMMIT_NEVER } from "../overcommit.ts";
import { populate } from "../populate.ts";
import type { Thread } from "../process.ts";
import { unmap } from "../unmap.ts";
import { VM_LOCKED, type Vma } from "../vma.ts";
import { MAP_FIXED, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE } from "../vma-flags.ts";
import { alignDown, alignUp, isAligned, wordLimit } from "../words.ts";
import { Attachment, IPC_PRIVATE, type Segment } from "./segments.ts";

const IPC_CREAT = 0o1000;
const IPC_EXCL = 0o2000;
const SHM_HUGETLB = 0o4000;
const SHM_NORESERVE = 0o10000;
const PERMISSIONS = 0o777;

const SHM_RDONLY = 0o10000;
const SHM_RND = 0o20000;
const SHM_REMAP = 0o40000;
const SHM_EXEC = 0o100000;

const IPC_RMID = 0;

/** mmap of a file by somebody who holds mmap_sem for write, and brings the pages in himself. */
export type MapHeld = (kernel: Kernel, thread: Thread, request: MapRequest) => Path<number>;

/** The call: the segment's number, or -ERRNO. */
// biome-ignore lint/correctness/useYield: a path that never waits
export function* shmget(kernel: Kernel, thread: Thread, key: number, sizeBytes: number, flags: number): Path<number> {
  const found = key === IPC_PRIVATE ? null : kernel.segments.byKey(key);
  if (found === null) {
    if (key !== IPC_PRIVATE && (flags & IPC_CREAT) === 0) return -ENOENT;
    return create(kernel, thread, key, sizeBytes, flags);
  }
  if ((flags & (IPC_CREAT | IPC_EXCL)) === (IPC_CREAT | IPC_EXCL)) return -EEXIST;
  if (found.sizeBytes < sizeBytes) return -EINVAL;
  return permits(thread, found, flags & PERMISSIONS) ? found.id : -EACCES;
}

function create(kernel: Kernel, thread: Thread, key: number, sizeBytes: number, flags: number): number {
  const { segments, personality } = kernel;
  const rules = personality.segments;
  if (sizeBytes < 1 || sizeBytes > rules.mostBytes(kernel)) return -EINVAL;
  if (segments.pages + pageOf(alignUp(kernel.layout, sizeBytes)) > rules.mostPages(kernel)) return -ENOSPC;
  return createUnlimited(kernel, thread, key, sizeBytes, flags);
}

/** A new segment, of whatever size: its number, or -ERRNO. */
export function createUnlimited(kernel: Kernel, thread: Thread, key: number, sizeBytes: number, flags: number): number {
  const { segments, personality } = kernel;
  const rules = personality.segments;
  const made = (flags & SHM_HUGETLB) !== 0 ? ofHugePages : ofPages;
  const file = made(kernel, thread, key, sizeBytes, flags);
  if (typeof file === "number") return file;
  if (segments.isFull) {
    unlinkFile(kernel, file);
    return -ENOSPC;
  }
  const lockedBytes = file.huge === null ? 0 : Math.max(0, rules.locksHuge(kernel, thread, sizeBytes));
  return segments.add({ key, sizeBytes, mode: flags & PERMISSIONS, file, lockedBytes }, rules.numbering).id;
}

/** What /proc/PID/maps calls a segment. */
const nameOf = (key: number): string => `SYSV${(key >>> 0).toString(16).padStart(8, "0")}`;

/** MAX_LFS_FILESIZE of a file in memory. */
const MOST_FILE_BYTES = 2 ** 63;

function ofPages(kernel: Kernel, _thread: Thread, key: number, sizeBytes: number, flags: number): FileObject | number {
  if (sizeBytes >= MOST_FILE_BYTES) return -EINVAL;
  const mayNotReserve = kernel.personality.segments.knowsNoReserve && kernel.commitment.mode !== OVERCOMMIT_NEVER;
  const promise = mayNotReserve && (flags & SHM_NORESERVE) !== 0 ? "pages" : "size";
  const file = createSharedMemory(kernel, nameOf(key), pageOf(alignUp(kernel.layout, sizeBytes)), promise);
  if (file === null) return -ENOMEM;
  // Its number keeps it.
  file.named = true;
  return file;
}

function ofHugePages(
  kernel: Kernel,
  thread: Thread,
  key: number,
  sizeBytes: number,
  flags: number,
): FileObject | number {
  const { bigPages, personality, format } = kernel;
  const rules = personality.segments;
  const log = rules.sizeLog(flags);
  const pool = bigPages.poolFor(log);
  const isUsual = log === 0 || 2 ** log === format.entrySpan(2) * PAGE_SIZE;
  if (pool === null && !isUsual) return -EINVAL;
  const allowed = rules.mayHaveHuge(kernel, thread);
  if (allowed < 0) return allowed;
  if (pool === null) return rules.withoutPool;
  const unit = pool.pages * PAGE_SIZE;
  const isPromised = !rules.knowsNoReserve || (flags & SHM_NORESERVE) === 0;
  const bytes = rules.hugeBytes(sizeBytes, unit);
  const file = bigPages.createSegment(kernel, { name: nameOf(key), bytes, pool, isPromised });
  if (file === null) return -ENOMEM;
  const locked = rules.locksHuge(kernel, thread, sizeBytes);
  if (locked < 0) unlinkFile(kernel, file);
  return locked < 0 ? locked : file;
}

/** Whether the segment's owner, whom everybody is, may do what these permission bits say. */
function permits({ mm }: Thread, { mode }: Segment, asked: number): boolean {
  const wanted = ((asked >> 6) | (asked >> 3) | asked) & 7;
  return mm.limits.privilege === "root" || (wanted & ~(mode >> 6)) === 0;
}

/** The segment of a number, or why there is none. */
function segmentOf({ segments, personality }: Kernel, id: number): Segment | number {
  const found = segments.find(id);
  if (found === "none") return -EINVAL;
  return found === "another" ? personality.segments.staleNumber : found;
}

/** The call: where the segment is mapped, or -ERRNO. */
export function* shmat(
  kernel: Kernel,
  thread: Thread,
  [id, asked, flags]: readonly [id: number, address: Vaddr, flags: number],
  map: MapHeld,
): Path<number> {
  if (id < 0) return -EINVAL;
  const address = placeAsked(kernel, asked, flags);
  if (address < 0) return address;
  const isReadOnly = (flags & SHM_RDONLY) !== 0;
  const prot = PROT_READ | (isReadOnly ? 0 : PROT_WRITE) | ((flags & SHM_EXEC) !== 0 ? PROT_EXEC : 0);
  const segment = segmentOf(kernel, id);
  if (typeof segment === "number") return segment;
  if (!permits(thread, segment, rightsAsked(prot))) return -EACCES;
  const { file } = segment;
  // Nobody may remove it meanwhile.
  holdFile(file);
  const result = yield* attach(kernel, thread, map, {
    address,
    lengthBytes: file.sizeBytes,
    prot,
    flags: asked !== 0 ? MAP_SHARED | MAP_FIXED : MAP_SHARED,
    file: new Attachment(segment, isReadOnly ? "read" : "read-write"),
    offsetBytes: 0,
    replaces: (flags & SHM_REMAP) !== 0,
  });
  releaseFile(kernel, file);
  return result;
}

/** Permission bits for what is to be done with the segment. */
const rightsAsked = (prot: number): number =>
  ((prot & PROT_READ) !== 0 ? 4 : 0) | ((prot & PROT_WRITE) !== 0 ? 2 : 0) | ((prot & PROT_EXEC) !== 0 ? 1 : 0);

/** Where the segment shall go, 0 for anywhere; or -EINVAL. */
function placeAsked({ personality, layout }: Kernel, asked: Vaddr, flags: number): number {
  if (asked === 0) return (flags & SHM_REMAP) !== 0 ? -EINVAL : 0;
  if (isAligned(layout, asked)) return asked;
  if ((flags & SHM_RND) === 0) return -EINVAL;
  const rounded = alignDown(layout, asked);
  return rounded === 0 && (flags & SHM_REMAP) !== 0 && !personality.segments.remapsZero ? -EINVAL : rounded;
}

interface AttachRequest extends MapRequest {
  /** SHM_REMAP: what lies at the place goes. */
  readonly replaces: boolean;
}

function* attach(kernel: Kernel, thread: Thread, map: MapHeld, request: AttachRequest): Path<number> {
  const { mm } = thread;
  const { address, lengthBytes } = request;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const first = pageOf(address);
  const pages = pageOf(alignUp(kernel.layout, lengthBytes));
  const isTaken = address !== 0 && !request.replaces && isOccupied(kernel, thread, first, pages);
  const result = isTaken ? -EINVAL : yield* map(kernel, thread, request);
  const locks = (mm.defaultFlags & VM_LOCKED) !== 0;
  mm.mmapSem.releaseWrite(thread);
  if (result >= 0 && locks) yield* populate(kernel, thread, pageOf(result), pageOf(result) + pages, "next-area");
  return result;
}

/** Whether something is mapped there, or, in a kernel that cares, a stack would hardly have room above. */
function isOccupied({ personality, layout }: Kernel, { mm }: Thread, first: Vpn, pages: number): boolean {
  const { refusesWrap, stackRoomPages: roomPages } = personality.segments;
  if (refusesWrap && addressOf(first + pages) >= wordLimit(layout)) return true;
  if (mm.vmas.intersecting(first, first + pages) !== null) return true;
  if (roomPages === 0) return false;
  const stack = Math.floor(mm.stackStart / PAGE_SIZE);
  return first < stack && first > stack - pages - roomPages;
}

/** The call: 0, or -EINVAL. */
export function* shmdt(kernel: Kernel, thread: Thread, address: Vaddr): Path<number> {
  const { mm } = thread;
  if (!isAligned(kernel.layout, address)) return -EINVAL;
  if (!mm.mmapSem.tryWrite(thread)) yield* mm.mmapSem.write(thread);
  const base = pageOf(address);
  const { segments } = kernel.personality;
  const fits = (vma: Vma): boolean => segments.detaches(vma) && vma.start - base === vma.fileIndex;
  let vma = mm.vmas.find(base);
  while (vma !== null && !fits(vma)) vma = vma.above;
  const first = vma;
  const end = base + (first === null ? 0 : first.file!.reach);
  while (vma !== null) {
    const { above } = vma;
    if (vma === first || (fits(vma) && (!segments.detachesOne || vma.opened === first!.opened))) {
      yield* unmap(kernel, mm, vma.start, vma.end);
    }
    vma = above !== null && above.end <= end ? above : null;
  }
  mm.mmapSem.releaseWrite(thread);
  return first === null ? -EINVAL : 0;
}

/** The call, of which IPC_RMID is known. */
// biome-ignore lint/correctness/useYield: a path that never waits
export function* shmctl(kernel: Kernel, id: number, command: number): Path<number> {
  if (id < 0 || command !== IPC_RMID) return -EINVAL;
  const segment = segmentOf(kernel, id);
  if (typeof segment === "number") return segment;
  segment.key = IPC_PRIVATE;
  unlinkFile(kernel, segment.file);
  return 0;
}
