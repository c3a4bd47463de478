/** What the options share that know no nonlinear areas: no entry is a file entry, and truncation knows every place. */
import { bug } from "../../base/errors.ts";
import type { Path } from "../../sync/path.ts";
import type { Verdict } from "../verdict.ts";
import type { Vma } from "../vma.ts";
import { linearTruncation } from "./linear-truncation.ts";
import type { Nonlinear } from "./nonlinear.ts";

export const linearOnly: Omit<Nonlinear, "remapFilePages"> = {
  // biome-ignore lint/correctness/useYield: never called
  *fault(_kernel, { mm }: Vma, page): Path<Verdict> {
    bug(`page ${page} of ${mm.id}: no one writes file entries here`);
  },
  // biome-ignore lint/correctness/useYield: never called
  *discard(_kernel, _gather, { mm }: Vma, first): Path<void> {
    bug(`page ${first} of ${mm.id} is in a nonlinear area, of which there are none`);
  },
  truncation: linearTruncation,
};
