/**
 * The trace file (`.bmt`): what a program did to memory, as page runs and events in one order. This file draws it and
 * names its numbers; chunk.ts packs and unpacks one chunk, writer.ts and reader.ts do files.
 *
 * A file (all numbers little-endian, all lengths in bytes):
 *
 *     +--------------------+---------+--------+------------------+----------+
 *     | 89 B M T 0d 0a 1a 0a | version | length | header (JSON)    | checksum |   of everything before it
 *     +--------------------+---------+--------+------------------+----------+
 *     | "CHNK" | records | pages | eventBytes | thread | payload length | packed length | checksum | packed payload |
 *     |  ... more chunks ...                                                                                      |
 *     | "ENDS" | chunks | records, accesses, events (a double each) | hash (two words) | checksum |
 *     +-----------------------------------------------------------------------------------------+
 *
 * A chunk's checksum is of its seven words before it, then of its packed payload; the end's is of all words before it.
 * The hash is over the header and every chunk's checksum: it names the recording in reports. Nothing follows the end:
 * a file without it was cut off.
 *
 * A payload is three parts, packed as one by the codec (zstd):
 *
 *     records x 4 bytes     the records, in order
 *     pages x varint        the distinct page numbers of the chunk, ascending, each as the difference to the one before
 *     eventBytes            the events, a JSON array in ASCII
 *
 * A record:
 *
 *      31                              14 13             2 1 0
 *     +----------------------------------+----------------+---+
 *     | index into the chunk's pages     | accesses - 1   | k |    k = FETCH, LOAD, STORE
 *     +----------------------------------+----------------+---+
 *     | index into the chunk's events                     | 3 |    EVENT
 *     +---------------------------------------------------+---+
 *
 * Page numbers are doubles (five-level paging has 2^45 pages); a chunk is self-contained, so that a file can be cut.
 */
import { z } from "zod";

export const MAGIC: readonly number[] = [0x89, 0x42, 0x4d, 0x54, 0x0d, 0x0a, 0x1a, 0x0a];
export const VERSION = 1;

export const FETCH = 0;
export const LOAD = 1;
export const STORE = 2;
export const EVENT = 3;
/** What a record of an access does: FETCH, LOAD or STORE. */
export type AccessKind = 0 | 1 | 2;

export const KIND_MASK = 3;
export const COUNT_SHIFT = 2;
export const COUNT_MASK = 0xfff;
export const COUNT_ONE = 1 << COUNT_SHIFT;
export const PAGE_INDEX_SHIFT = 14;
export const EVENT_INDEX_SHIFT = 2;
/** A run ends after so many accesses. */
export const MAX_RUN = COUNT_MASK + 1;

export const CHUNK_RECORDS = 65_536;
export const CHUNK_TAG = 0x4b4e4843; // "CHNK"
export const END_TAG = 0x53444e45; // "ENDS"
export const CHUNK_HEAD_WORDS = 8;
export const END_BYTES = 4 + 4 + 3 * 8 + 2 * 4 + 4;

// What a reader accepts: nothing in a file makes it take more memory than these.
export const MAX_HEADER_BYTES = 1 << 20;
export const MAX_EVENT_BYTES = 1 << 24;
export const MAX_PAGE_BYTES = 8;
/** Page numbers are below this. */
export const MAX_PAGE = 2 ** 52;
export const MAX_PAYLOAD_BYTES = CHUNK_RECORDS * (4 + MAX_PAGE_BYTES) + MAX_EVENT_BYTES;

export const accessRecord = (kind: AccessKind, pageIndex: number, count: number): number =>
  ((pageIndex << PAGE_INDEX_SHIFT) | ((count - 1) << COUNT_SHIFT) | kind) >>> 0;
export const eventRecord = (index: number): number => ((index << EVENT_INDEX_SHIFT) | EVENT) >>> 0;
export const recordKind = (word: number): number => word & KIND_MASK;
export const recordCount = (word: number): number => ((word >>> COUNT_SHIFT) & COUNT_MASK) + 1;
export const recordPageIndex = (word: number): number => word >>> PAGE_INDEX_SHIFT;
export const recordEventIndex = (word: number): number => word >>> EVENT_INDEX_SHIFT;

export const abiNames = ["x86-64", "i386"] as const;
export type Abi = (typeof abiNames)[number];

/** How far the recorder could tell the order of several streams. */
export const orderings = {
  exact: "one recorder saw every access of every thread in one order",
  calls: "each thread's own order is exact; threads are put in order by the order and times of their system calls",
  none: "each thread's own order is exact; nothing is known of the order between threads",
} as const;

export const headerSchema = z.strictObject({
  schema: z.literal("bigmem.trace/1"),
  /** What made it: "valgrind lackey 3.19", "qemu-user 7.2 with bigmem's plugin", "workload shared-segment". */
  recorder: z.string().max(1000),
  /** The command that was recorded. */
  command: z.array(z.string().max(100_000)).max(10_000),
  /** The widest ABI in it. */
  abi: z.enum(abiNames),
  /** Recency slots of the absorption: 0 none, 1 as recorders do, more after `trace strip`. A power of two. */
  sets: z
    .int()
    .min(0)
    .max(4096)
    .refine((sets) => sets === 0 || Number.isInteger(Math.log2(sets)), "a power of two, or 0"),
  /** Whether memory accesses were recorded, or only what happened to the address space. */
  accesses: z.enum(["recorded", "none"]),
  ordering: z.enum(Object.keys(orderings) as [keyof typeof orderings, ...(keyof typeof orderings)[]]),
  /** Anything a reader of a report should know: what the recorder could not see, what was cut. */
  notes: z.array(z.string().max(10_000)).max(100).default([]),
  /** The version of bigmem that wrote it. */
  writtenBy: z.string().max(100).optional(),
});
export type TraceHeader = z.infer<typeof headerSchema>;

export interface TraceTotals {
  chunks: number;
  records: number;
  accesses: number;
  events: number;
  /** Sixteen hexadecimal digits that name the recording. */
  hash: string;
}

/** Packs payloads. Injected: compression lives with the command line. */
export interface Codec {
  compress(bytes: Uint8Array): Uint8Array | Promise<Uint8Array>;
  /** Gives exactly `expectedBytes` or throws; never more, whatever the input claims. */
  decompress(bytes: Uint8Array, expectedBytes: number): Uint8Array | Promise<Uint8Array>;
}
