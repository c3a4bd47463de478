/** What remap_file_pages does: whether pages of a file may be mapped in another order than the file's, and how. */
import type { FileIndex, Vaddr } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { Kernel } from "../kernel.ts";
import type { Thread } from "../process.ts";

/** The arguments of the call, in its order. */
export interface RemapRequest {
  readonly start: Vaddr;
  readonly sizeBytes: number;
  readonly prot: number;
  readonly index: FileIndex;
  /** MAP_* bits; only MAP_NONBLOCK means anything. */
  readonly flags: number;
}

export interface Nonlinear {
  /** 0 or -ERRNO. Requires: mmap_sem is not held. */
  remapFilePages(kernel: Kernel, thread: Thread, request: RemapRequest): Path<number>;
}
