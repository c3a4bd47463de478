/**
 * An entry is raw if it names the frame that the formula gives for its place: the area's index at its start is a frame
 * number, and grows by one a page. A copy never lies there, since the allocator has no frame of a segment.
 *
 * Cost: none. Price: a private area must be mapped whole, at once, from consecutive frames; a file in pieces, or a driver
 * that is asked for each page, cannot have one. Splitting and moving keep the rule, because the index moves along.
 *
 * @models linux-2.6.20 mm/memory.c vm_normal_page, remap_pfn_range
 */
import { EINVAL } from "../../base/errno.ts";
import type { Vpn } from "../../base/units.ts";
import type { OpenTable } from "../../hw/pte.ts";
import type { Kernel } from "../kernel.ts";
import { isCopyOnWrite, type Vma } from "../vma.ts";
import { frameByFormula, RawMappings, type RawRegion } from "./pfn-mappings.ts";
import type { SegmentFile } from "./segments.ts";

export class LinearRule extends RawMappings {
  normalPage({ entries }: Kernel, vma: Vma, page: Vpn, table: OpenTable, index: number): boolean {
    return isCopyOnWrite(vma.flags) && entries.frame(table, index) !== frameByFormula(vma, page);
  }

  override refuses(file: SegmentFile, { flags, first, end }: RawRegion): number {
    if (!isCopyOnWrite(flags) || file.way === "nopfn") return 0;
    return file.isConsecutive(first, end) ? 0 : -EINVAL;
  }

  override countsFrames(vma: Vma): boolean {
    return isCopyOnWrite(vma.flags) && vma.file?.raw?.way !== "nopfn";
  }

  override mapsAtOnce(vma: Vma): boolean {
    return vma.file?.raw?.way === "remap" || this.countsFrames(vma);
  }

  override mayFill(vma: Vma): boolean {
    return !isCopyOnWrite(vma.flags);
  }
}
