/** Reading a file of huge pages. Nothing else than a mapping can write to it. */
import { EINVAL } from "../../base/errno.ts";
import { PAGE_SIZE } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import { NOT_CACHED } from "../page-cache.ts";

/**
 * Reads into `bytes`, or so many bytes as it says into nothing: how many; -EINVAL where the kernel cannot.
 *
 * @models linux-6.1 fs/hugetlbfs/inode.c hugetlbfs_read_iter
 */
export function* readHuge(kernel: Kernel, file: FileObject, bytes: Uint8Array | number, offset: number): Path<number> {
  if (kernel.personality.hugePagesCome === "at-mmap") return -EINVAL;
  const { contents } = kernel;
  const huge = file.huge!;
  const wanted = typeof bytes === "number" ? bytes : bytes.length;
  const length = Math.max(0, Math.min(wanted, file.sizeBytes - offset));
  if (typeof bytes === "number") return length;
  for (let done = 0; done < length; ) {
    const at = offset + done;
    const count = Math.min(PAGE_SIZE - (at % PAGE_SIZE), length - done);
    const page = Math.floor(at / PAGE_SIZE);
    const head = huge.pages.find(Math.floor(page / huge.pool.pages));
    const into = bytes.subarray(done, done + count);
    if (head === NOT_CACHED) into.fill(0);
    else {
      const frame = head + (page % huge.pool.pages);
      const wait = contents.hold(frame);
      if (wait !== undefined) yield* wait;
      contents.read(frame, at % PAGE_SIZE, into);
      contents.release(frame);
    }
    done += count;
  }
  return length;
}
