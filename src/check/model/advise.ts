/** The flat model of madvise: of all advice, little shows. */
import { PAGE_SIZE, pageOf, type Vpn } from "../../base/units.ts";
import { breakSharing, type FlatPage, type FlatProcess, isBeyondEnd, PROT_READ, PROT_WRITE } from "./flat-memory.ts";
import { expectErrno, type FlatCall, isAligned, isModern, isSince617, pagesIn, textOf } from "./flat-model.ts";
import { cutsHuge, giveBackHuge, hugeArea, hugeUnit, isolateHuge, mayLackPage } from "./huge.ts";

const MADV_WILLNEED = 3;
const MADV_DONTNEED = 4;
const MADV_FREE = 8;
const MADV_REMOVE = 9;
const MADV_DONTFORK = 10;
const MADV_DOFORK = 11;
const MADV_WIPEONFORK = 18;
const MADV_KEEPONFORK = 19;
const MADV_COLD = 20;
const MADV_PAGEOUT = 21;
const MADV_POPULATE_READ = 22;
const MADV_POPULATE_WRITE = 23;
const MADV_DONTNEED_LOCKED = 24;

const knownIn26 = [0, 1, 2, MADV_WILLNEED, MADV_DONTNEED];
const knownToday = [...knownIn26, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25];

/** What one page's part of the advice does: nothing, or an error that ends the call. */
type AdvisePage = (process: FlatProcess, page: Vpn, flat: FlatPage) => string | undefined;

const isPrivateAnonymous = ({ file, shared, huge }: FlatPage): boolean =>
  file === null && !shared && huge === undefined;

function drop(process: FlatProcess, page: Vpn): undefined {
  process.change(page, { own: null, mayBeFreed: false });
}

function populatePage(process: FlatProcess, page: Vpn, flat: FlatPage, forWrite: boolean): string | undefined {
  if (flat.rights === 0 || flat.file?.isDevice === true || (forWrite && (flat.rights & PROT_WRITE) === 0))
    return "EINVAL";
  if (!forWrite && (flat.rights & PROT_READ) === 0) return "EINVAL";
  if (isBeyondEnd(flat)) return "EFAULT";
  if (forWrite && !flat.shared) breakSharing(process, page);
  return undefined;
}

const advices: Readonly<Record<number, AdvisePage>> = {
  [MADV_DONTNEED]: (process, page, flat) => {
    if (flat.locked || flat.file?.isDevice === true) return "EINVAL";
    return flat.shared ? undefined : drop(process, page);
  },
  [MADV_DONTNEED_LOCKED]: (process, page, flat) => {
    if (flat.file?.isDevice === true) return "EINVAL";
    return flat.shared ? undefined : drop(process, page);
  },
  [MADV_FREE]: (process, page, flat) => {
    if (flat.locked || !isPrivateAnonymous(flat)) return "EINVAL";
    return void process.change(page, { mayBeFreed: flat.own !== null, writtenSince: new Set() });
  },
  [MADV_REMOVE]: (_process, _page, flat) => {
    if (flat.locked || (flat.file === null && flat.huge === undefined)) return "EINVAL";
    if (!flat.shared) return "EACCES";
    if (flat.file!.segment !== null) return "EOPNOTSUPP";
    return void flat.file!.clear(flat.index * PAGE_SIZE, (flat.index + 1) * PAGE_SIZE);
  },
  [MADV_DONTFORK]: (process, page) => void process.change(page, { forkRule: "skipped" }),
  [MADV_DOFORK]: (process, page) => void process.change(page, { forkRule: "copied" }),
  [MADV_WIPEONFORK]: (process, page, flat) =>
    isPrivateAnonymous(flat) ? void process.change(page, { forkRule: "wiped" }) : "EINVAL",
  [MADV_KEEPONFORK]: (process, page) => void process.change(page, { forkRule: "copied" }),
  [MADV_COLD]: (_process, _page, { locked }) => (locked ? "EINVAL" : undefined),
  [MADV_PAGEOUT]: (_process, _page, { locked }) => (locked ? "EINVAL" : undefined),
  [MADV_POPULATE_READ]: (process, page, flat) => populatePage(process, page, flat, false),
  [MADV_POPULATE_WRITE]: (process, page, flat) => populatePage(process, page, flat, true),
};

const dropsPages = (advice: number): boolean => advice === MADV_DONTNEED || advice === MADV_DONTNEED_LOCKED;
const changesForks = (advice: number, { forkRule }: FlatPage): boolean =>
  (advice === MADV_DONTFORK && forkRule !== "skipped") || (advice === MADV_DOFORK && forkRule === "skipped");

/** 2.6.11 has nothing to read ahead where there is no file. */
const willNeed = ({ file }: FlatPage): string | undefined => (file === null ? "EBADF" : undefined);

export const advise: FlatCall = (model, process, args, result) => {
  const [address, lengthBytes, advice] = args as [number, number, number];
  const modern = isModern(model.rules);
  if (!isAligned(model.rules, address)) return expectErrno(result, "EINVAL");
  const first = pageOf(address);
  const end = first + pagesIn(model.rules, lengthBytes);
  const known = (modern ? knownToday : knownIn26).includes(advice);
  // 2.6.11 looks at the advice area by area, so that with no area it never does.
  if (!known && (modern || !process.isFree(first, end))) return expectErrno(result, "EINVAL");
  const populates = advice === MADV_POPULATE_READ || advice === MADV_POPULATE_WRITE;
  const stopsAtHoles = populates && isSince617(model.rules);
  if (dropsPages(advice) && cutsHuge(model, process, first)) return expectErrno(result, "EINVAL");
  // Up to there the huge pages of one area change, none of which is cut.
  let whole = first;
  let hole = false;
  for (let page = first; page < end; page++) {
    const flat = process.pages.get(page);
    if (flat === undefined) {
      hole ||= !process.isMapped(page);
      if (hole && stopsAtHoles) break;
      continue;
    }
    // Nobody punches holes in nonlinear areas; which pages share their area only the kernel knows.
    if (advice === MADV_REMOVE && flat.unordered && textOf(result) === "EINVAL") return undefined;
    if (flat.huge !== undefined) {
      if (changesForks(advice, flat) && page >= whole) {
        whole = Math.min(hugeArea(process, page).end, end);
        if (cutsHuge(model, process, page) || cutsHuge(model, process, whole)) return expectErrno(result, "EINVAL");
        isolateHuge(process, page, whole);
      }
      if (dropsPages(advice) && page >= end - (end % hugeUnit(model))) continue;
      if (populates && result.kind === "errno" && result.errno === "EFAULT" && mayLackPage(flat)) return undefined;
      if (advice === MADV_REMOVE || (dropsPages(advice) && !flat.shared)) giveBackHuge(model, process, page, flat);
    }
    const error = !modern && advice === MADV_WILLNEED ? willNeed(flat) : advices[advice]?.(process, page, flat);
    if (error !== undefined) return expectErrno(result, error);
  }
  if (hole) return expectErrno(result, "ENOMEM");
  // Advice that only concerns speed may be refused for a kind of area.
  return undefined;
};
