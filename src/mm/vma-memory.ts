/** Making areas and freeing them: their memory, and what keeps their file and their anon_vma. */
import type { FileIndex, Vpn } from "../base/units.ts";
import type { AddressSpace } from "./address-space.ts";
import { type FileObject, linkMapping, type OpenFile, unlinkMapping } from "./file.ts";
import { holdFile, releaseFile } from "./file-lifetime.ts";
import type { Kernel } from "./kernel.ts";
import { VM_BIG, Vma } from "./vma.ts";

/** What a new area is, except where. */
export interface Backing {
  readonly file: FileObject | null;
  readonly opened: OpenFile | null;
  /** The index of its first page. */
  readonly fileIndex: FileIndex;
}

/** A new area that is in no set yet; null if there is no memory for it. */
export function createVma(
  kernel: Kernel,
  mm: AddressSpace,
  start: Vpn,
  end: Vpn,
  flags: number,
  backing: Backing,
): Vma | null {
  if (kernel.slabs.vmas.allocate() < 0) return null;
  if (backing.file !== null) holdFile(backing.file);
  return new Vma(mm, start, end, flags, backing.file, backing.fileIndex, backing.opened);
}

/** A copy of `[start, end)` of `vma` for `mm`, in no set and on no anon_vma's list yet; null if there is no memory. */
export function copyVmaRange(kernel: Kernel, mm: AddressSpace, vma: Vma, start: Vpn, end: Vpn): Vma | null {
  const { file, opened } = vma;
  const copy = createVma(kernel, mm, start, end, vma.flags, { file, opened, fileIndex: vma.indexAt(start) });
  // What huge pages were promised stays with who made the area.
  if (copy !== null && mm === vma.mm) {
    copy.privatePromise = vma.privatePromise;
    copy.isRobbed = vma.isRobbed;
  }
  return copy;
}

/** Puts `vma` into its address space and on its file's list. */
export function insertVma(vma: Vma): void {
  vma.mm.vmas.insert(vma);
  linkMapping(vma);
}

/** Takes `vma` out of its address space; it stays on its file's list, where a truncation may still find its pages. */
export function detachVma(vma: Vma): void {
  vma.mm.vmas.remove(vma);
}

/** The end of an area that is in no set any more, and maps nothing. */
export function freeVma(kernel: Kernel, vma: Vma): void {
  kernel.anonVmas.unlink(vma);
  unlinkMapping(vma);
  if ((vma.flags & VM_BIG) !== 0) kernel.bigPages.closed(kernel, vma);
  forgetVma(kernel, vma);
}

/** The end of an area that never was on a list. */
export function forgetVma(kernel: Kernel, vma: Vma): void {
  if (vma.file !== null) releaseFile(kernel, vma.file);
  kernel.slabs.vmas.free();
}

/** Changes the bounds of an area that may be on its file's list. */
export function resizeVma(vma: Vma, start: Vpn, end: Vpn, fileIndex: FileIndex): void {
  unlinkMapping(vma);
  vma.mm.vmas.resize(vma, start, end);
  vma.fileIndex = fileIndex;
  linkMapping(vma);
}

/** Moves the boundary between two areas that touch. */
export function shiftBoundary(lower: Vma, upper: Vma, boundary: Vpn): void {
  unlinkMapping(lower);
  unlinkMapping(upper);
  const index = upper.indexAt(boundary);
  lower.mm.vmas.moveBoundary(lower, upper, boundary);
  upper.fileIndex = index;
  linkMapping(lower);
  linkMapping(upper);
}
