/**
 * What is left in the entry of a file's page that is unmapped, but not forgotten: nothing where the linear page was, since
 * a fault finds that by itself; its index where it was another.
 *
 * @models linux-2.6.11 mm/rmap.c try_to_unmap_cluster; mm/memory.c zap_pte_range
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import type { OpenTable } from "../../hw/pte.ts";
import type { Kernel } from "../kernel.ts";
import type { Vma } from "../vma.ts";

/** Clears the entry at `at`, that of `page`, which maps a page of the area's file; its place in the file stays known. */
export function clearFilePage(kernel: Kernel, table: OpenTable, at: number, vma: Vma, page: Vpn, frame: Pfn): void {
  const { entries, frames, counters } = kernel;
  const index = frames.indexOf(frame);
  if (index === vma.indexAt(page)) entries.clear(table, at);
  else {
    entries.setFile(table, at, index);
    counters.fileEntriesWritten++;
  }
}
