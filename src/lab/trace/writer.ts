/**
 * Writes a trace. Accesses go through absorption (absorb.ts) at the number of slots that the header states; chunks are
 * packed as they fill, so that memory does not grow with the trace's length.
 */
import { UsageError } from "../../base/errors.ts";
import type { Vpn } from "../../base/units.ts";
import { Absorber } from "./absorb.ts";
import { encodeJson } from "./ascii.ts";
import { checksum, SequenceHash } from "./checksum.ts";
import { type Chunk, ChunkBuilder, ChunkPacker, parseEvent } from "./chunk.ts";
import type { TraceEvent, TraceEventInput } from "./event.ts";
import {
  type AccessKind,
  CHUNK_HEAD_WORDS,
  CHUNK_TAG,
  type Codec,
  END_BYTES,
  END_TAG,
  headerSchema,
  MAGIC,
  MAX_EVENT_BYTES,
  MAX_HEADER_BYTES,
  MAX_PAGE,
  MAX_RUN,
  type TraceHeader,
  type TraceTotals,
  VERSION,
} from "./format.ts";

/** A chunk is closed early once its events are about so large. */
const EVENT_BYTES_PER_CHUNK = 1 << 20;

export class TraceWriter {
  readonly header: TraceHeader;
  private readonly sink: (bytes: Uint8Array) => void;
  private readonly codec: Codec;
  private readonly absorber: Absorber;
  private readonly builder = new ChunkBuilder();
  private readonly packer = new ChunkPacker();
  private readonly hash = new SequenceHash();
  private readonly totals = { chunks: 0, records: 0, accesses: 0, events: 0 };
  private eventBytes = 0;
  /** The last of the packings under way, where the codec is asynchronous. */
  private packing: Promise<void> | undefined;

  /** Writes the header at once. Throws UsageError for a header that readers would refuse. */
  constructor(sink: (bytes: Uint8Array) => void, codec: Codec, header: TraceHeader) {
    const parsed = headerSchema.safeParse(header);
    if (!parsed.success) {
      const issue = parsed.error.issues[0];
      throw new UsageError(`the trace's header: ${issue.path.join(".")}: ${issue.message}`);
    }
    this.header = parsed.data;
    this.sink = sink;
    this.codec = codec;
    this.absorber = new Absorber(this.header.sets);
    this.writeHeader();
  }

  /** The thread whose records are being written. */
  get thread(): number {
    return this.builder.thread;
  }

  /** One access: FETCH, LOAD or STORE of `page`. */
  access(kind: AccessKind, page: Vpn): void {
    const { builder, absorber } = this;
    if (absorber.absorb(builder.words, kind, page, 1) === 0) return;
    if (builder.full) this.flush();
    absorber.open(kind, page, builder.run(kind, checked(page), 1));
  }

  /** A run that was absorbed at fewer slots: absorbs it further. */
  absorb(kind: AccessKind, page: Vpn, count: number): void {
    const { builder, absorber } = this;
    let rest = absorber.absorb(builder.words, kind, page, count);
    while (rest > 0) {
      if (builder.full) this.flush();
      const part = Math.min(rest, MAX_RUN);
      absorber.open(kind, page, builder.run(kind, checked(page), part));
      rest -= part;
    }
  }

  /** A run that the recorder has already absorbed: written as it is. */
  run(kind: AccessKind, page: Vpn, count: number): void {
    for (let rest = count; rest > 0; rest -= MAX_RUN) {
      if (this.builder.full) this.flush();
      this.builder.run(kind, checked(page), Math.min(rest, MAX_RUN));
    }
  }

  /** Runs as a recorder sends them, written as they are (ChunkBuilder.runs); returns where it found no run. */
  runs(items: Uint32Array, from: number): number {
    const { builder } = this;
    for (let at = from; ; ) {
      at = builder.runs(items, at);
      if (at >= items.length || !builder.full) return at;
      this.flush();
    }
  }

  /** An event; it ends every run. Throws UsageError for one that readers would refuse. */
  event(event: TraceEventInput): void {
    const whole: TraceEvent = parseEvent(event, `event ${this.totals.events}`);
    const length = whole.op === "start" || whole.op === "exec" ? encodeJson(whole).length : 4096;
    if (length > MAX_EVENT_BYTES / 2) throw new UsageError(`an event of ${length} bytes: more than a trace can hold`);
    if (this.builder.full || this.eventBytes + length > EVENT_BYTES_PER_CHUNK) this.flush();
    this.absorber.close();
    this.builder.event(whole);
    this.eventBytes += length;
    this.totals.events++;
  }

  /** When the chunks handed over so far are written; for those who must not run ahead of an asynchronous codec. */
  async settled(): Promise<void> {
    await this.packing;
  }

  /** Writes what is left and the end record. */
  async finish(): Promise<TraceTotals> {
    this.flush();
    await this.packing;
    const bytes = new Uint8Array(END_BYTES);
    const view = new DataView(bytes.buffer);
    const { chunks, records, accesses, events } = this.totals;
    view.setUint32(0, END_TAG, true);
    view.setUint32(4, chunks, true);
    view.setFloat64(8, records, true);
    view.setFloat64(16, accesses, true);
    view.setFloat64(24, events, true);
    const [low, high] = this.hash.words();
    view.setUint32(32, low, true);
    view.setUint32(36, high, true);
    view.setUint32(40, checksum(bytes.subarray(0, 40)), true);
    this.sink(bytes);
    return { ...this.totals, hash: this.hash.text() };
  }

  private writeHeader(): void {
    const json = encodeJson(this.header);
    if (json.length > MAX_HEADER_BYTES) throw new UsageError(`the trace's header: ${json.length} bytes, at most 1 MiB`);
    const bytes = new Uint8Array(MAGIC.length + 8 + json.length + 4);
    const view = new DataView(bytes.buffer);
    bytes.set(MAGIC);
    view.setUint32(8, VERSION, true);
    view.setUint32(12, json.length, true);
    bytes.set(json, 16);
    const sum = checksum(bytes.subarray(0, 16 + json.length));
    view.setUint32(16 + json.length, sum, true);
    this.hash.add(sum);
    this.sink(bytes);
  }

  private flush(): void {
    this.absorber.close();
    this.eventBytes = 0;
    if (this.builder.records === 0) return;
    const chunk = this.builder.take();
    this.totals.chunks++;
    this.totals.records += chunk.words.length;
    this.totals.accesses += chunk.accesses;
    this.pack(chunk);
  }

  private pack(chunk: Chunk): void {
    const payload = this.packer.pack(chunk);
    const packed = this.codec.compress(payload.bytes);
    const write = (bytes: Uint8Array): void => {
      const head = new Uint32Array(CHUNK_HEAD_WORDS);
      head.set([
        CHUNK_TAG,
        payload.records,
        payload.pages,
        payload.eventBytes,
        chunk.thread,
        payload.bytes.length,
        bytes.length,
      ]);
      const headBytes = new Uint8Array(head.buffer);
      head[CHUNK_HEAD_WORDS - 1] = checksum(bytes, checksum(headBytes.subarray(0, headBytes.length - 4)));
      this.hash.add(head[CHUNK_HEAD_WORDS - 1]);
      this.sink(headBytes);
      this.sink(bytes);
    };
    if (packed instanceof Uint8Array && this.packing === undefined) {
      write(packed);
      return;
    }
    const before = this.packing;
    this.packing = (async () => {
      await before;
      write(await packed);
    })();
    // Reported by settled() or finish().
    this.packing.catch(() => {});
  }
}

function checked(page: Vpn): Vpn {
  if (page >= 0 && page < MAX_PAGE && Number.isInteger(page)) return page;
  throw new UsageError(`page ${page}: a trace holds whole page numbers from 0 to below 2^52`);
}
