import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { UsageError } from "../../base/errors.ts";
import { checksum } from "./checksum.ts";
import type { TraceEventInput } from "./event.ts";
import {
  type Codec,
  FETCH,
  LOAD,
  recordCount,
  recordKind,
  recordPageIndex,
  STORE,
  type TraceHeader,
} from "./format.ts";
import { TraceReader } from "./reader.ts";
import { TraceWriter } from "./writer.ts";

const zstd: Codec = {
  compress: (bytes) => zstdCompressSync(bytes, { params: { [constants.ZSTD_c_compressionLevel]: 3 } }),
  decompress: (bytes, expected) => zstdDecompressSync(bytes, { maxOutputLength: Math.max(expected, 1) }),
};
const header: TraceHeader = {
  schema: "bigmem.trace/1",
  recorder: "test",
  command: ["sört", "big.txt"],
  abi: "x86-64",
  sets: 1,
  accesses: "recorded",
  ordering: "exact",
  notes: [],
};

async function written(fill: (writer: TraceWriter) => void, over: Partial<TraceHeader> = {}): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  const writer = new TraceWriter((bytes) => parts.push(bytes), zstd, { ...header, ...over });
  fill(writer);
  await writer.finish();
  return Buffer.concat(parts);
}

async function* inPieces(bytes: Uint8Array, length: number): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

/** The trace as one line a record. */
async function lines(bytes: Uint8Array, piece = bytes.length): Promise<string[]> {
  const reader = new TraceReader(inPieces(bytes, piece), zstd, "t.bmt");
  const found: string[] = [];
  for await (const chunk of reader.chunks()) {
    let event = 0;
    for (const word of chunk.words) {
      if (recordKind(word) === 3) found.push(JSON.stringify(chunk.events[event++]));
      else found.push(`${"xrw"[recordKind(word)]} ${chunk.pages[recordPageIndex(word)]} ${recordCount(word)}`);
    }
  }
  return found;
}

const brk: TraceEventInput = { op: "call", name: "brk", args: [0x5000], result: 0x5000 };

test("the checksum is xxHash32", () => {
  expect(checksum(new Uint8Array(0))).toBe(0x02cc5d05);
  expect(checksum(Buffer.from("abc"))).toBe(0x32d153ff);
  expect(checksum(Buffer.from("Nobody inspects the spammish repetition"))).toBe(0xe2293b2f);
});

describe("a trace", () => {
  test("comes back as it was written, whatever pieces the file comes in", async () => {
    const bytes = await written((writer) => {
      writer.access(FETCH, 7);
      writer.access(STORE, 2 ** 45 + 3);
      writer.event(brk);
      writer.access(FETCH, 7);
      writer.run(LOAD, 0xffffffffff600, 5000);
    });
    const expected = [
      "x 7 1",
      "w 35184372088835 1",
      JSON.stringify(brk),
      "x 7 1",
      "r 4503599627367936 4096",
      "r 4503599627367936 904",
    ];
    expect(await lines(bytes)).toEqual(expected);
    expect(await lines(bytes, 1)).toEqual(expected);
  });

  test("absorbs what its page's last access covers, and nothing across an event", async () => {
    const bytes = await written((writer) => {
      for (const [kind, page] of [
        [LOAD, 1],
        [STORE, 1],
        [LOAD, 1],
        [FETCH, 1],
        [LOAD, 1],
        [LOAD, 2],
        [LOAD, 1],
        [STORE, 1],
        [FETCH, 1],
      ] as const) {
        writer.access(kind, page);
      }
      writer.event(brk);
      writer.access(LOAD, 1);
    });
    // After the load of 2, the load of 1 is new; the store is not: both the last data access and the last store were on 1.
    expect(await lines(bytes)).toEqual(["r 1 3", "w 1 2", "x 1 2", "r 2 1", "r 1 1", JSON.stringify(brk), "r 1 1"]);
  });

  test("splits a run after 4096 accesses", async () => {
    const bytes = await written((writer) => {
      for (let i = 0; i < 5000; i++) writer.access(LOAD, 9);
    });
    expect(await lines(bytes)).toEqual(["r 9 4096", "r 9 904"]);
  });

  test("goes over many chunks", async () => {
    const bytes = await written((writer) => {
      for (let i = 0; i < 200_000; i++) writer.access(STORE, (i * 7919) % 100_003);
    });
    const found = await lines(bytes, 10_000);
    expect(found.length).toBe(200_000);
    expect(found.every((line, i) => line === `w ${(i * 7919) % 100_003} 1`)).toBe(true);
  });
});

describe("a bad file is a UsageError", () => {
  const small = written((writer) => {
    writer.access(FETCH, 1);
    writer.event(brk);
    writer.access(STORE, 5);
  });

  test("whichever byte is damaged", async () => {
    const good = await small;
    for (let at = 0; at < good.length; at++) {
      const bad = Uint8Array.from(good);
      bad[at] ^= 1 << (at % 8);
      await expect(lines(bad), `byte ${at}`).rejects.toThrow(UsageError);
    }
  });

  test("wherever it is cut off", async () => {
    const good = await small;
    for (let length = 0; length < good.length; length++) {
      await expect(lines(good.subarray(0, length)), `${length} bytes`).rejects.toThrow(
        /t\.bmt: at byte \d+: expected .*, found/,
      );
    }
  });

  test("if something follows its end", async () => {
    await expect(lines(Buffer.concat([await small, Buffer.from("x")]))).rejects.toThrow(/expected the end of the file/);
  });

  test("if it has another version", async () => {
    const bad = Uint8Array.from(await small);
    bad[8] = 2;
    await expect(lines(bad)).rejects.toThrow("t.bmt: at byte 8: expected version 1, found version 2");
  });
});
