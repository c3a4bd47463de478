/**
 * No nonlinear mappings: the call does not exist, as before 2.5.46.
 *
 * @models linux-2.4.22 (no such call)
 */
import { ENOSYS } from "../../base/errno.ts";
import type { Path } from "../../sync/path.ts";
import { linearOnly } from "./linear-only.ts";
import type { Nonlinear } from "./nonlinear.ts";

export const unsupported: Nonlinear = {
  ...linearOnly,
  // biome-ignore lint/correctness/useYield: a path that never waits
  *remapFilePages(): Path<number> {
    return -ENOSYS;
  },
};
