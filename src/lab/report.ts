/**
 * The report of one or several runs, `bigmem.report/1`: everything that a run depended on, what came of it, what was
 * counted exactly, what is estimated, and what the host took for it, each apart. Bytes are whole numbers; units are in
 * the keys.
 */
import { z } from "zod";
import { UsageError } from "../base/errors.ts";
import { designSchema } from "../design.ts";
import { geometrySchema } from "../geometry.ts";
import { tunablesSchema } from "../tunables.ts";
import { memorySchema } from "./snapshot.ts";
import { headerSchema } from "./trace/format.ts";

export const specSchema = z.strictObject({
  /** The version of bigmem that ran it. */
  bigmem: z.string(),
  geometry: geometrySchema,
  design: designSchema,
  tunables: tunablesSchema,
  /** The personality. */
  kernel: z.string(),
  seed: z.int(),
  trace: z.strictObject({
    name: z.string(),
    /** Sixteen digits that name its contents. */
    hash: z.string(),
    header: headerSchema,
  }),
});

const signalSchema = z.strictObject({
  process: z.int(),
  thread: z.int(),
  signal: z.enum(["SIGSEGV", "SIGBUS", "SIGKILL"]),
  /** As siginfo has it: SEGV_MAPERR, SEGV_ACCERR, BUS_ADRERR; or "out of memory". */
  why: z.string(),
  /** Where the access was that could not be made; null: somebody else's need for memory ended the process. */
  address: z.int().nullable(),
  /** The record of the trace at which it came. */
  record: z.int(),
});

const differenceSchema = z.strictObject({
  record: z.int(),
  call: z.string(),
  recorded: z.string(),
  here: z.string(),
});

/** Calls that fail because pages are larger than where the program was recorded. */
const abiBreaksSchema = z.strictObject({
  pageBytes: z.int(),
  count: z.int(),
  /** Such calls that only name places which the recorded kernel had chosen. */
  placesOfKernel: z.int(),
  first: differenceSchema,
});

export const outcomeSchema = z.strictObject({
  status: z.literal("done"),
  /** Tasks that the trace made do what the kernel forbids. */
  signals: z.array(signalSchema),
  signalCount: z.int(),
  /** Accesses of tasks that a signal had ended. */
  skippedAccesses: z.int(),
  /** Calls, forks and images that ended otherwise than in the recording: the first ones, and how many. */
  differences: z.array(differenceSchema),
  differenceCount: z.int(),
  /** Left out: there are none. */
  abiBreaks: abiBreaksSchema.optional(),
  calls: z.int(),
  /** How addresses were changed to fit the machine. */
  rebased: z.strictObject({ regions: z.int(), movedBytes: z.int(), sentence: z.string() }).nullable(),
  absorption: z.strictObject({
    sets: z.int(),
    /** Events that changed translations inside an open run: each may have hidden up to one miss a slot. */
    changesInOpenRuns: z.int(),
    /** Whether counts are those of the whole, unabsorbed trace. */
    identical: z.boolean(),
    sentence: z.string(),
  }),
});
export type Outcome = z.infer<typeof outcomeSchema>;
export type SignalReport = z.infer<typeof signalSchema>;
export type AbiBreaks = z.infer<typeof abiBreaksSchema>;
export type Difference = z.infer<typeof differenceSchema>;

export const completedRunSchema = z.strictObject({
  name: z.string(),
  spec: specSchema,
  outcome: outcomeSchema,
  counters: z.record(z.string(), z.number()),
  /** At the peak of page-table bytes. */
  memory: memorySchema,
  /** When the trace was through. */
  end: memorySchema,
  /** Not counted but computed: events times a cost table. */
  estimated: z.strictObject({
    cycles: z.number(),
    byEvent: z.record(z.string(), z.number()),
    restsOn: z.string(),
    diskSeconds: z.number(),
  }),
  /** What the run took on the host: of no meaning for the simulated machine. Absent where nobody measured. */
  host: z
    .strictObject({
      seconds: z.number(),
      peakRssBytes: z.int(),
      accessesPerSecond: z.number(),
      recordsPerSecond: z.number(),
      faultsPerSecond: z.number(),
    })
    .optional(),
});
export type CompletedRun = z.infer<typeof completedRunSchema>;

/** A cell of a comparison that cannot be built or cannot take the trace. */
export const refusedRunSchema = z.strictObject({
  name: z.string(),
  outcome: z.strictObject({ status: z.enum(["illegal", "refused"]), reason: z.string() }),
});
export type RefusedRun = z.infer<typeof refusedRunSchema>;

export const runSchema = z.union([completedRunSchema, refusedRunSchema]);
export type Run = CompletedRun | RefusedRun;

export const reportSchema = z.strictObject({
  schema: z.literal("bigmem.report/1"),
  runs: z.array(runSchema),
});
export type Report = z.infer<typeof reportSchema>;

export const isCompleted = (run: Run): run is CompletedRun => run.outcome.status === "done";

/** A report from its JSON. Throws UsageError that names the place of what is wrong. */
export function parseReport(json: unknown, name: string): Report {
  const parsed = reportSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  throw new UsageError(`${name}: ${issue.path.join(".")}: ${issue.message}`);
}
