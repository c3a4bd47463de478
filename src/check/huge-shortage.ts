/**
 * Whether the pool of huge pages was short when it was said to be: where a mapping of huge pages at a fixed place is
 * refused for want of memory, and where an access to one ends in SIGBUS. Neither changes anything, so that the pool tells.
 */
import { pageOf } from "../base/units.ts";
import type { Machine } from "../machine.ts";
import { VM_HUGETLB } from "../mm/vma.ts";
import { WINDOW } from "./executor.ts";
import type { Operation } from "./program.ts";

const MAP_FIXED = 0x10;
const MAP_HUGETLB = 0x4_0000;

/** What is wrong with an outcome that blames the pool; undefined if nothing is. */
export function unfoundedShortage(
  { name, process: number, operands }: Operation,
  printed: string,
  run: { readonly machine: Machine; readonly processes: readonly ({ readonly mm: unknown } | null)[] },
): string | undefined {
  const { bigPages, personality } = run.machine.kernel;
  const pool = bigPages.poolFor(0);
  if (pool === null || personality.hugePagesCome === "at-mmap") return undefined;
  if (name === "mmap" && printed === "ENOMEM") {
    const [, length, , flags] = operands.map(({ value }) => value);
    if ((flags! & (MAP_FIXED | MAP_HUGETLB)) !== (MAP_FIXED | MAP_HUGETLB)) return undefined;
    const wanted = Math.ceil(pageOf(length!) / pool.pages);
    return pool.available < wanted ? undefined : `ENOMEM, and ${pool.available} huge pages are nobody's`;
  }
  if ((name !== "r" && name !== "w") || !printed.startsWith("BUS")) return undefined;
  const [{ base, value }] = operands as [{ base: string; value: number }];
  const process = run.machine.processes.find((each) => each === run.processes[number]);
  const vma = base === "window" ? process?.mm.vmas.containing(pageOf(WINDOW + value)) : undefined;
  if (vma == null || (vma.flags & VM_HUGETLB) === 0 || vma.isRobbed || pool.available <= 0) return undefined;
  return `SIGBUS, and ${pool.available} huge pages are nobody's`;
}
