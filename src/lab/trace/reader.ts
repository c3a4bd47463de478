/**
 * Reads a trace, a chunk at a time. While one chunk is replayed the next ones are read and unpacked, so that a codec
 * that works beside the caller costs no time. Nothing in a file is trusted: whatever is not as format.ts draws it is a
 * UsageError that names the file, the offset, what was expected and what was found.
 */
import { UsageError } from "../../base/errors.ts";
import { decodeJson } from "./ascii.ts";
import { ByteStream } from "./byte-stream.ts";
import { checksum, SequenceHash } from "./checksum.ts";
import { type Chunk, type ChunkSource, unpackChunk } from "./chunk.ts";
import {
  CHUNK_HEAD_WORDS,
  CHUNK_RECORDS,
  CHUNK_TAG,
  type Codec,
  END_BYTES,
  END_TAG,
  headerSchema,
  MAGIC,
  MAX_EVENT_BYTES,
  MAX_HEADER_BYTES,
  MAX_PAYLOAD_BYTES,
  type TraceHeader,
  type TraceTotals,
  VERSION,
} from "./format.ts";

/** Chunks that are read and unpacked ahead of the one in use. */
const READ_AHEAD = 2;
/** What packing may add to bytes that do not pack. */
const PACKING_SLACK = 1 << 16;

interface PackedChunk {
  readonly head: Uint32Array;
  readonly packed: Uint8Array;
  readonly where: string;
}

export class TraceReader implements ChunkSource {
  readonly name: string;
  private readonly stream: ByteStream;
  private readonly codec: Codec;
  private readonly sums = new SequenceHash();
  private parsedHeader: Promise<TraceHeader> | undefined;
  private endTotals: TraceTotals | undefined;

  constructor(source: AsyncIterable<Uint8Array>, codec: Codec, name: string) {
    this.stream = new ByteStream(source, name);
    this.codec = codec;
    this.name = name;
  }

  header(): Promise<TraceHeader> {
    this.parsedHeader ??= this.readHeader();
    return this.parsedHeader;
  }

  /** What the end record says, checked against what was read. Throws before the chunks are through. */
  get totals(): TraceTotals {
    if (this.endTotals === undefined)
      throw new UsageError(`${this.name}: its totals are at its end; read its chunks first`);
    return this.endTotals;
  }

  get hash(): string {
    return this.totals.hash;
  }

  close(): Promise<void> {
    return this.stream.close();
  }

  /** Every chunk in order, once. A chunk is valid until the next is asked for. */
  async *chunks(): AsyncGenerator<Chunk, void, undefined> {
    const counted = { chunks: 0, records: 0, accesses: 0, events: 0 };
    const ahead: Promise<Chunk>[] = [];
    try {
      await this.header();
      let next: Promise<PackedChunk | undefined> | undefined = watched(this.readChunk(0));
      for (let read = 1; next !== undefined || ahead.length > 0; ) {
        while (next !== undefined && ahead.length < READ_AHEAD) {
          const packed: PackedChunk | undefined = await next;
          next = packed === undefined ? undefined : watched(this.readChunk(read++));
          if (packed !== undefined) ahead.push(watched(this.unpack(packed)));
        }
        const chunk = await ahead.shift();
        if (chunk === undefined) break;
        counted.chunks++;
        counted.records += chunk.words.length;
        counted.accesses += chunk.accesses;
        counted.events += chunk.events.length;
        yield chunk;
      }
      this.checkTotals(counted);
    } finally {
      await this.stream.close();
    }
  }

  private async readHeader(): Promise<TraceHeader> {
    const { stream } = this;
    const fixed = await stream.take(MAGIC.length + 8, "a trace's header");
    if (MAGIC.some((byte, i) => fixed[i] !== byte))
      stream.malformed(0, `a bigmem trace (${hex(MAGIC)})`, described(fixed));
    const view = new DataView(fixed.buffer, fixed.byteOffset, fixed.length);
    const version = view.getUint32(8, true);
    if (version !== VERSION) stream.malformed(8, `version ${VERSION}`, `version ${version}`);
    const length = view.getUint32(12, true);
    if (length > MAX_HEADER_BYTES) stream.malformed(12, `a header of at most ${MAX_HEADER_BYTES} bytes`, `${length}`);
    const json = await stream.take(length, "the header");
    const sum = await stream.take(4, "the header's checksum");
    const stated = new DataView(sum.buffer, sum.byteOffset, 4).getUint32(0, true);
    const whole = new Uint8Array(fixed.length + length);
    whole.set(fixed);
    whole.set(json, fixed.length);
    const found = checksum(whole);
    if (found !== stated)
      stream.malformed(16 + length, `checksum ${stated}`, `${found} over the header: it is damaged`);
    this.sums.add(found);
    return this.parseHeader(json);
  }

  private parseHeader(json: Uint8Array): TraceHeader {
    let value: unknown;
    try {
      value = decodeJson(json);
    } catch {
      this.stream.malformed(16, "a header in JSON", "something else");
    }
    const parsed = headerSchema.safeParse(value);
    if (parsed.success) return parsed.data;
    const issue = parsed.error.issues[0];
    return this.stream.malformed(16, `a bigmem.trace/1 header`, `${issue.path.join(".")}: ${issue.message}`);
  }

  /** The next chunk as it stands in the file, checked against its checksum; undefined after the end record. */
  private async readChunk(number: number): Promise<PackedChunk | undefined> {
    const { stream } = this;
    const start = stream.offset;
    const tagBytes = await stream.take(
      4,
      "a chunk or the end record (the file was cut off, or its writer did not finish)",
    );
    const tag = new DataView(tagBytes.buffer, tagBytes.byteOffset, 4).getUint32(0, true);
    if (tag === END_TAG) {
      await this.readEnd(start);
      return undefined;
    }
    if (tag !== CHUNK_TAG) stream.malformed(start, `a chunk ("CHNK") or the end ("ENDS")`, described(tagBytes));
    const headBytes = new Uint8Array(CHUNK_HEAD_WORDS * 4);
    headBytes.set(tagBytes);
    headBytes.set(await stream.take(headBytes.length - 4, "a chunk's head"), 4);
    const head = new Uint32Array(headBytes.buffer);
    this.checkHead(head, start);
    const packed = await stream.take(head[6], "a chunk's payload");
    const sum = checksum(packed, checksum(headBytes.subarray(0, headBytes.length - 4)));
    if (sum !== head[7]) stream.malformed(start, `a chunk with checksum ${head[7]}`, `${sum}: it is damaged`);
    this.sums.add(sum);
    return { head, packed, where: `${this.name}: chunk ${number} at byte ${start}` };
  }

  private checkHead(head: Uint32Array, start: number): void {
    const { stream } = this;
    const [, records, pages, eventBytes, , payload, packed] = head;
    if (records === 0 || records > CHUNK_RECORDS)
      stream.malformed(start + 4, `1 to ${CHUNK_RECORDS} records`, `${records}`);
    if (pages > records) stream.malformed(start + 8, `at most ${records} pages`, `${pages}`);
    if (eventBytes > MAX_EVENT_BYTES)
      stream.malformed(start + 12, `at most ${MAX_EVENT_BYTES} bytes of events`, `${eventBytes}`);
    if (payload > MAX_PAYLOAD_BYTES)
      stream.malformed(start + 20, `a payload of at most ${MAX_PAYLOAD_BYTES} bytes`, `${payload}`);
    if (packed > payload + PACKING_SLACK)
      stream.malformed(start + 24, `at most ${payload + PACKING_SLACK} bytes`, `${packed}`);
  }

  private async unpack({ head, packed, where }: PackedChunk): Promise<Chunk> {
    const [, records, pages, eventBytes, thread, length] = head;
    let bytes: Uint8Array;
    try {
      bytes = await this.codec.decompress(packed, length);
    } catch (error) {
      throw new UsageError(
        `${where}: expected ${length} packed bytes, found: ${error instanceof Error ? error.message : error}`,
      );
    }
    if (bytes.length !== length)
      throw new UsageError(`${where}: expected ${length} packed bytes, found ${bytes.length}`);
    return unpackChunk({ bytes, records, pages, eventBytes }, thread, where);
  }

  private async readEnd(start: number): Promise<void> {
    const { stream } = this;
    const bytes = new Uint8Array(END_BYTES);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, END_TAG, true);
    bytes.set(await stream.take(END_BYTES - 4, "the end record"), 4);
    const sum = checksum(bytes.subarray(0, 40));
    if (sum !== view.getUint32(40, true))
      stream.malformed(start, `an end record with checksum ${view.getUint32(40, true)}`, `${sum}`);
    if ((await stream.takeUpTo(1)).length > 0) stream.malformed(stream.offset - 1, "the end of the file", "more bytes");
    const [low, high] = this.sums.words();
    if (low !== view.getUint32(32, true) || high !== view.getUint32(36, true)) {
      stream.malformed(start + 32, "the hash of the chunks before it", "another: chunks are missing or exchanged");
    }
    this.endTotals = {
      chunks: view.getUint32(4, true),
      records: view.getFloat64(8, true),
      accesses: view.getFloat64(16, true),
      events: view.getFloat64(24, true),
      hash: this.sums.text(),
    };
  }

  private checkTotals(counted: Omit<TraceTotals, "hash">): void {
    const { totals } = this;
    for (const what of ["chunks", "records", "accesses", "events"] as const) {
      if (totals[what] !== counted[what]) {
        throw new UsageError(`${this.name}: its end record: expected ${totals[what]} ${what}, found ${counted[what]}`);
      }
    }
  }
}

/** Keeps a promise that may never be awaited from being reported as unhandled; awaiting it still throws. */
function watched<T>(promise: Promise<T>): Promise<T> {
  promise.catch(() => {});
  return promise;
}

const hex = (bytes: ArrayLike<number>): string =>
  Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(" ");

function described(bytes: Uint8Array): string {
  if (bytes[0] === 0x1f && bytes[1] === 0x8b) return "gzip data: unpack it first";
  if (bytes[0] === 0x28 && bytes[1] === 0xb5 && bytes[2] === 0x2f && bytes[3] === 0xfd)
    return "zstd data: unpack it first";
  return hex(bytes.subarray(0, 8));
}
