/**
 * Reclaim of pages that lie out of order, under a reverse map that cannot find them. The page that reclaim holds is not
 * searched for: instead each call goes a little further through the nonlinear areas of its file, 32 entries at a time, and
 * takes whatever is there and was not used lately. Sooner or later that is the page; the effort is its number of mappings.
 *
 *     area a   [ cluster | cluster | cluster ...        each area keeps where the last call ended;
 *     area b   [ cluster | cluster | ...                who has fallen behind comes first; after the last they all restart
 *
 * @models linux-2.6.11 mm/rmap.c try_to_unmap_file, try_to_unmap_cluster
 */
import type { Pfn, Vpn } from "../../base/units.ts";
import { type OpenTable, PTE_ACCESSED, PTE_DIRTY, PTE_PRESENT } from "../../hw/pte.ts";
import type { Path } from "../../sync/path.ts";
import type { FileMappings } from "../file-mappings.ts";
import { setFrameDirty } from "../file-pages.ts";
import type { Kernel } from "../kernel.ts";
import { unmapFrame } from "../mapped-frame.ts";
import { LEAF, NO_TABLE } from "../page-table.ts";
import { giveTableRoom, takeTableRoom } from "../table-lock.ts";
import { freeEmptied, listEmptied } from "../tables/emptied.ts";
import { VM_LOCKED, type Vma } from "../vma.ts";
import { clearFilePage } from "./file-entries.ts";

/** Pages that are looked at together. */
const CLUSTER = 32;

/**
 * Unmaps some pages of the file that `frame` belongs to; the page itself may or may not be among them. "refused": all its
 * nonlinear areas are locked; if it has none, the page is mapped by areas that are being unmapped. Requires: the page is locked, and in its file. No spinlock is held.
 */
export function* scanClusters(kernel: Kernel, frame: Pfn): Path<"again" | "refused"> {
  const { frames, files } = kernel;
  const { mappings } = files.byId(frames.mapping.read(frame));
  if (mappings.nonlinear.size === 0) return "again";
  const areas = [...mappings.nonlinear].filter(({ flags }) => (flags & VM_LOCKED) === 0);
  if (areas.length === 0) return "refused";
  let effort = frames.mapCount.read(frame);
  const longest = Math.ceil(Math.max(...areas.map(({ pages }) => pages)) / CLUSTER) * CLUSTER;
  const furthest = Math.max(...areas.map(({ cursor }) => cursor));
  for (let limit = furthest === 0 ? CLUSTER : furthest; limit <= longest; limit += CLUSTER) {
    for (const vma of areas) {
      while (vma.cursor < limit && vma.cursor < vma.pages && vma.mm.residentPages > 0) {
        effort -= yield* unmapCluster(kernel, mappings, vma);
        vma.cursor += CLUSTER;
        if (effort <= 0) return "again";
      }
      vma.cursor = limit;
    }
  }
  for (const vma of areas) vma.cursor = 0;
  return "again";
}

/** How many pages of the cluster at the area's cursor could be unmapped. */
function* unmapCluster(kernel: Kernel, mappings: FileMappings, vma: Vma): Path<number> {
  const { tables, tlbFlush, allocator, current } = kernel;
  if (tables.takesRoom) yield* takeTableRoom(kernel);
  const unmapped: Pfn[] = [];
  const emptied: Pfn[] = [];
  if (vma.mm.pageTableLock.attempt(current.task)) {
    const start = Math.floor((vma.start + vma.cursor) / CLUSTER) * CLUSTER;
    // The area may have left the file while this waited.
    const end = mappings.has(vma) ? Math.min(start + CLUSTER, vma.end) : start;
    unmapIdle(kernel, vma, Math.max(start, vma.start), end, unmapped);
    if (unmapped.length > 0) listEmptied(kernel, vma.mm, start, emptied);
    if (tlbFlush.owes) yield* tlbFlush.settle();
    freeEmptied(kernel, emptied);
    vma.mm.pageTableLock.release(current.task);
  } else kernel.reclaim.costs.trylocksFailed++;
  if (tables.takesRoom) giveTableRoom(kernel);
  allocator.releaseAll(unmapped);
  return unmapped.length;
}

/** Unmaps the pages of `[first, end)`, all in one leaf table, that were not used since the last look; adds them to `unmapped`. */
function unmapIdle(kernel: Kernel, vma: Vma, first: Vpn, end: Vpn, unmapped: Pfn[]): void {
  const { tables, entries, counters, reclaim } = kernel;
  const table = first < end ? tables.openLeaf(vma.mm, first) : NO_TABLE;
  if (table === NO_TABLE) return;
  let at = tables.indexAt(first, LEAF);
  for (let page = first; page < end; page++, at++) {
    counters.clusterEntriesScanned++;
    reclaim.costs.entriesVisited++;
    const flags = entries.flags(table, at);
    if ((flags & PTE_PRESENT) === 0) continue;
    if ((flags & PTE_ACCESSED) !== 0) {
      entries.makeOld(table, at);
      if (kernel.personality.pages.flushesYoung) kernel.tlbFlush.page(vma.mm, page);
    } else unmapped.push(unmapOne(kernel, vma, page, table, at));
  }
  tables.close(table);
  reclaim.costs.entriesUnmapped += unmapped.length;
}

function unmapOne(kernel: Kernel, vma: Vma, page: Vpn, table: OpenTable, at: number): Pfn {
  const { entries, frames } = kernel;
  const frame = entries.frame(table, at);
  const head = frames.head(frame);
  if ((entries.flags(table, at) & PTE_DIRTY) !== 0) setFrameDirty(kernel, vma.file, head);
  clearFilePage(kernel, table, at, vma, page, frame);
  unmapFrame(kernel, vma, frame, entries.slotOf(table, at));
  kernel.tlbFlush.page(vma.mm, page);
  return head;
}
