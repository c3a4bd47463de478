/** Goes through a source record by record: for everything that is not the hot path of a replay. */
import type { Vpn } from "../../base/units.ts";
import type { Chunk, ChunkSource } from "./chunk.ts";
import type { TraceEvent } from "./event.ts";
import { type AccessKind, EVENT, recordCount, recordKind, recordPageIndex } from "./format.ts";

export interface RecordVisitor {
  run(kind: AccessKind, page: Vpn, count: number): void;
  event(event: TraceEvent): void;
}

/** Shows the visitor each record of `chunk`, in order. */
export function walkChunk(chunk: Chunk, visitor: RecordVisitor): void {
  const { words, pages, events } = chunk;
  let event = 0;
  for (let i = 0; i < words.length; i++) {
    const word = words[i];
    const kind = recordKind(word);
    if (kind === EVENT) visitor.event(events[event++]);
    else visitor.run(kind as AccessKind, pages[recordPageIndex(word)], recordCount(word));
  }
}

/** Shows the visitor each record of `source`; `settle` is awaited after each chunk. */
export async function walk(
  source: ChunkSource,
  visitor: RecordVisitor,
  settle: () => Promise<void> = async () => {},
): Promise<void> {
  for await (const chunk of source.chunks()) {
    walkChunk(chunk, visitor);
    await settle();
  }
}
