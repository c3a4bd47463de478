/** The flat model of the calls that make, move, change and remove mappings. */
import { PAGE_SIZE, pageOf, type Vpn } from "../../base/units.ts";
import {
  FlatFile,
  type FlatPage,
  type FlatProcess,
  newPage,
  PROT_READ,
  PROT_WRITE,
  populateWhatCan,
} from "./flat-memory.ts";
import {
  expectErrno,
  type FlatCall,
  type FlatModel,
  type FlatRules,
  isAligned,
  isModern,
  isSince617,
  pagesIn,
  type Result,
  textOf,
  type Verdict,
} from "./flat-model.ts";
import { cutsHuge, hugeArea, hugeUnit, isolateHuge, MAP_HUGETLB, MAP_NORESERVE } from "./huge.ts";

const MAP_TYPE = 0xf;
const MAP_SHARED = 1;
const MAP_PRIVATE = 2;
const MAP_SHARED_VALIDATE = 3;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_GROWSDOWN = 0x100;
const MAP_LOCKED = 0x2000;
const MAP_POPULATE = 0x8000;
const MAP_NONBLOCK = 0x1_0000;
const MAP_FIXED_NOREPLACE = 0x10_0000;
const RIGHTS = 7;

export const map: FlatCall = (model, process, args, result) => {
  if (isModern(model.rules) && (args[3]! & MAP_HUGETLB) !== 0) return mapHuge(model, process, args, result);
  const [hint, lengthBytes, prot, flags, fileNumber, offset] = args as [number, number, number, number, number, number];
  const modern = isModern(model.rules);
  const anonymous = (flags & MAP_ANONYMOUS) !== 0;
  const file = anonymous ? null : (model.files[fileNumber] ?? null);
  const type = flags & MAP_TYPE;
  const isShared = type === MAP_SHARED || (modern && type === MAP_SHARED_VALIDATE && !anonymous);
  const noReplace = modern && (flags & MAP_FIXED_NOREPLACE) !== 0;
  const fixed = (flags & MAP_FIXED) !== 0 || noReplace;
  const first = pageOf(hint);
  const pages = pagesIn(model.rules, lengthBytes);
  const early = refusedAtOnce(model, { offset, hint, lengthBytes, anonymous, file, fixed });
  if (early !== undefined) return expectErrno(result, early);
  if (lengthBytes === 0) return result.kind === "errno" ? textOf(result) : undefined;
  if (noReplace && !process.isFree(first, first + pages)) return expectErrno(result, "EEXIST");
  // What is found wrong after a place was looked for: none may have been found.
  const noPlace = fixed ? [] : ["ENOMEM"];
  if (!isShared && type !== MAP_PRIVATE) {
    return expectErrno(result, "EINVAL", ...(type === MAP_SHARED_VALIDATE ? ["EOPNOTSUPP"] : []), ...noPlace);
  }
  const growsDown = (flags & MAP_GROWSDOWN) !== 0;
  if (growsDown && (file !== null || (isShared && modern))) {
    // 2.6.11 looks at this last, after it has removed what was there.
    if (!modern && fixed) process.unmap(first, first + pages);
    return expectErrno(result, "EINVAL", ...noPlace);
  }
  const refused = file !== null && !isShared && refusesPrivate(model.rules, file, offset / PAGE_SIZE, pages);
  if (refused) return expectErrno(result, "EINVAL", ...noPlace);
  if (fixed && cutsAny(model, process, first, first + pages))
    return expectErrno(result, isSince617(model.rules) ? "EINVAL" : "ENOMEM");
  if (result.kind === "errno")
    return result.errno === "ENOMEM" && !fixed ? undefined : `${result.errno}, expected an address`;
  if (result.kind !== "address") return `${textOf(result)}, expected an address`;
  const start = pageOf(result.address);
  const wrong = wrongPlace(process, { hint, fixed, pages, start });
  if (wrong !== undefined) return wrong;
  const backing = isShared && anonymous ? new FlatFile(pages * PAGE_SIZE, process.userPages) : file;
  const isSegment = file !== null && file.segment !== null;
  const locked = !isSegment && ((flags & MAP_LOCKED) !== 0 || process.lockFuture !== "no");
  const page = newPage({ rights: prot & RIGHTS, shared: isShared, file: backing, locked, growsDown });
  process.unmap(start, start + pages);
  place(process, start, pages, page, anonymous ? 0 : offset / PAGE_SIZE);
  const atOnce = (flags & MAP_LOCKED) !== 0 || process.lockFuture === "at-once";
  // 2.6.11 populates as remap_file_pages does, which takes shared areas only.
  const asked = modern ? (flags & (MAP_POPULATE | MAP_NONBLOCK)) === MAP_POPULATE : false;
  if ((atOnce && process.lockFuture !== "on-fault") || asked) populateWhatCan(process, start, start + pages);
  return undefined;
};

/**
 * Whether a private mapping of memory without struct pages is refused: a declared deviation of these options. One finds no
 * copies, so there are none; the other needs frames in one piece.
 */
function refusesPrivate({ pfnMappings }: FlatRules, file: FlatFile, first: number, pages: number): boolean {
  if (file.segment === null || file.segment === "nopfn") return false;
  if (pfnMappings === "refuse-cow") return true;
  const inFile = Math.min(first + pages, Math.ceil(file.sizeBytes / PAGE_SIZE)) - first;
  return pfnMappings === "linear-rule" && file.segment === "xip-scattered" && inFile > 1;
}
/** Whether one end of a range lies within a huge page. */
const cutsAny = (model: FlatModel, process: FlatProcess, first: Vpn, end: Vpn): boolean =>
  cutsHuge(model, process, first) || cutsHuge(model, process, end);

/**
 * Huge pages of memory. What lay at a fixed place is gone before it is known whether the pool has so many; those that
 * were promised are certain to be there.
 */
const mapHuge: FlatCall = (model, process, args, result) => {
  const [hint, lengthBytes, prot, flags, fileNumber, offset] = args as [number, number, number, number, number, number];
  const unit = hugeUnit(model);
  const isFixed = (flags & (MAP_FIXED | MAP_FIXED_NOREPLACE)) !== 0;
  if (!isAligned(model.rules, offset)) return expectErrno(result, "EINVAL");
  if ((flags & MAP_ANONYMOUS) === 0)
    return expectErrno(result, model.files[fileNumber] === undefined ? "EBADF" : "EINVAL");
  if (lengthBytes === 0) return expectErrno(result, "EINVAL");
  const first = pageOf(hint);
  const pages = Math.ceil(pagesIn(model.rules, lengthBytes) / unit) * unit;
  if (isFixed && (!isAligned(model.rules, hint) || first % unit !== 0)) return expectErrno(result, "EINVAL");
  if ((flags & MAP_FIXED_NOREPLACE) !== 0 && !process.isFree(first, first + pages))
    return expectErrno(result, "EEXIST");
  const type = flags & MAP_TYPE;
  const isShared = type === MAP_SHARED || type === MAP_SHARED_VALIDATE;
  const noPlace = isFixed ? [] : ["ENOMEM"];
  if (!isShared && type !== MAP_PRIVATE) return expectErrno(result, "EINVAL", ...noPlace);
  if ((flags & MAP_GROWSDOWN) !== 0) return expectErrno(result, "EINVAL", "EOPNOTSUPP", ...noPlace);
  if (isFixed) process.unmap(first, first + pages);
  if (result.kind === "errno")
    return expectErrno(result, "ENOMEM", ...(type === MAP_SHARED_VALIDATE ? ["EOPNOTSUPP"] : []));
  if (result.kind !== "address") return `${textOf(result)}, expected an address`;
  const start = pageOf(result.address);
  if (start % unit !== 0) return `huge pages at page ${start}`;
  const wrong = wrongPlace(process, { hint, fixed: isFixed, pages, start });
  if (wrong !== undefined) return wrong;
  const huge = { area: {}, isCertain: (flags & MAP_NORESERVE) === 0 };
  const file = isShared ? new FlatFile(pages * PAGE_SIZE, process.userPages) : null;
  place(process, start, pages, newPage({ rights: prot & RIGHTS, shared: isShared, file, huge }), 0);
  return undefined;
};

interface Asked {
  readonly offset: number;
  readonly hint: number;
  readonly lengthBytes: number;
  readonly anonymous: boolean;
  readonly file: FlatFile | null;
  readonly fixed: boolean;
}

/** Errors that are found before a place is. 2.6.11 takes a mapping of nothing for a success. */
function refusedAtOnce(model: FlatModel, asked: Asked): string | undefined {
  if (!isAligned(model.rules, asked.offset)) return "EINVAL";
  if (!asked.anonymous && asked.file === null) return "EBADF";
  if (asked.lengthBytes === 0) return isModern(model.rules) ? "EINVAL" : undefined;
  return asked.fixed && !isAligned(model.rules, asked.hint) ? "EINVAL" : undefined;
}

interface Placed {
  readonly hint: number;
  readonly fixed: boolean;
  readonly pages: number;
  readonly start: Vpn;
}

function wrongPlace(process: FlatProcess, { hint, fixed, pages, start }: Placed): Verdict {
  const hinted = pageOf(hint);
  if (fixed) return start === hinted ? undefined : `mapped at page ${start}, asked for ${hinted}`;
  if (!process.isFree(start, start + pages)) return `mapped at page ${start}, where something was`;
  return undefined;
}

/** Pages with following indices. */
export function place(process: FlatProcess, start: Vpn, pages: number, page: FlatPage, index: number): void {
  for (let at = 0; at < pages; at++) process.pages.set(start + at, { ...page, index: index + at, linear: index + at });
}

export const unmap: FlatCall = (model, process, args, result) => {
  const [address, lengthBytes] = args as [number, number];
  if (!isAligned(model.rules, address) || lengthBytes === 0) return expectErrno(result, "EINVAL");
  const first = pageOf(address);
  if (cutsAny(model, process, first, first + pagesIn(model.rules, lengthBytes))) return expectErrno(result, "EINVAL");
  if (result.kind === "errno") return `${result.errno}, expected 0`;
  process.unmap(pageOf(address), pageOf(address) + pagesIn(model.rules, lengthBytes));
  return undefined;
};

export const protect: FlatCall = (model, process, args, result) => {
  const [address, lengthBytes, prot] = args as [number, number, number];
  if (!isAligned(model.rules, address)) return expectErrno(result, "EINVAL");
  if (lengthBytes === 0) return result.kind === "errno" ? result.errno : undefined;
  if ((prot & ~(RIGHTS | 8)) !== 0) return expectErrno(result, "EINVAL");
  const first = pageOf(address);
  const end = first + pagesIn(model.rules, lengthBytes);
  const hole = process.firstHole(first, end);
  // Up to there the huge pages of one area change, none of which is cut.
  let whole = first;
  for (let page = first; page < hole; page++) {
    const flat = process.pages.get(page);
    if (flat === undefined) continue;
    if (flat.huge !== undefined && page >= whole && changesRights(flat, prot)) {
      whole = Math.min(hugeArea(process, page).end, end);
      if (cutsHuge(model, process, page) || cutsHuge(model, process, whole)) return expectErrno(result, "EINVAL");
      isolateHuge(process, page, whole);
    }
    if (!flat.mayWrite && (prot & PROT_WRITE) !== 0) return expectErrno(result, "EACCES");
    process.change(page, { rights: prot & RIGHTS });
    // A locked private page that may now be written gets its own bytes at once.
    const becomesWritable = (flat.rights & PROT_WRITE) === 0 && (prot & PROT_WRITE) !== 0;
    if (becomesWritable && flat.locked && !flat.shared && isModern(model.rules)) {
      populateWhatCan(process, page, page + 1);
    }
  }
  if (hole < end) return expectErrno(result, "ENOMEM");
  return result.kind === "errno" ? `${result.errno}, expected 0` : undefined;
};

const changesRights = ({ rights }: FlatPage, prot: number): boolean => rights !== (prot & RIGHTS);

const MREMAP_MAYMOVE = 1;
const MREMAP_FIXED = 2;
const MREMAP_DONTUNMAP = 4;

interface Move {
  readonly from: Vpn;
  readonly oldPages: number;
  readonly newPages: number;
  readonly flags: number;
  readonly target: number;
}

export const remap: FlatCall = (model, process, args, result) => {
  const [address, oldBytes, newBytes, flags, target] = args as [number, number, number, number, number];
  const modern = isModern(model.rules);
  const known = MREMAP_MAYMOVE | MREMAP_FIXED | (modern ? MREMAP_DONTUNMAP : 0);
  const fixed = (flags & MREMAP_FIXED) !== 0;
  const mayMove = (flags & MREMAP_MAYMOVE) !== 0;
  const keeps = (flags & MREMAP_DONTUNMAP) !== 0;
  const move = {
    from: pageOf(address),
    oldPages: pagesIn(model.rules, oldBytes),
    newPages: pagesIn(model.rules, newBytes),
    flags,
    target,
  };
  if ((flags & ~known) !== 0 || (fixed && !mayMove) || !isAligned(model.rules, address))
    return expectErrno(result, "EINVAL");
  const looksFirst = isSince617(model.rules);
  const sameSize = looksFirst ? move.oldPages === move.newPages : oldBytes === newBytes;
  if (keeps && (!mayMove || !sameSize)) return expectErrno(result, "EINVAL");
  if (move.newPages === 0) return expectErrno(result, "EINVAL");
  const goesElsewhere = fixed || keeps;
  if (goesElsewhere && looksFirst && badTarget(model, move)) return expectErrno(result, "EINVAL");
  if (modern && !process.isMapped(move.from)) return expectErrno(result, "EFAULT");
  if (looksFirst && fixed && move.oldPages === move.newPages) return moveAll(process, move, result);
  if (goesElsewhere) {
    if (!looksFirst && badTarget(model, move)) return expectErrno(result, "EINVAL");
    // Later kernels look at the area before they clear anything.
    if (looksFirst && result.kind === "errno") return refusedMove(process, move, result);
    if (fixed) process.unmap(pageOf(target), pageOf(target) + move.newPages);
  }
  return follow(model, process, move, result);
};

function badTarget(model: FlatModel, { from, oldPages, newPages, target }: Move): boolean {
  const to = pageOf(target);
  if (!isAligned(model.rules, target)) return true;
  // 2.6.11 calls it an overlap too when nothing is moved to its own place.
  const nothing = oldPages === 0 && to <= from && !isModern(model.rules);
  return (from + oldPages > to || nothing) && to + newPages > from;
}

/** A move that is refused and changes nothing. */
function refusedMove(process: FlatProcess, move: Move, result: Result): Verdict {
  const first = process.pages.get(move.from);
  if (first === undefined) return undefined;
  const oldPages = Math.min(move.oldPages, move.newPages);
  if (oldPages === 0 && !first.shared) return expectErrno(result, "EINVAL");
  if (!isUniform(process, move.from, oldPages)) return expectErrno(result, "EFAULT");
  return result.kind === "errno" ? mayFail(process, move, oldPages, result.errno) : undefined;
}

/** Every page of the range moves by the same distance; where there is none, the target stays as it is. */
function moveAll(process: FlatProcess, { from, oldPages, flags, target }: Move, result: Result): Verdict {
  const to = pageOf(target);
  if (result.kind !== "address" || pageOf(result.address) !== to) return `${textOf(result)}, expected page ${to}`;
  const keeps = (flags & MREMAP_DONTUNMAP) !== 0;
  for (let at = 0; at < oldPages; at++) {
    if (!process.isMapped(from + at)) continue;
    process.unmap(to + at, to + at + 1);
    if (process.pages.has(from + at))
      transfer(process, { from: from + at, to: to + at, oldPages: 1, newPages: 1, keeps });
  }
  if (keeps) unlockAround(process, from, oldPages);
  return undefined;
}

/** What kept its place is unlocked as a whole area, beyond the part that was named. */
function unlockAround(process: FlatProcess, from: Vpn, pages: number): void {
  for (const [edge, step] of [
    [from, -1],
    [from + pages - 1, 1],
  ] as const) {
    for (let page = edge; isOneArea(process, page, page + step); page += step)
      process.change(page + step, { locked: false });
  }
}

/** Whether two neighbours differ in nothing but being locked. */
function isOneArea(process: FlatProcess, page: Vpn, next: Vpn): boolean {
  const one = process.pages.get(page);
  const other = process.pages.get(next);
  if (one === undefined || other === undefined || !other.locked) return false;
  if (one.file !== other.file || one.shared !== other.shared || one.rights !== other.rights) return false;
  return one.growsDown === other.growsDown && (one.file === null || other.linear - one.linear === next - page);
}

function follow(model: FlatModel, process: FlatProcess, move: Move, result: Result): Verdict {
  const { from, newPages, flags } = move;
  if (move.oldPages > newPages) process.unmap(from + newPages, from + move.oldPages);
  const oldPages = Math.min(move.oldPages, newPages);
  const inPlace = (flags & (MREMAP_FIXED | MREMAP_DONTUNMAP)) === 0;
  if (inPlace && move.oldPages >= newPages) return stays(result, from);
  const first = process.pages.get(from);
  if (first === undefined) {
    // An area of the filler, which the model does not follow.
    if (process.isMapped(from)) return undefined;
    return expectErrno(result, "EFAULT");
  }
  if (oldPages === 0 && !first.shared && isModern(model.rules)) return expectErrno(result, "EINVAL");
  if (!isUniform(process, from, oldPages)) return expectErrno(result, "EFAULT");
  if (result.kind === "errno") return mayFail(process, move, oldPages, result.errno);
  if (result.kind !== "address") return textOf(result);
  const to = pageOf(result.address);
  if (to === from && inPlace) grow(process, first, from, oldPages, newPages);
  else {
    const wrong = wrongTarget(process, move, to);
    if (wrong !== undefined) return wrong;
    const keeps = (flags & MREMAP_DONTUNMAP) !== 0;
    transfer(process, { from, to, oldPages, newPages, keeps });
    if (keeps && isSince617(model.rules)) unlockAround(process, from, oldPages);
  }
  if (first.locked && newPages > oldPages) populateWhatCan(process, to + oldPages, to + newPages);
  return undefined;
}

const stays = (result: Result, from: Vpn): Verdict =>
  result.kind === "address" && pageOf(result.address) === from ? undefined : `${textOf(result)}, expected page ${from}`;

/** Whether pages can be one area: same backing, in order, and same treatment. */
export function isUniform(process: FlatProcess, from: Vpn, pages: number): boolean {
  const first = process.pages.get(from)!;
  for (let at = 1; at < pages; at++) {
    const flat = process.pages.get(from + at);
    if (flat === undefined || flat.file !== first.file || flat.shared !== first.shared) return false;
    if (flat.rights !== first.rights || flat.locked !== first.locked || flat.growsDown !== first.growsDown)
      return false;
    if (first.file !== null && flat.linear !== first.linear + at) return false;
  }
  return true;
}

/** Errors that depend on where areas begin and end, or on room. */
function mayFail(process: FlatProcess, { from, newPages, flags }: Move, oldPages: number, errno: string): Verdict {
  if (errno === "EFAULT") return oldPages > 1 ? undefined : "EFAULT, and one page is always one area";
  if (errno !== "ENOMEM" || newPages === oldPages) return errno;
  const room = process.isFree(from + oldPages, from + newPages);
  // The area may go on beyond what was named, and then it cannot grow in place.
  if ((flags & MREMAP_MAYMOVE) === 0 && room && oldPages > 0) return "ENOMEM, and there is room";
  return undefined;
}

function wrongTarget(process: FlatProcess, { flags, target, newPages }: Move, to: Vpn): Verdict {
  if ((flags & MREMAP_MAYMOVE) === 0) return "moved, and was not allowed to";
  if ((flags & MREMAP_FIXED) !== 0)
    return to === pageOf(target) ? undefined : `moved to page ${to}, not to ${pageOf(target)}`;
  return process.isFree(to, to + newPages) ? undefined : `moved to page ${to}, where something was`;
}

function grow(process: FlatProcess, first: FlatPage, from: Vpn, oldPages: number, newPages: number): void {
  for (let at = oldPages; at < newPages; at++) {
    process.pages.set(from + at, { ...first, own: null, mayBeFreed: false, ...linearIndex(first, at) });
  }
}

/** The page `at` pages after the area's first, as the area gives it. */
const linearIndex = ({ linear }: FlatPage, at: number) => ({ index: linear + at, linear: linear + at });

interface Transfer {
  readonly from: Vpn;
  readonly to: Vpn;
  readonly oldPages: number;
  readonly newPages: number;
  readonly keeps: boolean;
}

function transfer(process: FlatProcess, { from, to, oldPages, newPages, keeps }: Transfer): void {
  const first = process.pages.get(from)!;
  for (let at = 0; at < newPages; at++) {
    const fresh = { ...first, own: null, mayBeFreed: false, ...linearIndex(first, at) };
    process.pages.set(to + at, at < oldPages ? process.pages.get(from + at)! : fresh);
  }
  for (let at = 0; at < oldPages; at++) {
    const emptied = { own: null, mayBeFreed: false, locked: false, ...linearIndex(first, at) };
    if (keeps) process.change(from + at, emptied);
    else process.pages.delete(from + at);
  }
}

/** brk never says why: it gives the new break, or the old one. */
export const changeBreak: FlatCall = (model, process, args, result) => {
  const wanted = model.breakStart + args[0]!;
  if (result.kind !== "address") return textOf(result);
  const { address } = result;
  if (address !== wanted)
    return address === process.breakEnd ? undefined : `${address}, neither the old nor the new break`;
  const oldEnd = pagesIn(model.rules, process.breakEnd);
  const newEnd = pagesIn(model.rules, wanted);
  if (newEnd > oldEnd && !process.isFree(oldEnd, newEnd)) return "the break has grown over a mapping";
  process.unmap(newEnd, oldEnd);
  const heap = newPage({ rights: PROT_READ | PROT_WRITE, locked: process.lockFuture !== "no" });
  if (newEnd > oldEnd) place(process, oldEnd, newEnd - oldEnd, heap, 0);
  process.breakEnd = wanted;
  return undefined;
};
