/** Strategies whose files have no tables of their own. */
import type { TableSharing } from "./table-sharing.ts";

type Hosting = "isHosted" | "leavesToFaults" | "tryAttach" | "dropHost";

export const nobodyHosts: Pick<TableSharing, Hosting> = {
  isHosted: () => false,
  leavesToFaults: () => false,
  tryAttach: () => null,
  dropHost: () => false,
};
