/** What is compared between a real run and its prediction. */
import { z } from "zod";

const count = z.int().min(0);

/** Of one process, from its program's first instruction (of a fork's child: from its birth) to its end. */
export const processCountsSchema = z.strictObject({
  name: z.string().max(4096),
  minorFaults: count,
  majorFaults: count,
  /** The greatest VmPTE. */
  pageTablesBytes: count,
  /** The greatest VmRSS. */
  residentBytes: count,
});
export type ProcessCounts = z.infer<typeof processCountsSchema>;
