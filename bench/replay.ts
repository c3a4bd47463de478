/**
 * Replay of recordings from their files: reading, checking and unpacking included, on Ice Lake's TLB and four levels of
 * page tables. The recording is a committed sample where there is one, or else one with the locality of programs.
 */
import { closeSync, existsSync, mkdtempSync, openSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Rng } from "../src/base/rng.ts";
import { zstdCodec } from "../src/cli/codec.ts";
import { readBytes } from "../src/cli/files.ts";
import { replay } from "../src/lab/replay.ts";
import type { ChunkSource } from "../src/lab/trace/chunk.ts";
import { FETCH, LOAD, STORE, type TraceHeader } from "../src/lab/trace/format.ts";
import { TraceReader } from "../src/lab/trace/reader.ts";
import { strippedHeader, stripTrace } from "../src/lab/trace/strip.ts";
import { TraceWriter } from "../src/lab/trace/writer.ts";
import { workloadSource } from "../src/lab/workloads/generator.ts";
import { Machine } from "../src/machine.ts";
import { specOf } from "../src/presets.ts";

export interface Measurement {
  readonly name: string;
  readonly value: number;
  readonly unit: string;
}

type Clock = () => number;
export type Size = "small" | "full";

const SAMPLE = new URL("../samples/sort.bmt", import.meta.url).pathname;
const STRIPPED_SETS = 16;
const PAGE = 4096;
const CODE = 0x40_0000;
const DATA = 0x1000_0000;
const CODE_PAGES = 200;
const DATA_PAGES = 1500;

/** Records a second of an unstripped recording. */
export const benchReplayRecords = (now: Clock, size: Size): Promise<Measurement> =>
  withRecording(size, 1, (file) => measure("replay of a recording, records", file, now, "records"));

/** Accesses a second that an unstripped recording stands for. */
export const benchReplayAccesses = (now: Clock, size: Size): Promise<Measurement> =>
  withRecording(size, 1, (file) => measure("replay of a recording, accesses", file, now, "accesses"));

/** Accesses a second that a recording stripped at 16 sets stands for. */
export const benchReplayStripped = (now: Clock, size: Size): Promise<Measurement> =>
  withRecording(size, STRIPPED_SETS, (file) =>
    measure("replay of a stripped recording, accesses", file, now, "accesses"),
  );

/** First-touch faults a second: sequential stores to untouched anonymous memory. */
export async function benchFaults(now: Clock, size: Size): Promise<Measurement> {
  const bytes = size === "full" ? "8G" : "64M";
  const pages = (size === "full" ? 8 * 2 ** 30 : 64 * 2 ** 20) / PAGE;
  const source = workloadSource(`workload:fork-storm?size=${bytes}&processes=0`);
  const machine = machineForReplay();
  const began = now();
  await replay(machine, source);
  return {
    name: "anonymous first-touch faults, unmapped at exit",
    value: (pages / (now() - began)) * 1000,
    unit: "faults/s",
  };
}

const machineForReplay = (): Machine => new Machine(specOf("icelake-1t", "linux-6.1", ["geometry.cpus=1"]));

const opened = (file: string): ChunkSource => new TraceReader(readBytes(file), zstdCodec(), file);

async function measure(name: string, file: string, now: Clock, what: "records" | "accesses"): Promise<Measurement> {
  const machine = machineForReplay();
  const began = now();
  const result = await replay(machine, opened(file));
  return { name, value: (result[what] / (now() - began)) * 1000, unit: `${what}/s` };
}

/** Gives `use` a recording in a file of its own. */
async function withRecording<T>(size: Size, sets: number, use: (file: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), "bigmem-bench-"));
  try {
    const whole =
      existsSync(SAMPLE) && size === "full"
        ? SAMPLE
        : await written(join(folder, "whole.bmt"), header, (writer) => program(writer, size));
    if (sets === 1) return await use(whole);
    const head = strippedHeader(await opened(whole).header(), sets, whole);
    if (head.sets === (await opened(whole).header()).sets) return await use(whole);
    return await use(await written(join(folder, "stripped.bmt"), head, (writer) => stripTrace(opened(whole), writer)));
  } finally {
    rmSync(folder, { recursive: true });
  }
}

async function written(path: string, head: TraceHeader, fill: (writer: TraceWriter) => unknown): Promise<string> {
  const descriptor = openSync(path, "w");
  const writer = new TraceWriter(
    (bytes) => {
      for (let done = 0; done < bytes.length; ) done += writeSync(descriptor, bytes, done);
    },
    zstdCodec(),
    head,
  );
  await fill(writer);
  await writer.finish();
  closeSync(descriptor);
  return path;
}

const header: TraceHeader = {
  schema: "bigmem.trace/1",
  recorder: "bench",
  command: ["loops over arrays and tables"],
  abi: "x86-64",
  sets: 1,
  accesses: "recorded",
  ordering: "exact",
  notes: [],
};

/** A program of small loops: each fetches from a page or two and walks over some data, a record every 5 accesses or so. */
async function program(writer: TraceWriter, size: Size): Promise<void> {
  const rng = new Rng(1);
  const region = (start: number, pages: number, rights: string) => ({
    start,
    end: start + pages * PAGE,
    rights,
    what: "anonymous",
    offset: 0,
  });
  writer.event({
    op: "start",
    thread: 1,
    process: 1,
    abi: "x86-64",
    regions: [region(CODE, CODE_PAGES, "r-xp"), region(DATA, DATA_PAGES, "rw-p")],
    brk: 0,
  });
  const popular = (pages: number): number => Math.floor((rng.below(1 << 20) / (1 << 20)) ** 6 * pages);
  const rounds = size === "full" ? 400_000 : 4_000;
  for (let round = 0; round < rounds; round++) {
    const code = CODE / PAGE + popular(CODE_PAGES);
    const called = CODE / PAGE + popular(CODE_PAGES);
    const data = DATA / PAGE + popular(DATA_PAGES);
    const table = DATA / PAGE + popular(DATA_PAGES);
    for (let turn = 0; turn < 12; turn++) {
      for (let fetch = 0; fetch < 3; fetch++) writer.access(FETCH, code);
      writer.access(LOAD, data);
      writer.access(LOAD, turn % 3 === 0 ? table : data);
      writer.access(FETCH, turn % 4 === 0 ? called : code);
      if (turn % 2 === 0) writer.access(STORE, data);
    }
    if (round % 2000 === 1999) await writer.settled();
  }
}
