/**
 * A recording as the same program would have run natively, without randomisation and with its files in memory: a trace
 * whose chunks are rewritten as they are read.
 */
import type { Vpn } from "../../base/units.ts";
import type { MachineSpec } from "../../presets.ts";
import type { Chunk, ChunkSource } from "../trace/chunk.ts";
import type { TraceEvent } from "../trace/event.ts";
import {
  accessRecord,
  EVENT,
  eventRecord,
  KIND_MASK,
  LOAD,
  PAGE_INDEX_SHIFT,
  recordEventIndex,
} from "../trace/format.ts";
import type { TraceInput } from "../trace-input.ts";
import type { Moves } from "./moves.ts";
import { NativeLayout } from "./native-layout.ts";

/** The trace, laid out as the kernel of `spec` does. */
export function nativeTrace(input: TraceInput, spec: MachineSpec): TraceInput {
  return { name: input.name, open: () => new NativeSource(input.open(), spec) };
}

class NativeSource implements ChunkSource {
  readonly name: string;
  private readonly source: ChunkSource;
  private readonly layout: NativeLayout;

  constructor(source: ChunkSource, spec: MachineSpec) {
    this.source = source;
    this.name = source.name;
    this.layout = new NativeLayout(spec);
  }

  get hash(): string {
    return this.source.hash;
  }

  header() {
    return this.source.header();
  }

  async *chunks(): AsyncIterable<Chunk> {
    for await (const chunk of this.source.chunks()) yield new ChunkRewriter(chunk, this.layout).rewritten();
  }

  async close(): Promise<void> {
    await this.source.close?.();
  }
}

const KIND_AND_COUNT = (1 << PAGE_INDEX_SHIFT) - 1;

class ChunkRewriter {
  private readonly chunk: Chunk;
  private readonly layout: NativeLayout;
  private readonly words: number[] = [];
  private readonly pages: Vpn[] = [];
  private readonly indices = new Map<Vpn, number>();
  private readonly events: TraceEvent[] = [];
  private readonly eventAt: number[] = [];
  /** By page index of the recording: the page index here, plus 1, in the layout of now. */
  private readonly translated: Int32Array;
  private moves: Moves | null = null;
  private version = -1;

  constructor(chunk: Chunk, layout: NativeLayout) {
    this.chunk = chunk;
    this.layout = layout;
    this.translated = new Int32Array(chunk.pages.length);
  }

  rewritten(): Chunk {
    const { chunk, words } = this;
    this.layout.enter(chunk.thread);
    this.look();
    for (const word of chunk.words) {
      if ((word & KIND_MASK) === EVENT) this.event(chunk.events[recordEventIndex(word)]);
      else words.push(((word & KIND_AND_COUNT) | (this.indexOf(word >>> PAGE_INDEX_SHIFT) << PAGE_INDEX_SHIFT)) >>> 0);
    }
    return {
      words: Uint32Array.from(words),
      pages: Float64Array.from(this.pages),
      events: this.events,
      eventAt: Int32Array.from(this.eventAt),
      accesses: chunk.accesses,
      thread: chunk.thread,
    };
  }

  private event(event: TraceEvent): void {
    const { events, thenLoads } = this.layout.event(event);
    for (const each of events) {
      this.eventAt.push(this.words.length);
      this.words.push(eventRecord(this.events.length));
      this.events.push(each);
    }
    if (thenLoads !== null) this.words.push(accessRecord(LOAD, this.intern(thenLoads), 1));
    this.look();
  }

  /** Forgets what was translated in another layout. */
  private look(): void {
    const { moves } = this.layout;
    if (moves === this.moves && moves?.version === this.version) return;
    this.moves = moves;
    this.version = moves?.version ?? -1;
    this.translated.fill(0);
  }

  private indexOf(recorded: number): number {
    const known = this.translated[recorded];
    if (known > 0) return known - 1;
    const page = this.chunk.pages[recorded];
    const index = this.intern(this.moves?.page(page) ?? page);
    this.translated[recorded] = index + 1;
    return index;
  }

  private intern(page: Vpn): number {
    const known = this.indices.get(page);
    if (known !== undefined) return known;
    const index = this.pages.length;
    this.pages.push(page);
    this.indices.set(page, index);
    return index;
  }
}
