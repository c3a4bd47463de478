/** Strategies whose files have no tables of their own. */
import type { TableSharing } from "./table-sharing.ts";

type Hosting = "isHosted" | "leavesToFaults" | "attach" | "dropHost";

export const nobodyHosts: Pick<TableSharing, Hosting> = {
  isHosted: () => false,
  leavesToFaults: () => false,
  // biome-ignore lint/correctness/useYield: a path that is never taken
  *attach() {
    return null;
  },
  dropHost: () => false,
};
