/** Every benchmark, by name. A measure that the machine cannot take gives undefined and is skipped. */
import { benchHits, benchMisses } from "./accesses.ts";
import { benchAnonymousFaults, benchCachedFileReads, benchUnmapAnonymous } from "./faults.ts";
import { benchExit, benchFork } from "./fork.ts";
import { benchFillHoles, benchMapTables } from "./populate.ts";
import { benchReclaim } from "./reclaim.ts";
import { benchRecord, recordNeeds } from "./record.ts";
import { benchReplayAccesses, benchReplayRecords, benchReplayStripped } from "./replay.ts";
import { benchReplayMisses } from "./replay-misses.ts";
import { reverseMapBenches } from "./rmap.ts";
import { benchStart } from "./start.ts";

export interface Measurement {
  readonly value: number;
  readonly unit: string;
}

/** "small" only proves that it runs. */
export type Size = "small" | "full";

export interface Bench {
  readonly name: string;
  /** What it needs of the machine, for the one who is told that it was skipped. */
  readonly needs?: string;
  /** Processor time of this thread, unless other processes do the work. */
  readonly clock?: "wall";
  measure(now: () => number, size: Size): Measurement | undefined | Promise<Measurement | undefined>;
}

const seconds = { small: 0.02, full: 0.5 } as const;

export const benches: readonly Bench[] = [
  { name: "replay: records", measure: benchReplayRecords },
  { name: "replay: accesses", measure: benchReplayAccesses },
  { name: "replay: accesses, stripped at 16", measure: benchReplayStripped },
  { name: "replay: records, 98 % misses", measure: benchReplayMisses },
  { name: "accesses: TLB hits", measure: (now, size) => benchHits(now, seconds[size]) },
  { name: "accesses: TLB misses", measure: (now, size) => benchMisses(now, seconds[size]) },
  { name: "faults: anonymous first touch", measure: (now, size) => benchAnonymousFaults(now, seconds[size]) },
  { name: "faults: cached file pages", measure: (now, size) => benchCachedFileReads(now, seconds[size]) },
  { name: "unmap: anonymous pages", measure: (now, size) => benchUnmapAnonymous(now, seconds[size]) },
  { name: "fork: PTEs", measure: (now, size) => benchFork(now, seconds[size]) },
  { name: "exit: PTEs", measure: (now, size) => benchExit(now, seconds[size]) },
  {
    name: "record: accesses, end to end with qemu",
    needs: recordNeeds,
    clock: "wall",
    measure: async (now, size) => (await benchRecord(now, size === "full" ? 5_000_000 : 200_000))?.[0],
  },
  { name: "populate: holes of a file", measure: benchFillHoles },
  { name: "populate: pages that others have", measure: benchMapTables },
  { name: "reclaim: page-list steps", measure: (now, size) => benchReclaim(now, seconds[size]) },
  ...reverseMapBenches,
  ...["piii-xeon-64g", "icelake-1t"].map((machine) => ({
    name: `start: ${machine}`,
    measure: (now: () => number) => benchStart(machine, now),
  })),
];
