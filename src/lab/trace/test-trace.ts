/** Traces for tests, written step by step: events, and accesses as their kind and page. */
import type { TraceInput } from "../trace-input.ts";
import type { TraceEventInput } from "./event.ts";
import type { AccessKind, Codec, TraceHeader } from "./format.ts";
import { TraceReader } from "./reader.ts";
import { TraceWriter } from "./writer.ts";

const plain: Codec = { compress: (bytes) => bytes, decompress: (bytes) => bytes };
export const header: TraceHeader = {
  schema: "bigmem.trace/1",
  recorder: "test",
  command: ["test"],
  abi: "x86-64",
  sets: 1,
  accesses: "recorded",
  ordering: "exact",
  notes: [],
};

export type Step = TraceEventInput | readonly [AccessKind, number];

/** The image at 0x400, two pages of data, a stack. */
export const start: Extract<TraceEventInput, { op: "start" }> = {
  op: "start",
  thread: 1,
  process: 1,
  abi: "x86-64",
  regions: [
    { start: 0x400000, end: 0x402000, rights: "r-xp", what: "image", offset: 0, file: "/bin/p", fileBytes: 0x2000 },
    { start: 0x600000, end: 0x602000, rights: "rw-p", what: "heap", offset: 0 },
    { start: 0x7fff_ffff_c000, end: 0x7fff_ffff_f000, rights: "rw-p", what: "stack", offset: 0 },
  ],
  brk: 0x602000,
};

/** A trace of these steps. */
export async function traceOf(steps: readonly Step[], head: Partial<TraceHeader> = {}): Promise<TraceInput> {
  const parts: Uint8Array[] = [];
  const writer = new TraceWriter((bytes) => parts.push(bytes), plain, { ...header, ...head });
  for (const step of steps) {
    if ("op" in step) writer.event(step);
    else writer.access(step[0], step[1]);
  }
  await writer.finish();
  return {
    name: "t.bmt",
    open: () =>
      new TraceReader(
        (async function* () {
          yield* parts;
        })(),
        plain,
        "t.bmt",
      ),
  };
}

/** An anonymous mapping, which the recorded kernel put there. */
export const mmap = (address: number, lengthBytes: number, flags = 0x22): TraceEventInput => ({
  op: "call",
  name: "mmap",
  args: [0, lengthBytes, 3, flags, -1, 0],
  result: address,
});
