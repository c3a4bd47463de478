/** Counts of real runs, kept beside recordings of the same programs: `measured.json`. */
import { z } from "zod";
import { causeNames } from "./causes.ts";
import { processCountsSchema } from "./counts.ts";

export const measuredProgramSchema = z.strictObject({
  /** The recording's file name. */
  trace: z.string().max(1000),
  command: z.string().max(100_000),
  /** How the recording and what the program reads were made, where no other place says it. */
  made: z.array(z.string().max(10_000)).max(20).optional(),
  /** Empty if there is nothing to compare with. */
  processes: z.array(processCountsSchema).max(4096),
  /** Why there is nothing. */
  unmeasured: z.string().max(10_000).optional(),
  /** What was predicted when the file was written. */
  predicted: z.array(processCountsSchema).max(4096).optional(),
  /** Why predictions differ, as far as it was found out. */
  causes: z.array(z.enum(causeNames)).default([]),
});
export type MeasuredProgram = z.infer<typeof measuredProgramSchema>;

export const measuredFileSchema = z.strictObject({
  schema: z.literal("bigmem.measured/1"),
  /** `uname -sr` of the real kernel. */
  kernel: z.string().max(200),
  /** The command that took the counts. */
  how: z.string().max(10_000),
  programs: z.array(measuredProgramSchema).max(1000),
});
export type MeasuredFile = z.infer<typeof measuredFileSchema>;
