/** Files whose contents are frames of segments: how they are made and end, and how they are read and written without a page cache. */
import { EFBIG } from "../../base/errno.ts";
import { PAGE_SIZE, type Pfn, pagesFor } from "../../base/units.ts";
import type { ContentSource, FileObject } from "../file.ts";
import type { Kernel } from "../kernel.ts";
import { SegmentFile, type SegmentLayout, type SegmentWay } from "./segments.ts";

export interface SegmentFileSpec {
  readonly name: string;
  readonly sizeBytes: number;
  readonly way: SegmentWay;
  readonly layout?: SegmentLayout;
  /** What its pages hold first; without it zeros. */
  readonly content?: ContentSource;
}

/** A new file on the machine's segments; null if they have no room for it. */
export function createSegmentFile(kernel: Kernel, spec: SegmentFileSpec): FileObject | null {
  const { rawMemory, memory, files, pfnMappings } = kernel;
  const runs = rawMemory.take(pagesFor(spec.sizeBytes), spec.layout ?? "in one piece");
  if (runs === null) return null;
  const raw = new SegmentFile(spec.way, runs);
  const kind = spec.way === "xip" ? "xip" : "device";
  const file = files.create({ name: spec.name, kind, sizeBytes: spec.sizeBytes, raw });
  for (let index = 0; index < raw.pages; index++) {
    memory.zero(raw.frameOf(index));
    spec.content?.(memory, raw.frameOf(index), index);
  }
  pfnMappings.opened(kernel, file, raw);
  return file;
}

/** The file goes: its frames are free for others. Requires: nobody maps them. */
export function destroySegmentFile(kernel: Kernel, raw: SegmentFile): void {
  const { rawMemory, memory, pfnMappings } = kernel;
  pfnMappings.closed(kernel, raw);
  for (const { first, end } of raw.runs) memory.forgetRun(first, end);
  rawMemory.give(raw.runs);
}

/**
 * Reads into `bytes`, or only says how much could be read where `bytes` is a length; the bytes read, 0 at the end.
 *
 * @models linux-2.6.24 mm/filemap_xip.c xip_file_read
 */
export function readSegment(kernel: Kernel, file: FileObject, bytes: Uint8Array | number, offset: number): number {
  const length = Math.min(typeof bytes === "number" ? bytes : bytes.length, Math.max(0, file.sizeBytes - offset));
  if (typeof bytes === "number") return length;
  eachPage(file, offset, length, (frame, inPage, done, count) => {
    kernel.contents.readBriefly(frame, inPage, bytes.subarray(done, done + count));
  });
  return length;
}

/**
 * Writes bytes, or as many of unknown value, into the file's own memory; the bytes written, or -EFBIG beyond the end.
 *
 * @models linux-2.6.24 mm/filemap_xip.c xip_file_write
 * @differs files do not grow: segments are handed out whole
 */
export function writeSegment(kernel: Kernel, file: FileObject, bytes: Uint8Array | number, offset: number): number {
  const asked = typeof bytes === "number" ? bytes : bytes.length;
  const length = Math.min(asked, Math.max(0, file.sizeBytes - offset));
  if (length === 0 && asked > 0) return -EFBIG;
  if (typeof bytes === "number") return length;
  eachPage(file, offset, length, (frame, inPage, done, count) => {
    kernel.contents.writeBriefly(frame, inPage, bytes.subarray(done, done + count));
  });
  return length;
}

type PartOfPage = (frame: Pfn, inPage: number, done: number, count: number) => void;

function eachPage(file: FileObject, offset: number, length: number, visit: PartOfPage): void {
  for (let done = 0; done < length; ) {
    const inPage = (offset + done) % PAGE_SIZE;
    const count = Math.min(PAGE_SIZE - inPage, length - done);
    visit(file.raw!.frameOf(Math.floor((offset + done) / PAGE_SIZE)), inPage, done, count);
    done += count;
  }
}
