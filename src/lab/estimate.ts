/** What a run's events would cost by a cost table, in estimated cycles: from exact counts, and nothing else. */
import { type CostEvent, type CostTable, estimateCycles } from "../hw/cost.ts";
import { type DiskModel, diskSeconds } from "../hw/disk.ts";

type CountersByName = Readonly<Record<string, number>>;

/** Adds up counters of a run; one that is not there counts nothing. */
const counterOf =
  (counters: CountersByName) =>
  (...names: string[]): number =>
    names.reduce((sum, name) => sum + (counters[name] ?? 0), 0);

/** How often each priced event happened, from a run's counters. */
function eventsOf(counters: CountersByName): Record<CostEvent, number> {
  const count = counterOf(counters);
  return {
    access: count("accesses"),
    secondLevelHit: count("tlbSecondLevelHits"),
    walkStep: count("walkSteps"),
    dirtyUpdate: count("dirtyUpdates"),
    fault: count("minorFaults", "majorFaults", "signalFaults", "spuriousFaults"),
    systemCall: count("calls"),
    rootLoad: count("rootLoads", "splitReloads"),
    pageFlush: count("tlbInvalidations", "atomicInvalidations", "memMapFlushes"),
    fullFlush: count("tlbReloads"),
    ipi: count("tlbShootdowns"),
    pageZero: count("pagesZeroed", "tablesZeroed"),
    pageCopy: count("pagesCopied"),
    entryWrite: count(
      "windowEntriesWritten",
      "memMapMisses",
      "ptesCopied",
      "ptesWriteProtected",
      "ptesZapped",
      "ptesMoved",
      "ptesProtected",
    ),
    allocation: count("pagesZeroed", "pagesCopied", "tablesAllocated"),
  };
}

export interface Estimate {
  cycles: number;
  /** By event: its share of the cycles. */
  byEvent: Record<string, number>;
  restsOn: string;
  /** What the disk would have taken, one request after the other; in no other number. */
  diskSeconds: number;
}

export function estimate(counters: CountersByName, table: CostTable, disk: DiskModel): Estimate {
  const events = eventsOf(counters);
  const count = counterOf(counters);
  const byEvent = Object.fromEntries(
    (Object.keys(events) as CostEvent[])
      .map((event) => [event, estimateCycles(table, { [event]: events[event] })] as const)
      .filter(([, cycles]) => cycles > 0),
  );
  return {
    cycles: estimateCycles(table, events),
    byEvent,
    restsOn: `cost table ${table.name}, ${table.rests}`,
    diskSeconds: diskSeconds(
      disk,
      count("diskReads", "diskWrites", "swapReadRequests", "swapWriteRequests"),
      count("diskPagesRead", "diskPagesWritten", "swapPagesIn", "swapPagesOut"),
    ),
  };
}
