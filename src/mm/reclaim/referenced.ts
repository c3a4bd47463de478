/**
 * Whether a page was used since the last look: by the kernel on somebody's behalf (PG_referenced), or through entries
 * that map it (their A bits). Looking clears what it finds. Entries of nonlinear areas that only a scan would find do
 * not count.
 *
 * @models linux-2.6.11 mm/rmap.c page_referenced, page_referenced_one
 * @differs A bits are cleared without page_table_lock, which clearing one bit of a word does not need
 */
import type { Pfn } from "../../base/units.ts";
import { PTE_ACCESSED } from "../../hw/pte.ts";
import { MEMORY } from "../address-space.ts";
import { PG_HEAD, PG_REFERENCED } from "../frames.ts";
import type { Kernel } from "../kernel.ts";
import { flushEntry } from "../tables/sharing/shared-entries.ts";
import { usesOfHuge } from "../thp/huge-reclaim.ts";

/**
 * How many ways of using the page have been taken since the last look. Other CPUs may be owed flushes afterwards:
 * `kernel.tlbFlush.settle` is the caller's.
 */
export function referenced(kernel: Kernel, frame: Pfn): number {
  return kernel.frames.has(frame, PG_HEAD) ? referencedHuge(kernel, frame) : referencedFrame(kernel, frame);
}

/** The same as `referenced` for all parts of a huge page. */
function referencedHuge(kernel: Kernel, head: Pfn): number {
  const { transparent } = kernel;
  let uses = usesOfHuge(kernel, head);
  for (let frame = head; frame < head + transparent.pages.pages; frame++) uses += referencedFrame(kernel, frame);
  return uses;
}

function referencedFrame(kernel: Kernel, frame: Pfn): number {
  const { frames, tables, entries, reverseMap, reclaim, personality } = kernel;
  kernel.current.task.watch?.touch(MEMORY, "write");
  let uses = 0;
  if (frames.has(frame, PG_REFERENCED)) {
    frames.clearFlag(frame, PG_REFERENCED);
    uses++;
  }
  if (frames.leafMaps(frame) === 0) return uses;
  reverseMap.forEachKnown(frame, (slot) => {
    reclaim.costs.entriesVisited++;
    const table = tables.open(entries.tableOf(slot));
    const index = entries.indexOf(slot);
    const flags = entries.flags(table, index);
    if ((flags & PTE_ACCESSED) !== 0) {
      entries.makeOld(table, index);
      if (personality.pages.flushesYoung) flushEntry(kernel, tables.mmOf(slot), tables.pageOf(slot), slot);
      uses++;
    }
    tables.close(table);
    return true;
  });
  reverseMap.collapse(frame);
  return uses;
}
