/**
 * The move of mremap: a new area at the new place (or a neighbour there that grows), the entries moved to it, the old
 * place unmapped.
 *
 * @models linux-6.1 mm/mremap.c move_vma; mm/mmap.c copy_vma
 * @differs 6.18 goes on counting a locked area that keeps its place (MREMAP_DONTUNMAP) as locked
 */

import { ENOMEM } from "../base/errno.ts";
import type { Vpn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { account } from "./accounting.ts";
import type { Kernel } from "./kernel.ts";
import { type MergeRange, mergeVma } from "./merge.ts";
import { movePages } from "./move-pages.ts";
import { splitVma } from "./split.ts";
import { ownTables } from "./tables/sharing/unshare.ts";
import { unmap } from "./unmap.ts";
import { anonymousIndex, VM_ACCOUNT, VM_BIG, VM_LOCKED, VM_LOCKONFAULT, type Vma } from "./vma.ts";
import { copyVmaRange, forgetVma, insertVma } from "./vma-memory.ts";

export const MREMAP_MAYMOVE = 1;
export const MREMAP_FIXED = 2;
export const MREMAP_DONTUNMAP = 4;

/** What mremap was asked for, checked, in pages. `to` is the place asked for: binding with MREMAP_FIXED, else a hint. */
export interface Remap {
  readonly from: Vpn;
  readonly oldPages: number;
  readonly newPages: number;
  readonly flags: number;
  readonly to: Vpn;
}

/** Where a move stands: the area that has the old place may become the very one that has the new. */
interface Move {
  readonly source: Vma;
  readonly target: Vma;
}

/** The page where the mapping is now, or -ENOMEM with nothing moved. */
export function* moveArea(kernel: Kernel, vma: Vma, remap: Remap): Path<Vpn> {
  const { from, oldPages, newPages, to } = remap;
  const { mm, flags } = vma;
  const keepsOld = (remap.flags & MREMAP_DONTUNMAP) !== 0;
  if (mm.vmas.count >= kernel.tunables.maxMapCount - 3) return -ENOMEM;
  const cutsOut = keepsOld && kernel.personality.leavesUnlocked === "part" && (flags & VM_LOCKED) !== 0;
  if ((yield* ownTables(kernel, mm, from, from + oldPages)) < 0) return -ENOMEM;
  if ((yield* ownTables(kernel, mm, to, to + newPages)) < 0) return -ENOMEM;
  if (cutsOut && !cutOut(kernel, vma, from, from + oldPages)) return -ENOMEM;
  const unlocks = keepsOld && (flags & VM_LOCKED) !== 0;
  if (unlocks && (yield* kernel.mlock.unlock(kernel, vma, vma.start, vma.end)) < 0) return -ENOMEM;
  const charged = (flags & VM_ACCOUNT) === 0 ? 0 : keepsOld ? newPages : newPages - oldPages;
  if (charged > 0 && kernel.commitment.charge(charged, mm) < 0) return -ENOMEM;
  if (charged < 0) kernel.commitment.uncharge(-charged);

  const move = makeTarget(kernel, vma, remap, keepsOld);
  if (move === null) {
    kernel.commitment.uncharge(charged);
    return -ENOMEM;
  }
  const { source, target } = move;
  const moved = yield* movePages(kernel, source, from, target, to, oldPages);
  if (moved < oldPages) {
    // Their tables are still there, so they all go back; then the new place is unmapped instead of the old one.
    yield* movePages(kernel, target, to, source, from, moved);
    account(mm, flags, newPages);
    if ((flags & VM_LOCKED) !== 0) mm.lockedPages += newPages;
    yield* unmap(kernel, mm, to, to + newPages);
    // That took back what was promised for the new place, which was promised only as far as the old one was short.
    if ((flags & VM_ACCOUNT) !== 0 && !keepsOld) kernel.commitment.chargeAnyway(oldPages);
    return -ENOMEM;
  }
  account(mm, flags, newPages);
  if (keepsOld) {
    // The whole old area is unlocked, and the new place is locked instead.
    if ((flags & VM_LOCKED) !== 0) mm.lockedPages -= source.pages - newPages;
    if (source === target) unlock(source);
    else emptySource(kernel, source, from, oldPages);
    return to;
  }
  yield* dropOld(kernel, source, from, oldPages);
  if ((flags & VM_LOCKED) !== 0) mm.lockedPages += newPages;
  return to;
}

/** Makes area boundaries of both ends. */
function cutOut(kernel: Kernel, vma: Vma, start: Vpn, end: Vpn): boolean {
  if (vma.start !== start && splitVma(kernel, vma, start, "below") < 0) return false;
  return vma.end === end || splitVma(kernel, vma, end, "above") >= 0;
}

/** The area for the new place: a neighbour there, or a copy of `vma`. */
function makeTarget(kernel: Kernel, vma: Vma, remap: Remap, keepsOld: boolean): Move | null {
  const { from, newPages, to } = remap;
  const { mm, anonVma, file, opened, flags } = vma;
  const untouched = file === null && anonVma === null;
  // Nothing was ever written there: the index may follow the place, which makes merging likelier.
  const fileIndex = untouched ? anonymousIndex(to) : vma.indexAt(from);
  const range: MergeRange = { start: to, end: to + newPages, flags, anonVma, source: vma, file, opened, fileIndex };
  const touchesSelf = to === vma.end || vma.start === to + newPages;
  const mayJoinSelf = kernel.personality.leavesUnlocked === "area";
  if (mayJoinSelf || !(keepsOld && untouched && touchesSelf)) {
    const merged = mergeVma(kernel, mm, mm.vmas.before(to), range);
    if (merged !== null) return { source: merged.contains(from) ? merged : vma, target: merged };
  }
  const copy = copyVmaRange(kernel, mm, vma, to, to + newPages);
  if (copy === null) return null;
  copy.fileIndex = fileIndex;
  copy.anonVma = anonVma;
  if (kernel.anonVmas.clone(copy, vma) < 0) {
    forgetVma(kernel, copy);
    return null;
  }
  insertVma(copy);
  return { source: vma, target: copy };
}

/** MREMAP_DONTUNMAP: the old place stays, with nothing in it and nothing locked. */
function emptySource(kernel: Kernel, source: Vma, from: Vpn, pages: number): void {
  unlock(source);
  if (source.start !== from || source.end !== from + pages) return;
  kernel.anonVmas.unlink(source);
  if (source.file === null) source.fileIndex = anonymousIndex(source.start);
}

function unlock(source: Vma): void {
  source.flags &= ~(VM_LOCKED | VM_LOCKONFAULT);
}

/**
 * Unmaps the old place. What was promised for it is not taken back: the new place has taken it over. So the flag that
 * says that it counts is hidden meanwhile, and shown again on what is left of the old area.
 *
 * @differs if memory is too short to split, 6.1 leaves the flag hidden, and what was promised is never taken back
 */
function* dropOld(kernel: Kernel, source: Vma, from: Vpn, pages: number): Path<void> {
  // With no old pages, the old place was only mapped a second time.
  if (pages === 0) return;
  const { mm, start, end } = source;
  if ((source.flags & VM_BIG) !== 0) kernel.bigPages.moved(kernel, source, from, from + pages);
  const charged = (source.flags & VM_ACCOUNT) !== 0;
  source.flags &= ~VM_ACCOUNT;
  const unmapped = yield* unmap(kernel, mm, from, from + pages);
  if (!charged) return;
  if (unmapped < 0) kernel.commitment.chargeAnyway(pages);
  for (let vma = mm.vmas.intersecting(start, end); vma !== null && vma.start < end; vma = vma.above) {
    vma.flags |= VM_ACCOUNT;
  }
}
