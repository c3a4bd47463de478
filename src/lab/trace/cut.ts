/**
 * `trace cut`: a part of a trace that replays by itself. What built the address spaces before the part is kept: starts,
 * forks, memory calls, switches and file sizes, in their order, without the accesses between them.
 */
import { UsageError } from "../../base/errors.ts";
import type { ChunkSource } from "./chunk.ts";
import type { EventOp } from "./event.ts";
import type { TraceHeader } from "./format.ts";
import { walkChunk } from "./walk.ts";
import type { TraceWriter } from "./writer.ts";

/** Half-open, counted in records (events among them) or in events. */
export interface CutRange {
  readonly unit: "record" | "event";
  readonly from: number;
  readonly to: number;
}

/** Events that only touch memory: left out before the part, like other accesses. */
const touchesOnly: ReadonlySet<EventOp> = new Set(["kernel-access", "read", "write"]);

export function checkRange(range: CutRange): CutRange {
  const { from, to } = range;
  if (Number.isInteger(from) && from >= 0 && to > from) return range;
  throw new UsageError(`--from ${from} --to ${to}: expected whole numbers, from 0, the first below the second`);
}

/** The header of the part. */
export function cutHeader(header: TraceHeader, range: CutRange, name: string): TraceHeader {
  const note = `${range.unit}s ${range.from} to ${range.to} of ${name}, with the memory calls before them`;
  return { ...header, notes: [...header.notes, note].slice(-100) };
}

/** Writes the part to `writer`; returns how many records it holds without what was kept from before. */
export async function cutTrace(source: ChunkSource, writer: TraceWriter, range: CutRange): Promise<number> {
  checkRange(range);
  const { unit, from, to } = range;
  let number = 0;
  let kept = 0;
  for await (const chunk of source.chunks()) {
    walkChunk(chunk, {
      run(kind, page, count) {
        if (number >= from && number < to) {
          writer.run(kind, page, count);
          kept++;
        }
        if (unit === "record") number++;
      },
      event(event) {
        if (number >= from && number < to) {
          writer.event(event);
          kept++;
        } else if (number < from && !touchesOnly.has(event.op)) {
          writer.event(event);
        }
        number++;
      },
    });
    await writer.settled();
    if (number >= to) break;
  }
  if (kept === 0) throw new UsageError(`${source.name}: has ${number} ${unit}s, none from ${from} to ${to}`);
  return kept;
}
