/** Huge pages and their files as they are made. */
import { PAGE_SIZE, type Pfn } from "../../base/units.ts";
import type { FileObject } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import type { HugePool } from "./huge-pool.ts";

/** Every word of the page becomes zero. */
export function zeroHuge(kernel: Kernel, head: Pfn, pool: HugePool): void {
  for (let part = 0; part < pool.pages; part++) kernel.contents.zero(head + part);
  kernel.counters.hugePagesZeroed++;
}

/** A file on hugetlbfs of so many pages of 4 KiB, which nobody has a name for yet. */
export function createHugeFile(kernel: Kernel, name: string, pool: HugePool, pages: number): FileObject {
  return kernel.files.create({ name, kind: "hugetlbfs", sizeBytes: pages * PAGE_SIZE, pool });
}
