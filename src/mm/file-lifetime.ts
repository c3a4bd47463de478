/** How files come and go: shared memory is made by the call that maps it, and a nameless file goes with its last user. */
import { bug } from "../base/errors.ts";
import { PAGE_SIZE } from "../base/units.ts";
import { putHuge } from "./bigpages/huge-file.ts";
import type { FileObject } from "./file.ts";
import { dropPages } from "./file-pages.ts";
import type { Kernel } from "./kernel.ts";
import { destroySegmentFile } from "./pfnmap/segment-files.ts";
import { dropSwapped } from "./swap/shmem-swap.ts";

/**
 * A nameless shmem file behind shared anonymous memory, with no reference yet. Null, and nothing promised, if so much
 * memory may not be promised.
 *
 * @models linux-6.1 mm/shmem.c shmem_zero_setup, shmem_acct_size
 */
export function createSharedMemory(
  kernel: Kernel,
  name: string,
  pages: number,
  promise: "size" | "pages",
): FileObject | null {
  if (promise === "size" && kernel.commitment.charge(pages, null) < 0) return null;
  const file = kernel.files.create({ name, kind: "shmem", sizeBytes: pages * PAGE_SIZE, promise });
  file.named = false;
  return file;
}

/** One more area or open keeps the file. */
export function holdFile(file: FileObject): void {
  file.references++;
}

/** One area or open less. The last one takes a nameless file with it. */
export function releaseFile(kernel: Kernel, file: FileObject): void {
  if (file.references <= 0) bug(`${file.name} is released more often than held`);
  file.references--;
  if (kernel.tableSharing.dropHost(kernel, file)) return;
  if (file.references === 0 && !file.named) destroy(kernel, file);
}

/** The file loses its name, and goes if nobody keeps it. */
export function unlinkFile(kernel: Kernel, file: FileObject): void {
  file.named = false;
  if (file.references === 0) destroy(kernel, file);
}

function destroy(kernel: Kernel, file: FileObject): void {
  if (file.mappings.count !== 0) bug(`${file.name} is freed while ${file.mappings.count} areas map it`);
  const mapped = dropPages(kernel, file, 0, Number.POSITIVE_INFINITY);
  dropSwapped(kernel, file, 0, Number.POSITIVE_INFINITY);
  if (mapped > 0) bug(`${file.name} is freed while ${mapped} of its pages are mapped`);
  if (file.huge !== null)
    for (const head of file.huge.cut(0, Number.POSITIVE_INFINITY)) putHuge(kernel.frames, file.huge.pool, head);
  if (file.raw !== null) destroySegmentFile(kernel, file.raw);
  if (file.promise === "size") kernel.commitment.uncharge(file.reach);
  kernel.files.forget(file);
  kernel.segments.fileGone(file);
}
