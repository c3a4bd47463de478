/** Pages sent to swap by hand, for tests: as reclaim does it, but exactly the page that a test is about. */
import { bug } from "../../base/errors.ts";
import type { Pfn, SwapSlot, Vpn } from "../../base/units.ts";
import type { OpenTable } from "../../hw/pte.ts";
import type { FileObject } from "../file.ts";
import { PG_SWAPCACHE } from "../frames.ts";
import { tryLockPage, unlockPage } from "../page-lock.ts";
import { LEAF } from "../page-table.ts";
import type { Thread } from "../process.ts";
import { tryToUnmap } from "../reclaim/try-to-unmap.ts";
import type { TestKernel } from "../test-kernel.ts";
import { writeShmem } from "./shmem-swap.ts";
import { addToSwap, removeFromSwapCache, slotOfEntry, writeSwap } from "./swap-cache.ts";

/** The page that `thread` maps at `page` goes to swap, and stays in the swap cache; its frame. */
export function swapOut(test: TestKernel, page: Vpn, thread: Thread = test.thread): Pfn {
  const { kernel } = test;
  const { frame } = test.entry(page, thread);
  if (!tryLockPage(kernel, frame)) bug(`frame ${frame} is locked`);
  kernel.frames.addReference(frame);
  if (!kernel.frames.has(frame, PG_SWAPCACHE) && addToSwap(kernel, frame) < 0) bug(`frame ${frame} gets no slot`);
  const unmapped = test.run(tryToUnmap(kernel, frame, { locked: "override" }));
  if (unmapped !== "all") bug(`frame ${frame} stays mapped: ${unmapped}`);
  test.run(writeSwap(kernel, frame));
  kernel.allocator.release(frame);
  return frame;
}

/** The same for a page of a shmem file. */
export function swapOutOfFile(test: TestKernel, file: FileObject, index: number): Pfn {
  const { kernel } = test;
  const frame = file.pages.find(index);
  if (!tryLockPage(kernel, frame)) bug(`frame ${frame} is locked`);
  kernel.frames.addReference(frame);
  if (kernel.frames.mapCount.read(frame) > 0) test.run(tryToUnmap(kernel, frame, { locked: "override" }));
  if (writeShmem(kernel, file, frame) < 0) bug(`page ${index} gets no slot`);
  if (!tryLockPage(kernel, frame)) bug(`frame ${frame} is locked`);
  test.run(writeSwap(kernel, frame));
  kernel.allocator.release(frame);
  return frame;
}

/** A clean page leaves the swap cache, and memory. */
export function evict(test: TestKernel, frame: Pfn): void {
  const { kernel } = test;
  if (!tryLockPage(kernel, frame)) bug(`frame ${frame} is locked`);
  kernel.frames.addReference(frame);
  removeFromSwapCache(kernel, frame);
  unlockPage(kernel, frame);
  kernel.allocator.release(frame);
}

/** The slot that the entry of `page` names. */
export function slotAt({ kernel, thread }: TestKernel, page: Vpn, mm = thread.mm): SwapSlot {
  const { tables } = kernel;
  return slotOfEntry(kernel, tables.tableAt(mm, page, LEAF) as OpenTable, tables.indexAt(page, LEAF));
}

/** Writes a value to the page, as its program would. */
export function put(test: TestKernel, page: Vpn, value: number, thread: Thread = test.thread): void {
  if (test.store(page, thread) !== 0) bug(`page ${page} cannot be written`);
  test.kernel.memory.write(test.entry(page, thread).frame, 0, value);
}

/** The value that the page's program reads there. */
export function get(test: TestKernel, page: Vpn, thread: Thread = test.thread): number {
  if (test.load(page, thread) !== 0) bug(`page ${page} cannot be read`);
  return test.kernel.memory.read(test.entry(page, thread).frame, 0);
}
