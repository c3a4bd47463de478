/**
 * Nothing is kept, and nothing need be: what maps a segment is shared, or can never be written, so that every entry is
 * raw. A private mapping can be made writable by mprotect at any time, and is refused however it begins.
 *
 * Cost: none. Price: no private mappings, and so no programs executed in place whose data are written.
 *
 * @models linux-2.6.20 mm/memory.c do_no_pfn (BUG_ON is_cow_mapping), as a rule for all
 * @differs mmap fails with EINVAL, where the kernel would stop at the first fault
 */
import { EINVAL } from "../../base/errno.ts";
import { isCopyOnWrite } from "../vma.ts";
import { RawMappings, type RawRegion } from "./pfn-mappings.ts";
import type { SegmentFile } from "./segments.ts";

export class RefuseCow extends RawMappings {
  normalPage(): boolean {
    return false;
  }

  /** A driver that fills by nopfn is not asked at mmap: its faults end in SIGBUS. */
  override refuses(file: SegmentFile, { flags }: RawRegion): number {
    return isCopyOnWrite(flags) && file.way !== "nopfn" ? -EINVAL : 0;
  }

  override mayFill(vma: { readonly flags: number }): boolean {
    return !isCopyOnWrite(vma.flags);
  }
}
