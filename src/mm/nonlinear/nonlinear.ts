/**
 * What remap_file_pages does: whether pages of a file may be mapped in another order than the file's, and how; and what
 * that asks of everything that thinks that an area's pages lie in the file's order.
 *
 *     linear       page = area's start + (index - area's first index)      one page has one place in an area
 *     nonlinear    any page anywhere in the area (VM_NONLINEAR)             only its entries say what is where
 *
 * An entry of a nonlinear area that maps nothing may still say which page belongs there: a file entry (PTE_FILE). An
 * entry that is none stands for the linear page, in every area.
 */
import type { FileIndex, Vaddr, Vpn } from "../../base/units.ts";
import type { Path } from "../../sync/path.ts";
import type { Kernel } from "../kernel.ts";
import type { Thread } from "../process.ts";
import type { Gather } from "../tlb/gather.ts";
import type { Verdict } from "../verdict.ts";
import type { Vma } from "../vma.ts";
import type { Truncation } from "./truncation.ts";

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
  /** A fault on a file entry: brings in the page that it names. Requires: mmap_sem is held, page_table_lock is not. */
  fault(kernel: Kernel, vma: Vma, page: Vpn): Path<Verdict>;
  /** Takes the pages `[first, end)` of a nonlinear area out of its tables (MADV_DONTNEED). Requires: mmap_sem is held. */
  discard(kernel: Kernel, gather: Gather, vma: Vma, first: Vpn, end: Vpn): Path<void>;
  /** How pages that leave a file are taken from those who map them. */
  readonly truncation: Truncation;
}
