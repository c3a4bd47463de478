/** A trace that can be read several times: a comparison runs it on every machine. */
import type { ChunkSource } from "./trace/chunk.ts";

export interface TraceInput {
  /** For messages and reports. */
  readonly name: string;
  /** Starts reading from the beginning. */
  open(): ChunkSource;
}
