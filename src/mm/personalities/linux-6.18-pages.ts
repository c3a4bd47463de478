/** What Linux 6.18 does with pages: as 6.1, but for clean pages, realigned moves and tables that empty. */
import { PTE_DIRTY, PTE_PROT_NONE } from "../../hw/pte.ts";
import { PG_ANON, PG_EXCLUSIVE } from "../frames.ts";
import type { PagePolicy } from "../page-policy.ts";
import { VM_SHARED } from "../vma.ts";
import { pages61 } from "./linux-6.1-pages.ts";

/** @models linux-6.18 mm/mprotect.c can_change_private_pte_writable, can_change_shared_pte_writable */
export const pages618: PagePolicy = {
  ...pages61,
  mayMakeWritable(frames, vma, frame, flags) {
    if ((flags & PTE_PROT_NONE) !== 0) return false;
    if ((vma.flags & VM_SHARED) !== 0) return (flags & PTE_DIRTY) !== 0;
    return frames.has(frame, PG_ANON | PG_EXCLUSIVE);
  },
  moves: "realigned-tables",
  dontNeedFrees: "empty-tables",
};
