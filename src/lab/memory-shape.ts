/** In what pieces memory is: how much of it large entries map, and how much of what is free lies together. Shares are per cent. */
import type { MemorySnapshot } from "./snapshot.ts";

/** Of the anonymous memory that is resident, what entries above the leaf tables map; undefined where none is resident. */
export function hugeCoverage({ anonymousByPageSize }: Pick<MemorySnapshot, "anonymousByPageSize">): number | undefined {
  let all = 0;
  let huge = 0;
  for (const [at, { bytes }] of anonymousByPageSize.entries()) {
    all += bytes;
    if (at > 0) huge += bytes;
  }
  return all === 0 ? undefined : (huge * 100) / all;
}

/**
 * Of what the buddy system has, how much lies in blocks of 2^order pages and more: 100 less the unusable free space index.
 *
 * @models linux-6.1 mm/vmstat.c fill_contig_page_info, unusable_free_index
 */
export function freeContiguity(freeBlocksByOrder: readonly number[], order: number): number | undefined {
  let all = 0;
  let together = 0;
  for (const [at, blocks] of freeBlocksByOrder.entries()) {
    all += blocks * 2 ** at;
    if (at >= order) together += blocks * 2 ** at;
  }
  return all === 0 ? undefined : (together * 100) / all;
}
