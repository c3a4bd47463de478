/** Whatever a verb takes for TRACE: a file, stdin, or a synthetic workload. */

import { pagingFormats } from "../hw/paging-format.ts";
import type { ChunkSource } from "../lab/trace/chunk.ts";
import type { TraceHeader } from "../lab/trace/format.ts";
import { TraceReader } from "../lab/trace/reader.ts";
import { TraceWriter } from "../lab/trace/writer.ts";
import type { TraceInput } from "../lab/trace-input.ts";
import { isWorkload, workloadSource } from "../lab/workloads/generator.ts";
import type { MachineSpec } from "../presets.ts";
import { zstdCodec } from "./codec.ts";
import { nameOf, ReplacedFile, readBytes } from "./files.ts";
import { withSamples } from "./samples.ts";

/** How TRACE is explained in every verb's help. */
export const traceArgument =
  'a .bmt file, - for standard input, or a workload such as "workload:fork-storm?processes=50"';

/** Opens a trace. A source gives its chunks once: open it again for another pass. */
export function openTrace(name: string): ChunkSource {
  return isWorkload(name)
    ? workloadSource(name)
    : new TraceReader(readBytes(withSamples(name)), zstdCodec(), nameOf(name));
}

/** TRACE for a run on one machine: only one of 32 bits needs a pass before it, to fit the trace's addresses in. */
export function traceFor(name: string, { geometry }: MachineSpec): TraceInput {
  const isWide = pagingFormats[geometry.paging].vaddrBits > 32;
  return isWide ? { name: nameOf(name), open: () => openTrace(name) } : traceInput(name);
}

/** TRACE for a verb that reads it more than once. Standard input can be read only once, so it is kept in memory. */
export function traceInput(name: string): TraceInput {
  if (name !== "-") return { name, open: () => openTrace(name) };
  let whole: Promise<Uint8Array[]> | undefined;
  async function* repeated(): AsyncIterable<Uint8Array> {
    whole ??= allOf(readBytes(name));
    yield* await whole;
  }
  return { name: nameOf(name), open: () => new TraceReader(repeated(), zstdCodec(), nameOf(name)) };
}

async function allOf<T>(parts: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const part of parts) all.push(part);
  return all;
}

/** Compression of a trace that is kept, rather than made in a hurry. */
const KEPT_LEVEL = 19;

/** Writes a trace file: `fill` writes the records, and the file appears under its name when all went well. */
export async function writeTrace(
  path: string,
  header: TraceHeader,
  fill: (writer: TraceWriter) => Promise<unknown>,
): Promise<string> {
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
