/** Every experiment, by name. */
import { UsageError } from "../../base/errors.ts";
import { didYouMean } from "../../base/nearest.ts";
import { bigTlb } from "./big-tlb.ts";
import { clustering } from "./clustering.ts";
import type { Experiment } from "./experiment.ts";
import { forkSharedTables } from "./fork-shared-tables.ts";
import { highpteLowmem } from "./highpte-lowmem.ts";
import { hoard } from "./hoard.ts";
import { hugetlbPool } from "./hugetlb-pool.ts";
import { kernelTablesHighmem } from "./kernel-tables-highmem.ts";
import { kmapFlushRate } from "./kmap-flush-rate.ts";
import { kmapPools } from "./kmap-pools.ts";
import { kvaWindow } from "./kva-window.ts";
import { memmap } from "./memmap.ts";
import { mlockChains } from "./mlock-chains.ts";
import { nonlinearVmas } from "./nonlinear-vmas.ts";
import { numaq } from "./numaq.ts";
import { pagetableExploit } from "./pagetable-exploit.ts";
import { pteCount } from "./pte-count.ts";
import { quicklists } from "./quicklists.ts";
import { rmapCost } from "./rmap-cost.ts";
import { rmapTest } from "./rmap-test.ts";
import { sharedSegment } from "./shared-segment.ts";
import { soft2m } from "./soft-2m.ts";
import { splitsExperiment } from "./splits.ts";
import { structPages } from "./struct-pages.ts";
import { thp } from "./thp.ts";
import { threeSteps } from "./three-steps.ts";
import { truncateNonlinear } from "./truncate-nonlinear.ts";
import { virtualScan } from "./virtual-scan.ts";
import { vmaSplit } from "./vma-split.ts";
import { xip } from "./xip.ts";

export const experiments: readonly Experiment[] = [
  highpteLowmem,
  kmapFlushRate,
  kmapPools,
  kernelTablesHighmem,
  quicklists,
  rmapCost,
  sharedSegment,
  truncateNonlinear,
  mlockChains,
  nonlinearVmas,
  rmapTest,
  virtualScan,
  threeSteps,
  bigTlb,
  hugetlbPool,
  structPages,
  thp,
  hoard,
  pagetableExploit,
  pteCount,
  forkSharedTables,
  xip,
  vmaSplit,
  clustering,
  soft2m,
  memmap,
  numaq,
  kvaWindow,
  splitsExperiment,
];

export function experimentNamed(name: string): Experiment {
  const found = experiments.find((experiment) => experiment.name === name);
  if (found !== undefined) return found;
  const names = experiments.map((experiment) => experiment.name);
  throw new UsageError(`there is no experiment "${name}"${didYouMean(name, names)}; there are ${names.join(", ")}`);
}
