/** Truncation's unmapping as it was before anybody thought of nonlinear areas: by the place that each area's first index gives. */
import type { Path } from "../../sync/path.ts";
import type { FileObject } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import type { Vma } from "../vma.ts";
import { unmapFileRange, unmapFromArea } from "../zap.ts";
import type { FileRange } from "./truncation.ts";

/**
 * Clears the linear places of the range in every area, whatever is mapped there: in a nonlinear area valid pages go, and
 * others stay that should go.
 *
 * @models linux-2.5.74 mm/memory.c vmtruncate, vmtruncate_list
 */
export function* unmapByPlace(kernel: Kernel, file: FileObject, range: FileRange): Path<void> {
  yield* unmapFileRange(kernel, file, range.first, range.end, range.cows);
  for (const vma of overlapping(file, range)) yield* unmapFromArea(kernel, vma, file, range);
}

/** The nonlinear areas that would map a page of the range if they were linear. */
export const overlapping = (file: FileObject, { first, end }: FileRange): Vma[] =>
  [...file.mappings.nonlinear].filter((vma) => vma.fileIndex < end && vma.fileIndex + vma.pages > first);
