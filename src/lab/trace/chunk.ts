/**
 * One chunk of a trace, in memory and as a payload. A builder gathers records until 65,536 are there; packing sorts the
 * chunk's pages, so that neighbours differ by little and the codec finds more to save.
 */

import { UsageError } from "../../base/errors.ts";
import type { Vpn } from "../../base/units.ts";
import { asciiText, encodeJson } from "./ascii.ts";
import { type EventOf, eventSchema, type TraceEvent } from "./event.ts";
import {
  type AccessKind,
  accessRecord,
  CHUNK_RECORDS,
  COUNT_MASK,
  COUNT_SHIFT,
  EVENT,
  EVENT_INDEX_SHIFT,
  eventRecord,
  KIND_MASK,
  MAX_PAGE,
  MAX_PAGE_BYTES,
  PAGE_INDEX_SHIFT,
  type TraceHeader,
} from "./format.ts";

/** Borrowed: valid until the next chunk is asked for. */
export interface Chunk {
  /** By record: the record, as format.ts draws it. */
  readonly words: Uint32Array;
  /** By page index: the page. */
  readonly pages: Float64Array;
  /** By event index: the event. */
  readonly events: readonly TraceEvent[];
  /** By event index: its record. */
  readonly eventAt: Int32Array;
  readonly accesses: number;
  /** Whose records they are, until the first `switch`. */
  readonly thread: number;
}

/** What gives chunks: a file, a generator, a cut of another source. */
export interface ChunkSource {
  /** For messages: the file's name, or "workload:fork-storm". */
  readonly name: string;
  header(): Promise<TraceHeader>;
  chunks(): AsyncIterable<Chunk>;
  /** For those who stop before the end of the chunks: lets go of the file. */
  close?(): Promise<void>;
  /** Sixteen digits that name the recording; known once the chunks are through. */
  readonly hash: string;
}

const DICTIONARY_SIZE = 1 << 18;
/** Pages whose index is remembered without a look into the dictionary. */
const RECENT_PAGES = 1 << 10;
const NO_PAGE = -1;
/** The upper word of an item counts in these. */
const ITEM_PAGES = 2 ** (32 - PAGE_INDEX_SHIFT);
const KIND_AND_COUNT_MASK = (1 << PAGE_INDEX_SHIFT) - 1;

/** Page numbers to indices, for one chunk at a time: open addressing, forgotten at once by a new generation. */
class PageDictionary {
  readonly pages = new Float64Array(CHUNK_RECORDS);
  count = 0;
  private readonly keys = new Float64Array(DICTIONARY_SIZE);
  private readonly values = new Int32Array(DICTIONARY_SIZE);
  private readonly generations = new Int32Array(DICTIONARY_SIZE);
  private generation = 1;

  indexOf(page: Vpn): number {
    const mixed = Math.imul((page | 0) ^ Math.imul((page / 0x1_0000_0000) | 0, 0x85ebca77), 0x9e3779b1);
    let at = mixed >>> 14;
    while (this.generations[at] === this.generation) {
      if (this.keys[at] === page) return this.values[at];
      at = (at + 1) & (DICTIONARY_SIZE - 1);
    }
    const index = this.count++;
    this.generations[at] = this.generation;
    this.keys[at] = page;
    this.values[at] = index;
    this.pages[index] = page;
    return index;
  }

  clear(): void {
    this.count = 0;
    this.generation++;
  }
}

/** Gathers one chunk after the other. Check `full` before each record. */
export class ChunkBuilder {
  readonly words = new Uint32Array(CHUNK_RECORDS);
  records = 0;
  /** Whose records these are. */
  thread = 0;
  private readonly dictionary = new PageDictionary();
  // Of recent pages, by their low bits: the item's two parts of the page number, and the page's index.
  private readonly recentLow = new Int32Array(RECENT_PAGES).fill(NO_PAGE);
  private readonly recentHigh = new Uint32Array(RECENT_PAGES);
  private readonly recentIndex = new Int32Array(RECENT_PAGES);
  private events: TraceEvent[] = [];
  private eventAt: number[] = [];
  private startThread = 0;

  get full(): boolean {
    return this.records === CHUNK_RECORDS;
  }

  /** Appends a run; returns its record's index in `words`. */
  run(kind: AccessKind, page: Vpn, count: number): number {
    this.words[this.records] = accessRecord(kind, this.dictionary.indexOf(page), count);
    return this.records++;
  }

  /**
   * Appends runs as recorders send them, two words each: a record with the page's low 18 bits in the place of its index,
   * then the page's upper bits. Stops before an item of kind 3, and when it is full; returns where.
   */
  runs(items: Uint32Array, from: number): number {
    const { words, recentLow, recentHigh, recentIndex } = this;
    let at = from;
    let record = this.records;
    for (; at < items.length && record < CHUNK_RECORDS; at += 2) {
      const item = items[at];
      if ((item & KIND_MASK) === EVENT) break;
      const low = item >>> PAGE_INDEX_SHIFT;
      const high = items[at + 1];
      const slot = low & (RECENT_PAGES - 1);
      if (recentLow[slot] !== low || recentHigh[slot] !== high) this.remember(slot, low, high);
      words[record++] = (item & KIND_AND_COUNT_MASK) | (recentIndex[slot] << PAGE_INDEX_SHIFT);
    }
    this.records = record;
    return at;
  }

  event(event: TraceEvent): void {
    this.words[this.records] = eventRecord(this.events.length);
    this.eventAt.push(this.records++);
    this.events.push(event);
    this.thread = threadAfter(event, this.thread);
  }

  /** The chunk gathered so far; the builder starts the next one. The words stay the builder's own. */
  take(): Chunk {
    const words = this.words.subarray(0, this.records);
    const chunk: Chunk = {
      words,
      pages: this.dictionary.pages.slice(0, this.dictionary.count),
      events: this.events,
      eventAt: Int32Array.from(this.eventAt),
      accesses: accessesIn(words),
      thread: this.startThread,
    };
    this.records = 0;
    this.dictionary.clear();
    this.recentLow.fill(NO_PAGE);
    this.events = [];
    this.eventAt = [];
    this.startThread = this.thread;
    return chunk;
  }

  private remember(slot: number, low: number, high: number): void {
    this.recentLow[slot] = low;
    this.recentHigh[slot] = high;
    this.recentIndex[slot] = this.dictionary.indexOf(high * ITEM_PAGES + low);
  }
}

/** The current thread after `event`. */
export function threadAfter(event: TraceEvent, thread: number): number {
  return event.op === "switch" || event.op === "start"
    ? (event as EventOf<"switch"> | EventOf<"start">).thread
    : thread;
}

/** How many accesses the records stand for. */
export function accessesIn(words: Uint32Array): number {
  let accesses = 0;
  for (let i = 0; i < words.length; i++) {
    if ((words[i] & KIND_MASK) !== EVENT) accesses += ((words[i] >>> COUNT_SHIFT) & COUNT_MASK) + 1;
  }
  return accesses;
}

export interface Payload {
  readonly bytes: Uint8Array;
  readonly records: number;
  readonly pages: number;
  readonly eventBytes: number;
}

/** Packs one chunk after the other. */
export class ChunkPacker {
  private readonly places = new PageDictionary();

  /** The chunk as the bytes of its payload, its pages in ascending order. */
  pack(chunk: Chunk): Payload {
    const sorted = chunk.pages.slice().sort();
    const packed = new Uint8Array(sorted.length * MAX_PAGE_BYTES);
    let length = 0;
    let before = -1;
    for (const page of sorted) {
      length = writeVarint(packed, length, page - before - 1);
      before = page;
    }
    const events = encodeJson(chunk.events);
    const wordBytes = chunk.words.length * 4;
    const bytes = new Uint8Array(wordBytes + length + events.length);
    renumber(new Uint32Array(bytes.buffer, 0, chunk.words.length), chunk.words, this.newIndices(chunk.pages, sorted));
    bytes.set(packed.subarray(0, length), wordBytes);
    bytes.set(events, wordBytes + length);
    return { bytes, records: chunk.words.length, pages: sorted.length, eventBytes: events.length };
  }

  /** By index in `pages`: the index in `sorted`. */
  private newIndices(pages: Float64Array, sorted: Float64Array): Int32Array {
    const { places } = this;
    places.clear();
    for (const page of sorted) places.indexOf(page);
    const indices = new Int32Array(pages.length);
    for (let i = 0; i < pages.length; i++) indices[i] = places.indexOf(pages[i]);
    return indices;
  }
}

/** Copies `from` into `words`, with other page indices. */
function renumber(words: Uint32Array, from: Uint32Array, indices: Int32Array): void {
  for (let i = 0; i < from.length; i++) {
    const word = from[i];
    words[i] =
      (word & KIND_MASK) === EVENT
        ? word
        : (word & KIND_AND_COUNT_MASK) | (indices[word >>> PAGE_INDEX_SHIFT] << PAGE_INDEX_SHIFT);
  }
}

function writeVarint(into: Uint8Array, at: number, value: number): number {
  let rest = value;
  let end = at;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) into[end++] = (rest % 0x80) | 0x80;
  into[end++] = rest;
  return end;
}

/** The chunk in a payload. Throws UsageError, naming the chunk by `where`, for whatever a chunk cannot be. */
export function unpackChunk(payload: Payload, thread: number, where: string): Chunk {
  const wordBytes = payload.records * 4;
  const { bytes } = payload;
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  const words = new Uint32Array(aligned.buffer, aligned.byteOffset, payload.records);
  const eventsStart = bytes.length - payload.eventBytes;
  if (eventsStart < wordBytes) throw new UsageError(`${where}: its parts are longer than the chunk`);
  const pages = unpackPages(bytes.subarray(wordBytes, eventsStart), payload.pages, where);
  const events = unpackEvents(bytes.subarray(eventsStart), where);
  const eventAt = new Int32Array(events.length);
  const accesses = checkRecords(words, pages.length, eventAt, where);
  return { words, pages, events, eventAt, accesses, thread };
}

function unpackPages(bytes: Uint8Array, count: number, where: string): Float64Array {
  const pages = new Float64Array(count);
  let at = 0;
  let before = -1;
  for (let i = 0; i < count; i++) {
    let value = 0;
    let scale = 1;
    let byte: number;
    do {
      if (at >= bytes.length) throw new UsageError(`${where}: expected ${count} page numbers, found ${i}`);
      byte = bytes[at++];
      value += (byte & 0x7f) * scale;
      scale *= 0x80;
    } while (byte >= 0x80 && scale <= 2 ** 49);
    const page = before + 1 + value;
    if (byte >= 0x80 || page >= MAX_PAGE)
      throw new UsageError(`${where}: expected a page below 2^52, found a larger one`);
    pages[i] = page;
    before = page;
  }
  if (at !== bytes.length) {
    throw new UsageError(`${where}: expected ${at} bytes of page numbers, found ${bytes.length}`);
  }
  return pages;
}

function unpackEvents(bytes: Uint8Array, where: string): TraceEvent[] {
  let list: unknown;
  try {
    list = JSON.parse(asciiText(bytes));
  } catch {
    throw new UsageError(
      `${where}: expected its events as a JSON array, found ${JSON.stringify(asciiText(bytes.subarray(0, 40)))}`,
    );
  }
  if (!Array.isArray(list)) throw new UsageError(`${where}: expected a JSON array of events, found ${typeof list}`);
  return list.map((entry, index) => parseEvent(entry, `${where}, event ${index}`));
}

/** Checks an event. Throws UsageError with `where` and what is wrong. */
export function parseEvent(entry: unknown, where: string): TraceEvent {
  const parsed = eventSchema.safeParse(entry);
  if (parsed.success) return parsed.data;
  const issue = parsed.error.issues[0];
  const found = JSON.stringify(entry)?.slice(0, 200);
  throw new UsageError(`${where}: ${issue.path.join(".") || "the event"}: ${issue.message}; found ${found}`);
}

/** Checks each record's index, notes where the events are; returns the number of accesses. Every record passes here. */
function checkRecords(words: Uint32Array, pages: number, eventAt: Int32Array, where: string): number {
  const records = words.length;
  let beyondFirst = 0;
  let events = 0;
  for (let i = 0; i < records; i++) {
    const word = words[i] | 0;
    if ((word & KIND_MASK) === EVENT) {
      const index = word >>> EVENT_INDEX_SHIFT;
      if (index !== events || index >= eventAt.length)
        badIndex(where, i, `event ${events} of ${eventAt.length}`, index);
      eventAt[events++] = i;
      continue;
    }
    if (word >>> PAGE_INDEX_SHIFT >= pages) badIndex(where, i, `a page below ${pages}`, word >>> PAGE_INDEX_SHIFT);
    beyondFirst = (beyondFirst + ((word >>> COUNT_SHIFT) & COUNT_MASK)) | 0;
  }
  if (events !== eventAt.length) {
    throw new UsageError(`${where}: expected a record for each of ${eventAt.length} events, found ${events}`);
  }
  return records - events + beyondFirst;
}

function badIndex(where: string, record: number, expected: string, found: number): never {
  throw new UsageError(`${where}, record ${record}: expected ${expected}, found ${found}`);
}
