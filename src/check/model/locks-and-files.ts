/** The flat model of locking and of calls on files. */
import { PAGE_SIZE, pageOf, type Vpn } from "../../base/units.ts";
import { type FlatFile, type FlatProcess, populate, populateWhatCan } from "./flat-memory.ts";
import {
  expectErrno,
  expectText,
  type FlatCall,
  type FlatModel,
  isModern,
  pagesIn,
  type Result,
  textOf,
  type Verdict,
} from "./flat-model.ts";
import { mayLackPage } from "./huge.ts";

/** mlock takes any address: the whole pages around the range. */
function wholePages({ rules }: FlatModel, address: number, lengthBytes: number): { first: Vpn; end: Vpn } {
  const within = address % (rules.userPages * PAGE_SIZE);
  const first = pageOf(address - within);
  return { first, end: first + pagesIn(rules, lengthBytes + within) };
}

/** Memory without struct pages stays where it is anyway. */
const mayBeLocked = (process: FlatProcess, page: Vpn): boolean => process.pages.get(page)?.file?.segment == null;

const MLOCK_ONFAULT = 1;

/** Whether the pool of huge pages may be too short for the range. */
function mayLackAny(process: FlatProcess, first: Vpn, end: Vpn): boolean {
  for (let page = first; page < end; page++) {
    const flat = process.pages.get(page);
    if (flat !== undefined && mayLackPage(flat)) return true;
  }
  return false;
}

/** Huge pages are never swapped: there is nothing to lock. */
function lockPage(process: FlatProcess, page: Vpn): void {
  if (process.pages.get(page)?.huge === undefined && mayBeLocked(process, page)) process.change(page, { locked: true });
}

export const lock: FlatCall = (model, process, args, result) => {
  const [address, lengthBytes, flags = 0] = args as [number, number, number?];
  const isOld = !isModern(model.rules);
  if (isOld && args.length > 2) return expectErrno(result, "ENOSYS");
  if ((flags & ~MLOCK_ONFAULT) !== 0) return expectErrno(result, "EINVAL");
  const { first, end } = wholePages(model, address, lengthBytes);
  if (first === end) return result.kind === "errno" ? result.errno : undefined;
  const hole = process.firstHole(first, end);
  for (let page = first; page < hole; page++) lockPage(process, page);
  if (hole < end) {
    // 2.6.11 had made present what lies before the hole; this kernel's mlock, as 6.1's, makes nothing present then.
    return isOld ? expectErrno(result, "ENOMEM", "EFAULT", "EPERM") : expectErrno(result, "ENOMEM");
  }
  if ((flags & MLOCK_ONFAULT) !== 0) return result.kind === "errno" ? result.errno : undefined;
  if (isOld) return lockAreas(process, first, end, result);
  if (result.kind === "errno" && result.errno === "ENOMEM" && mayLackAny(process, first, end)) return undefined;
  const stopped = populate(process, first, end);
  if (stopped !== undefined) return expectErrno(result, "ENOMEM");
  return result.kind === "errno" ? `${result.errno}, expected 0` : undefined;
};

/** 2.6.11's way: it stops where a page cannot be made present, with whatever error that gave. */
function lockAreas(process: FlatProcess, first: Vpn, end: Vpn, result: Result): Verdict {
  const stopped = populate(process, first, end);
  if (stopped !== undefined) return expectErrno(result, "EFAULT", "EPERM", "ENOMEM");
  return undefined;
}

export const unlock: FlatCall = (model, process, args, result) => {
  const { first, end } = wholePages(model, args[0]!, args[1]!);
  if (first === end) return result.kind === "errno" ? result.errno : undefined;
  const hole = process.firstHole(first, end);
  for (let page = first; page < hole; page++) process.change(page, { locked: false });
  if (hole < end) return expectErrno(result, "ENOMEM");
  return result.kind === "errno" ? `${result.errno}, expected 0` : undefined;
};

const MCL_CURRENT = 1;
const MCL_FUTURE = 2;
const MCL_ONFAULT = 4;

export const lockAll: FlatCall = (model, process, args, result) => {
  const flags = args[0]!;
  const known = MCL_CURRENT | MCL_FUTURE | (isModern(model.rules) ? MCL_ONFAULT : 0);
  if (flags === 0 || (flags & ~known) !== 0 || flags === MCL_ONFAULT) return expectErrno(result, "EINVAL");
  if (result.kind === "errno") return `${result.errno}, expected 0`;
  const onFault = (flags & MCL_ONFAULT) !== 0;
  process.lockFuture = (flags & MCL_FUTURE) === 0 ? "no" : onFault ? "on-fault" : "at-once";
  if ((flags & MCL_CURRENT) === 0) return undefined;
  for (const page of [...process.pages.keys()]) {
    lockPage(process, page);
    if (!onFault) populateWhatCan(process, page, page + 1);
  }
  return undefined;
};

export const unlockAll: FlatCall = (_model, process, _args, result) => {
  process.lockFuture = "no";
  for (const page of process.pages.keys()) process.change(page, { locked: false });
  return result.kind === "errno" ? `${result.errno}, expected 0` : undefined;
};

// Files.

/** Pages beyond a file's new end, private copies too, are nobody's any more. */
function forgetBeyond(model: FlatModel, file: FlatFile, first: number): void {
  for (const process of model.processes) {
    if (process === undefined) continue;
    for (const [page, flat] of process.pages) {
      if (flat.file === file && flat.index >= first && flat.own !== null) process.change(page, { own: null });
    }
  }
}

export const truncate: FlatCall = (model, _process, args, result) => {
  const [number, sizeBytes] = args as [number, number];
  const file = model.files[number];
  if (file === undefined) return expectErrno(result, "EBADF");
  if (file.segment !== null) return sizeBytes === file.sizeBytes ? undefined : expectErrno(result, "EINVAL");
  if (result.kind === "errno") return `${result.errno}, expected 0`;
  if (sizeBytes < file.sizeBytes) {
    file.clear(sizeBytes, Number.POSITIVE_INFINITY);
    forgetBeyond(model, file, pagesIn(model.rules, sizeBytes));
  }
  file.sizeBytes = sizeBytes;
  return undefined;
};

export const readFile: FlatCall = (model, _process, args, result) => {
  const [number, offset] = args as [number, number];
  const file = model.files[number];
  if (file === undefined) return expectErrno(result, "EBADF");
  if (file.isDevice) return expectErrno(result, "EINVAL");
  const expected = offset >= file.sizeBytes ? "eof" : file.read(offset).toString(16).padStart(2, "0");
  return expectText(textOf(result), expected);
};

export const writeFile: FlatCall = (model, _process, args, result) => {
  const [number, offset, value] = args as [number, number, number];
  const file = model.files[number];
  if (file === undefined) return expectErrno(result, "EBADF");
  if (file.isDevice) return expectErrno(result, "EINVAL");
  if (file.segment !== null && offset >= file.sizeBytes) return expectErrno(result, "EFBIG");
  if (textOf(result) !== "1") return `${textOf(result)}, expected 1`;
  file.write(offset, value & 0xff);
  file.sizeBytes = Math.max(file.sizeBytes, offset + 1);
  return undefined;
};

const FALLOC_KEEP_SIZE = 1;
const FALLOC_PUNCH_HOLE = 2;

export const allocateFile: FlatCall = (model, _process, args, result) => {
  const [number, mode, offset, lengthBytes] = args as [number, number, number, number];
  const file = model.files[number];
  if (!isModern(model.rules)) return expectErrno(result, "ENOSYS");
  if (file === undefined) return expectErrno(result, "EBADF");
  if (file.segment !== null) return expectErrno(result, "EOPNOTSUPP", "EINVAL");
  if (result.kind === "errno") {
    const usual =
      (mode === 0 || mode === FALLOC_KEEP_SIZE || mode === (FALLOC_KEEP_SIZE | FALLOC_PUNCH_HOLE)) && lengthBytes > 0;
    return usual ? `${result.errno}, expected 0` : undefined;
  }
  if ((mode & FALLOC_PUNCH_HOLE) !== 0) file.clear(offset, offset + lengthBytes);
  else if ((mode & FALLOC_KEEP_SIZE) === 0) file.sizeBytes = Math.max(file.sizeBytes, offset + lengthBytes);
  return undefined;
};
