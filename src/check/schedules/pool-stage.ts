/** A machine with a pool of huge pages, whose tasks are interleaved, and files of such pages. */
import { addressOf, type Vpn } from "../../base/units.ts";
import { createHugeFile } from "../../mm/bigpages/huge-pages.ts";
import { OpenFile } from "../../mm/file.ts";
import type { LockGraph } from "../../sync/validator.ts";
import { READ_WRITE, Stage } from "./stage.ts";

/** Pages of 4 KiB in a huge page, and in what one table of the second level maps. */
export const HUGE = 512;
export const GIB = 512 * HUGE;
/** Where the file is mapped: aligned for a table that is shared. */
export const PLACE: Vpn = GIB;
const MAP_NORESERVE = 0x4000;
/** What somebody writes to a page. */
export const VALUE = 7;

interface PoolShape {
  readonly cpus: number;
  /** Of the pool. */
  readonly huge: number;
  readonly lockGraph: LockGraph;
  readonly hugePages?: "hugetlbfs" | "hugetlbfs-shared-pmd";
}

export const poolStage = ({ cpus, huge, lockGraph, hugePages = "hugetlbfs" }: PoolShape): Stage =>
  new Stage({
    kind: "x86-64",
    kernel: "linux-6.1",
    cpus,
    lockGraph,
    design: { hugePages },
    tunables: { hugePages: huge },
  });

/** A file on hugetlbfs of so many pages of 4 KiB. */
export function openHuge({ kernel }: Stage, name: string, pages: number): OpenFile {
  return new OpenFile(createHugeFile(kernel, name, kernel.bigPages.pools[0]!, pages), "read-write");
}

/** The arguments of mmap for all of the file, whose pages nobody is promised. */
export const mapping = (opened: OpenFile, flags: number) => [
  addressOf(PLACE),
  opened.file.sizeBytes,
  READ_WRITE,
  flags | MAP_NORESERVE,
  opened,
  0,
];
