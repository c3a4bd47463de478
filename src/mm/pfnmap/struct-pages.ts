/**
 * RawMemory have struct pages: whatever an entry names is a page, referenced, mapped and resident as a cached page of a file
 * is, which vm_insert_page puts there. There is nothing to tell apart.
 *
 * Cost: a struct page for each page of each segment in each guest that uses it, taken out of memory that is always
 * mapped: 0.8 to 1.4 % of what the segment was to save.
 *
 * @models linux-2.6.20 mm/memory.c vm_insert_page, insert_page
 * @differs the pages are on no list of reclaim: there is nowhere to write them to
 */
import type { Pfn, PteSlot } from "../../base/units.ts";
import type { FileObject } from "../file.ts";
import { PG_UPTODATE } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { mapShared } from "../mapped-frame.ts";
import type { Vma } from "../vma.ts";
import { RawMappings } from "./pfn-mappings.ts";
import type { SegmentFile } from "./segments.ts";

export class StructPages extends RawMappings {
  normalPage(): boolean {
    return true;
  }

  override countsFrames(): boolean {
    return false;
  }

  override enter(kernel: Kernel, vma: Vma, frame: Pfn, slot: PteSlot): number {
    return mapShared(kernel, vma, frame, slot);
  }

  /** One reference is the file's, so that no page is ever freed to the allocator. */
  override opened({ frames }: Kernel, file: FileObject, raw: SegmentFile): void {
    let index = 0;
    for (const { first, end } of raw.runs) {
      for (let frame = first; frame < end; frame++) {
        frames.refs.write(frame, 1);
        frames.flags.write(frame, PG_UPTODATE);
        frames.mapping.write(frame, file.id);
        frames.index.write(frame, index++);
      }
    }
  }

  override closed({ frames }: Kernel, raw: SegmentFile): void {
    for (const { first, end } of raw.runs) {
      for (let frame = first; frame < end; frame++) {
        frames.dropReference(frame);
        frames.flags.write(frame, 0);
        frames.mapping.write(frame, 0);
      }
    }
  }
}
