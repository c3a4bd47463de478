/** What remap_file_pages may do, by the names that the design space gives it. */
import { cleanupPass } from "./cleanup-pass.ts";
import { cleanupTolerant } from "./cleanup-tolerant.ts";
import { emulated } from "./emulated.ts";
import { lockedOnly } from "./locked-only.ts";
import type { Nonlinear } from "./nonlinear.ts";
import { remap25 } from "./remap-2.5.ts";
import { taggedSearch } from "./tagged-search.ts";
import { unmapEach } from "./unmap-each.ts";
import { unsupported } from "./unsupported.ts";

export const nonlinears = {
  unsupported,
  "remap-2.5": remap25,
  "tagged-search": taggedSearch,
  "cleanup-pass": cleanupPass,
  "cleanup-tolerant": cleanupTolerant,
  "unmap-each": unmapEach,
  "locked-only": lockedOnly,
  emulated,
} as const satisfies Record<string, Nonlinear>;

export type NonlinearName = keyof typeof nonlinears;
