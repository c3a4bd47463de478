/**
 * `trace strip --sets S`: absorbs more than a recorder does, with S recency slots a stream (absorb.ts). Exact for every
 * first-level TLB whose set count S divides, as long as nothing changes translations inside an open run; a replay
 * counts what does.
 */
import { UsageError } from "../../base/errors.ts";
import type { ChunkSource } from "./chunk.ts";
import type { TraceHeader } from "./format.ts";
import { walk } from "./walk.ts";
import type { TraceWriter } from "./writer.ts";

/** The header of `header`'s trace once it is stripped. Throws UsageError if that is not possible. */
export function strippedHeader(header: TraceHeader, sets: number, name: string): TraceHeader {
  if (!Number.isInteger(sets) || sets < 1 || sets > 4096 || !Number.isInteger(Math.log2(sets))) {
    throw new UsageError(`--sets ${sets}: expected a power of two from 1 to 4096`);
  }
  if (sets < header.sets) {
    throw new UsageError(`${name}: is stripped at ${header.sets} sets already; it cannot be stripped at ${sets}`);
  }
  return { ...header, sets };
}

/** Writes `source` to a writer whose header comes from `strippedHeader`. The caller finishes the writer. */
export async function stripTrace(source: ChunkSource, writer: TraceWriter): Promise<void> {
  await walk(
    source,
    {
      run: (kind, page, count) => writer.absorb(kind, page, count),
      event: (event) => writer.event(event),
    },
    () => writer.settled(),
  );
}
