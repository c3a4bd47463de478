/**
 * Who frees memory, and when: kswapd, once an allocation has found a zone below its low mark; the allocation itself, once
 * zones are down to their minimum; and, when there is nothing to be had, whoever is killed for it. What happens then is
 * the strategy's business. Reclaim may need a little memory to free more: it takes the last there is, and never waits
 * for itself.
 *
 * @models linux-2.6.11 mm/page_alloc.c __alloc_pages (from "nopage" on); include/linux/sched.h PF_MEMALLOC
 */
import type { Path } from "../../sync/path.ts";
import type { Kernel } from "../kernel.ts";
import { freeIdle } from "../thp/huge-reclaim.ts";
import { killForMemory } from "./oom-kill.ts";
import type { ReclaimRequest } from "./reclaim.ts";

/** Blocks of a larger order are not worth a life (PAGE_ALLOC_COSTLY_ORDER). */
const COSTLY_ORDER = 3;

/**
 * Frees memory for a request that has failed, until so many frames could be had like it, or there is nothing more to be
 * freed: then somebody is killed. False: it fails for good. May sleep.
 */
export function* makeRoom(kernel: Kernel, request: ReclaimRequest, frames: number): Path<boolean> {
  const { task } = kernel.current;
  if (task.freesMemory) return false;
  const isCostly = request.order > COSTLY_ORDER;
  let freed: number;
  do freed = yield* freeSome(kernel, request);
  while (freed > 0 && !isCostly && !kernel.allocator.hasRoom(request, frames));
  if (freed > 0 || kernel.allocator.hasRoom(request, frames)) return true;
  return !isCostly && (yield* killForMemory(kernel));
}

/** Frees some tables, or else some pages, for such a request; how many. Zero: there is nothing to be had. May sleep. */
export function* freeSome(kernel: Kernel, request: ReclaimRequest): Path<number> {
  const { task } = kernel.current;
  task.freesMemory = true;
  let freed = freeIdle(kernel);
  if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
  if (freed === 0) freed = yield* kernel.tableDiscard.discardTables(kernel, request.want);
  if (freed === 0) freed = yield* kernel.reclaim.freePages(kernel, request);
  // Tables that were in use have had their chance: they are old now, and go before anybody is killed.
  if (freed === 0) freed = yield* kernel.tableDiscard.discardTables(kernel, request.want);
  task.freesMemory = false;
  return freed;
}

/** kswapd's turn: it goes on until zones are above their high marks, or there is nothing to be had. */
export function* runKswapd(kernel: Kernel): Path<void> {
  const { task } = kernel.current;
  task.freesMemory = true;
  freeIdle(kernel);
  if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
  for (const zone of kernel.allocator.zones) {
    // Tables first: what they map stays in its file's cache.
    while (
      zone.managed > 0 &&
      zone.free <= zone.high &&
      (yield* kernel.tableDiscard.discardTables(kernel, zone.kind)) > 0
    );
  }
  yield* kernel.reclaim.balance(kernel);
  task.freesMemory = false;
}
