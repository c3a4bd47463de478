/** The flat model of System V shared memory. A segment that was removed and that nobody maps is gone. */
import { PAGE_SIZE, pageOf, type Vpn } from "../../base/units.ts";
import { FlatFile, type FlatPage, newPage, populateWhatCan } from "./flat-memory.ts";
import {
  expectErrno,
  expectText,
  type FlatCall,
  type FlatModel,
  isAligned,
  isModern,
  pagesIn,
  textOf,
} from "./flat-model.ts";
import { place } from "./mappings.ts";

/** A segment; what a page has of it is found by its file. */
export interface FlatSegment {
  readonly key: number;
  readonly sizeBytes: number;
  readonly file: FlatFile;
  isRemoved: boolean;
}

const IPC_CREAT = 0o1000;
const IPC_EXCL = 0o2000;
const SHM_HUGETLB = 0o4000;
const SHM_RDONLY = 0o10000;
const SHM_RND = 0o20000;
const SHM_REMAP = 0o40000;
const SHM_EXEC = 0o100000;
const MOST_BYTES_ONCE = 32 * 2 ** 20;

/** Whether some process has a page of it. */
const isMapped = ({ processes }: FlatModel, { file }: FlatSegment): boolean =>
  processes.some((process) => process !== undefined && [...process.pages.values()].some((page) => page.file === file));

/** The segment that the program means, if it is still there. */
function segmentOf(model: FlatModel, number: number): FlatSegment | undefined {
  const segment = model.segments[number];
  return segment === undefined || (segment.isRemoved && !isMapped(model, segment)) ? undefined : segment;
}

export const createSegment: FlatCall = (model, _process, args, result) => {
  const [number, key, sizeBytes, flags] = args as [number, number, number, number];
  const known = key === 0 ? undefined : model.segmentsByKey.get(key);
  if (known !== undefined) {
    if ((flags & IPC_CREAT) !== 0 && (flags & IPC_EXCL) !== 0) return expectErrno(result, "EEXIST");
    if (known.sizeBytes < sizeBytes) return expectErrno(result, "EINVAL");
    model.segments[number] = known;
    return expectText(textOf(result), "ok");
  }
  if (key !== 0 && (flags & IPC_CREAT) === 0) return expectErrno(result, "ENOENT");
  const most = isModern(model.rules) ? 2 ** 63 : MOST_BYTES_ONCE;
  if (sizeBytes < 1 || sizeBytes > most) return expectErrno(result, "EINVAL");
  // How many huge pages there are is the machine's business.
  if ((flags & SHM_HUGETLB) !== 0) return result.kind === "errno" ? undefined : `${textOf(result)}, expected an errno`;
  if (result.kind === "errno") return expectErrno(result, "ENOMEM");
  const made: FlatSegment = { key, sizeBytes, file: new FlatFile(sizeBytes, model.rules.userPages), isRemoved: false };
  model.segments[number] = made;
  if (key !== 0) model.segmentsByKey.set(key, made);
  return expectText(textOf(result), "ok");
};

export const attach: FlatCall = (model, process, args, result) => {
  const [number, asked, flags] = args as [number, number, number];
  const replaces = (flags & SHM_REMAP) !== 0;
  if (!isAligned(model.rules, asked) && (flags & SHM_RND) === 0) return expectErrno(result, "EINVAL");
  if (asked === 0 && replaces) return expectErrno(result, "EINVAL");
  const segment = segmentOf(model, number);
  // What 2.6.11 says of a number that another segment has by now, or none.
  if (segment === undefined) return expectErrno(result, "EINVAL", ...(isModern(model.rules) ? [] : ["EIDRM"]));
  const first = pageOf(asked - (asked % (model.rules.userPages * PAGE_SIZE)));
  const pages = pagesIn(model.rules, segment.sizeBytes);
  if (asked !== 0 && !replaces && !process.isFree(first, first + pages)) return expectErrno(result, "EINVAL");
  if (result.kind !== "address")
    return asked === 0 ? expectErrno(result, "ENOMEM") : `${textOf(result)}, expected page ${first}`;
  const start = pageOf(result.address);
  if (asked !== 0 && start !== first) return `attached at page ${start}, asked for ${first}`;
  if (asked === 0 && !process.isFree(start, start + pages)) return `attached at page ${start}, where something was`;
  const rights = ((flags & SHM_RDONLY) !== 0 ? 1 : 3) | ((flags & SHM_EXEC) !== 0 ? 4 : 0);
  const locked = process.lockFuture !== "no";
  process.unmap(start, start + pages);
  const page = newPage({
    rights,
    shared: true,
    mayWrite: (flags & SHM_RDONLY) === 0,
    file: segment.file,
    attachment: { segment },
    locked,
  });
  place(process, start, pages, page, 0);
  if (process.lockFuture === "at-once") populateWhatCan(process, start, start + pages);
  return undefined;
};

/** Whether a page lies where an attachment that starts at `base` would have put it. */
const isOf = (flat: FlatPage, page: Vpn, base: Vpn): boolean =>
  flat.attachment !== undefined && flat.linear === page - base;

export const detach: FlatCall = (model, process, args, result) => {
  const [address] = args as [number];
  if (!isAligned(model.rules, address)) return expectErrno(result, "EINVAL");
  const base = pageOf(address);
  const pages = [...process.pages.keys()].sort((one, other) => one - other);
  const found = pages.find((page) => page >= base && isOf(process.pages.get(page)!, page, base));
  if (found === undefined) return expectErrno(result, "EINVAL");
  const { attachment } = process.pages.get(found)!;
  const end = base + pagesIn(model.rules, attachment!.segment.sizeBytes);
  for (const page of pages) {
    const flat = process.pages.get(page)!;
    if (page < base || page >= end || !isOf(flat, page, base)) continue;
    if (flat.attachment === attachment || !isModern(model.rules)) process.unmap(page, page + 1);
  }
  return expectText(textOf(result), "0");
};

export const removeSegment: FlatCall = (model, _process, args, result) => {
  const segment = segmentOf(model, args[0]!);
  if (segment === undefined) return expectErrno(result, "EINVAL", ...(isModern(model.rules) ? [] : ["EIDRM"]));
  model.segmentsByKey.delete(segment.key);
  segment.isRemoved = true;
  return expectText(textOf(result), "0");
};
