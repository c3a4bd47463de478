/** Whatever a verb takes for TRACE: a file, stdin, or a synthetic workload. */
import { statSync } from "node:fs";
import { isWorkload, workloadSource } from "../lab/workloads/generator.ts";
import type { ChunkSource } from "../lab/trace/chunk.ts";
import type { TraceHeader } from "../lab/trace/format.ts";
import { TraceReader } from "../lab/trace/reader.ts";
import { TraceWriter } from "../lab/trace/writer.ts";
import { zstdCodec } from "./codec.ts";
import { nameOf, ReplacedFile, readBytes } from "./files.ts";

/** How TRACE is explained in every verb's help. */
export const traceArgument = 'a .bmt file, - for standard input, or a workload such as "workload:fork-storm?processes=50"';

/** Opens a trace. A source gives its chunks once: open it again for another pass. */
export function openTrace(name: string): ChunkSource {
  return isWorkload(name) ? workloadSource(name) : new TraceReader(readBytes(name), zstdCodec(), nameOf(name));
}

/** What opens the trace anew for each pass. Standard input can be passed over only once. */
export const reopenable = (name: string): (() => ChunkSource) => () => openTrace(name);

/** Bytes of a trace's file; 0 where there is none. */
export const sizeOf = (name: string): number => (name === "-" || isWorkload(name) ? 0 : (statSync(name, { throwIfNoEntry: false })?.size ?? 0));

/** Compression of a trace that is kept, rather than made in a hurry. */
const KEPT_LEVEL = 19;

/** Writes a trace file: `fill` writes the records, and the file appears under its name when all went well. */
export async function writeTrace(path: string, header: TraceHeader, fill: (writer: TraceWriter) => Promise<unknown>): Promise<string> {
  const file = new ReplacedFile(path);
  try {
    const writer = new TraceWriter((bytes) => file.write(bytes), zstdCodec(KEPT_LEVEL), header);
    await fill(writer);
    const totals = await writer.finish();
    file.commit();
    return `${path}: ${totals.records} records, ${totals.events} events, ${file.bytes} bytes`;
  } catch (error) {
    file.abandon();
    throw error;
  }
}
