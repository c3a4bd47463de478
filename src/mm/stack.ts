/**
 * A stack grows down to the page that was touched below it, as far as its limits and its neighbour let it.
 *
 * @models linux-6.1 mm/mmap.c expand_downwards, acct_stack_growth
 * @models linux-2.6.11 mm/mmap.c expand_stack, acct_stack_growth
 * @differs the semaphore stays held for read, as in 2.6.11; 6.1 takes it for write meanwhile
 * @differs what an area without VM_ACCOUNT grows by is promised only for the moment; Linux never takes it back
 */
import { ENOMEM, EPERM } from "../base/errno.ts";
import { addressOf, PAGE_SIZE, type Vpn } from "../base/units.ts";
import type { Path } from "../sync/path.ts";
import { account, checkLockedLimit, mayExpand } from "./accounting.ts";
import { anonVmaPrepare } from "./anon-vma.ts";
import type { Kernel } from "./kernel.ts";
import { orWait } from "./mapped-frame.ts";
import { isAccessible, VM_ACCOUNT, VM_GROWSDOWN, VM_LOCKED, type Vma } from "./vma.ts";
import { resizeVma } from "./vma-memory.ts";

/** Makes `page`, below `vma`, part of it: 0 or -ERRNO. Requires: `vma` grows down. */
export function* expandStack(kernel: Kernel, vma: Vma, page: Vpn): Path<number> {
  if (addressOf(page) < kernel.tunables.mmapMinAddr) return -EPERM;
  const { mm, below } = vma;
  if (below !== null && (below.flags & VM_GROWSDOWN) === 0 && isAccessible(below)) {
    if (page - below.end < kernel.personality.stackGuardPages) return -ENOMEM;
  }
  const prepared = yield* orWait(kernel.allocator, () => (anonVmaPrepare(kernel, vma) < 0 ? null : vma));
  if (prepared === null) return -ENOMEM;
  const pages = vma.start - page;
  if (pages > vma.fileIndex || !mayGrow(kernel, vma, pages)) return -ENOMEM;
  if ((vma.flags & VM_LOCKED) !== 0) mm.lockedPages += pages;
  account(mm, vma.flags, pages);
  resizeVma(vma, page, vma.end, vma.fileIndex - pages);
  return 0;
}

/** Whether the limits allow it; if so, the memory is promised, as far as such an area's is. */
function mayGrow(kernel: Kernel, vma: Vma, pages: number): boolean {
  const { mm, flags } = vma;
  if (!mayExpand(kernel, mm, flags, pages)) return false;
  if ((vma.pages + pages) * PAGE_SIZE > mm.limits.stackBytes) return false;
  if (checkLockedLimit(mm, flags, pages) < 0) return false;
  if (kernel.commitment.charge(pages, mm) < 0) return false;
  if ((flags & VM_ACCOUNT) === 0) kernel.commitment.uncharge(pages);
  return true;
}
