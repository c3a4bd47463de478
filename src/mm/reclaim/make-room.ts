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

/** How often in a row somebody tries again though nothing was freed, because there is room for what failed last (MAX_RECLAIM_RETRIES). */
const EMPTY_ROUNDS = 16;

/** Frees memory for a request that has failed. False: it fails for good. May sleep. */
export function* makeRoom(kernel: Kernel, request: ReclaimRequest): Path<boolean> {
  const { task } = kernel.current;
  if (task.freesMemory) return false;
  task.freesMemory = true;
  let freed = freeIdle(kernel);
  if (kernel.tlbFlush.owes) yield* kernel.tlbFlush.settle();
  if (freed === 0) freed = yield* kernel.tableDiscard.discardTables(kernel, request.want);
  if (freed === 0) freed = yield* kernel.reclaim.freePages(kernel, request);
  task.freesMemory = false;
  // Others may have freed some. But who needs several frames, and gives back the first when there is no second, finds
  // room for one each time.
  const tries = freed > 0 || kernel.allocator.hasRoom(request.order, request.want);
  task.emptyRounds = freed > 0 || !tries ? 0 : task.emptyRounds + 1;
  if (tries && task.emptyRounds <= EMPTY_ROUNDS) return true;
  task.emptyRounds = 0;
  return request.order <= COSTLY_ORDER && (yield* killForMemory(kernel));
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
