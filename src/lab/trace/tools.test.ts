import { zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../base/errors.ts";
import { Rng } from "../../base/rng.ts";
import type { ChunkSource } from "./chunk.ts";
import { cutHeader, cutTrace } from "./cut.ts";
import { dumpedHeader, dumpTrace, writeDumped } from "./dump.ts";
import { type AccessKind, type Codec, LOAD, STORE } from "./format.ts";
import { infoText, traceInfo } from "./info.ts";
import { PageSet } from "./page-set.ts";
import { TraceReader } from "./reader.ts";
import { strippedHeader, stripTrace } from "./strip.ts";
import { header } from "./test-trace.ts";
import { TraceWriter } from "./writer.ts";

const codec: Codec = {
  compress: (bytes) => zstdCompressSync(bytes),
  decompress: (bytes, expected) => zstdDecompressSync(bytes, { maxOutputLength: expected }),
};

/** A trace in memory that can be read again and again. */
async function trace(fill: (writer: TraceWriter) => unknown, head = header): Promise<() => ChunkSource> {
  const parts: Uint8Array[] = [];
  const writer = new TraceWriter((bytes) => parts.push(bytes), codec, head);
  await fill(writer);
  await writer.finish();
  return () =>
    new TraceReader(
      (async function* () {
        yield* parts;
      })(),
      codec,
      "t.bmt",
    );
}

async function dump(source: ChunkSource): Promise<string> {
  let text = "";
  for await (const lines of dumpTrace(source)) text += lines;
  return text;
}

const forking = trace((writer) => {
  const regions = [{ start: 0x1000, end: 0x3000, rights: "rw-p", what: "anonymous", offset: 0 }];
  writer.event({ op: "start", thread: 1, process: 1, abi: "x86-64", regions, brk: 0 });
  for (let i = 0; i < 10; i++) writer.access(STORE, 1);
  writer.access(LOAD, 2);
  writer.event({ op: "fork", child: 2, process: 2, shares: "nothing" });
  writer.event({ op: "switch", thread: 2 });
  writer.access(STORE, 1);
  writer.event({ op: "kernel-access", address: 0x2fff, lengthBytes: 2, kind: "store" });
  writer.event({ op: "call", name: "munmap", args: [0x9000, 0], result: -22 });
  writer.access(LOAD, 2);
  writer.event({ op: "exit", thread: 2, status: 0 });
});

test("info counts records, accesses, pages of each process and calls", async () => {
  const info = await traceInfo((await forking)());
  expect(info).toMatchObject({
    records: 10,
    accesses: 13,
    accessesByKind: { fetch: 0, load: 2, store: 11 },
    processes: 2,
    threads: 2,
    distinctPages: 5,
    failedCalls: 1,
    switches: 1,
    events: { start: 1, fork: 1, switch: 1, exit: 1, "kernel-access": 1, "call munmap": 1 },
  });
  expect(infoText(info)).toMatch(/order +exact: one recorder saw/);
});

test("a dump comes back as the same trace", async () => {
  const text = await dump((await forking)());
  expect(text).toContain("store 0x1 10\n");
  const [first, ...rest] = text.trimEnd().split("\n");
  const again = await trace(
    (writer) =>
      rest.forEach((line, i) => {
        writeDumped(line, writer, `line ${i + 2}`);
      }),
    dumpedHeader(first, "dump"),
  );
  expect(await dump(again())).toBe(text);
});

test("a damaged dump says where and what was expected", async () => {
  const writer = new TraceWriter(() => {}, codec, header);
  for (const line of ["lode 0x1 1", "load 1 1", "load 0x1 0", "load 0x1 4097", "event {"]) {
    expect(() => writeDumped(line, writer, "d.txt: line 7"), line).toThrow(/^d\.txt: line 7: expected/);
  }
});

test("a cut keeps what built the address spaces, and not the accesses before it", async () => {
  const source = (await forking)();
  const range = { unit: "record", from: 7, to: 9 } as const;
  const part = await trace(async (writer) => cutTrace(source, writer, range), cutHeader(header, range, "t.bmt"));
  const lines = (await dump(part())).trimEnd().split("\n").slice(1);
  expect(lines.map((line) => line.split(",")[0])).toEqual([
    'event {"op":"start"',
    'event {"op":"fork"',
    'event {"op":"switch"',
    'event {"op":"call"',
    "load 0x2 1",
  ]);
});

test("a cut beyond the end is refused", async () => {
  const writer = new TraceWriter(() => {}, codec, header);
  await expect(cutTrace((await forking)(), writer, { unit: "event", from: 70, to: 90 })).rejects.toThrow(
    "t.bmt: has 6 events, none from 70 to 90",
  );
});

describe("strip", () => {
  const accesses = Array.from({ length: 150_000 }, (_, i): [AccessKind, number] => {
    const rng = new Rng(i >>> 3);
    return [(i % 3) as AccessKind, rng.below(40)];
  });
  const fill = (writer: TraceWriter): void => {
    accesses.forEach(([kind, page], i) => {
      writer.access(kind, page);
      if (i % 5000 === 4999) writer.event({ op: "call", name: "brk", args: [0], result: 0 });
    });
  };

  test("of a recording gives what recording at so many sets would have given", async () => {
    const whole = await trace(fill, { ...header, sets: 0 });
    const once = await trace(fill);
    const atFour = await trace(fill, { ...header, sets: 4 });
    const head = strippedHeader(header, 4, "t.bmt");
    const stripped = await trace((writer) => stripTrace(once(), writer), head);
    const counts = await Promise.all([whole, once, atFour, stripped].map(async (open) => traceInfo(open())));
    for (const { accesses: count } of counts) expect(count).toBe(150_000);
    expect(counts[1].records).toBeLessThan(counts[0].records);
    expect(counts[2].records).toBeLessThan(counts[1].records);
    expect(counts[3].records).toBe(counts[2].records);
  });

  test("refuses what is no power of two, and fewer sets than before", () => {
    expect(() => strippedHeader(header, 3, "t.bmt")).toThrow(UsageError);
    expect(() => strippedHeader({ ...header, sets: 16 }, 8, "t.bmt")).toThrow("is stripped at 16 sets already");
  });
});

test("a set of pages counts each once, however far apart", () => {
  const pages = new PageSet();
  for (const page of [0, 1, 0, 2 ** 45, 32_768, 2 ** 45, 32_767]) pages.add(page);
  expect(pages.size).toBe(5);
  expect([0, 2, 2 ** 45, 2 ** 45 + 1].map((page) => pages.has(page))).toEqual([true, false, true, false]);
});
