/**
 * One area becomes two, alike but for their range.
 *
 * @models linux-6.1 mm/mmap.c split_vma, __split_vma
 */
import { ENOMEM } from "../base/errno.ts";
import type { Vpn } from "../base/units.ts";
import type { Kernel } from "./kernel.ts";
import { cutHuge } from "./thp/huge-entries.ts";
import { VM_BIG, type Vma } from "./vma.ts";
import { copyVmaRange, forgetVma, insertVma, resizeVma } from "./vma-memory.ts";

/** Splits `vma` at `page` unless its address space has all the areas it may have; 0, -ENOMEM, or -EINVAL within a big page. */
export function splitVma(kernel: Kernel, vma: Vma, page: Vpn, newPart: "below" | "above"): number {
  if (vma.mm.vmas.count >= kernel.tunables.maxMapCount) return -ENOMEM;
  return splitBeyondLimit(kernel, vma, page, newPart);
}

/** The same, where one area above the limit does no harm: it is about to go. */
export function splitBeyondLimit(kernel: Kernel, vma: Vma, page: Vpn, newPart: "below" | "above"): number {
  const refused = (vma.flags & VM_BIG) === 0 ? 0 : kernel.bigPages.refusesCut(kernel, vma, page);
  if (refused < 0) return refused;
  const [start, end] = newPart === "below" ? [vma.start, page] : [page, vma.end];
  const part = copyVmaRange(kernel, vma.mm, vma, start, end);
  if (part === null) return -ENOMEM;
  part.anonVma = vma.anonVma;
  if (kernel.anonVmas.clone(part, vma) < 0) {
    forgetVma(kernel, part);
    return -ENOMEM;
  }
  cutHuge(kernel, vma, page);
  if (newPart === "below") resizeVma(vma, page, vma.end, vma.indexAt(page));
  else resizeVma(vma, vma.start, page, vma.fileIndex);
  insertVma(part);
  return 0;
}
