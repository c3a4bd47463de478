/**
 * System V shared memory: segments that processes find by a key and know by a number. A segment is a file without a name in
 * any directory; it lives until it has been removed and nobody maps it any more. An area that shmat has made knows its
 * segment: it never becomes one with another, and shmdt finds it by where the segment would begin.
 *
 *     number    30                15 14              0
 *              | how often before   | place in table  |
 *
 * @models linux-6.1 ipc/shm.c, ipc/util.c ipc_addid; linux-2.6.11 ipc/util.c ipc_addid, shm_buildid
 * @differs a segment's own record takes no memory; everybody has one uid
 */
import { PAGE_SIZE } from "../../base/units.ts";
import { type FileObject, OpenFile } from "../file.ts";

export const IPC_PRIVATE = 0;
/** SHMMNI: segments that there may be. */
const MOST_SEGMENTS = 4096;
const PLACE_BITS = 15;
const PLACE_MASK = 2 ** PLACE_BITS - 1;
/** IDs go round over so many places at least. */
const LEAST_CYCLE = 64;

export class Segment {
  readonly id: number;
  /** IPC_PRIVATE: nobody finds it by a key, or not any more. */
  key: number;
  readonly sizeBytes: number;
  /** Permission bits, as of a file. */
  readonly mode: number;
  readonly file: FileObject;
  /** Bytes that its maker was charged for as locked memory. */
  readonly lockedBytes: number;

  constructor(id: number, request: SegmentRequest) {
    this.id = id;
    this.key = request.key;
    this.sizeBytes = request.sizeBytes;
    this.mode = request.mode;
    this.file = request.file;
    this.lockedBytes = request.lockedBytes;
  }

  get pages(): number {
    return Math.ceil(this.sizeBytes / PAGE_SIZE);
  }
}

export interface SegmentRequest {
  readonly key: number;
  readonly sizeBytes: number;
  readonly mode: number;
  readonly file: FileObject;
  readonly lockedBytes: number;
}

/** How a place of the table is found for a new segment, and how its number tells it from those that had the place before. */
export type Numbering = "lowest place, number of segments" | "next place, number of rounds";

/** What an area has its pages from that shmat has made. */
export class Attachment extends OpenFile {
  readonly segment: Segment;

  constructor(segment: Segment, access: "read" | "read-write") {
    super(segment.file, access);
    this.segment = segment;
  }
}

/** Whether the area is one that shmat has made, or a part of it. */
export const isAttached = ({ opened }: { readonly opened: OpenFile | null }): boolean => opened instanceof Attachment;

/** Every segment of a machine. */
export class Segments {
  private readonly places = new Map<number, Segment>();
  private numbers = 0;
  private lastPlace = -1;
  /** Pages of all of them. */
  pages = 0;
  /** Bytes of segments of huge pages that count as locked memory of their makers. */
  lockedBytes = 0;

  get isFull(): boolean {
    return this.places.size >= MOST_SEGMENTS;
  }

  /** Those that there are. */
  all(): IterableIterator<Segment> {
    return this.places.values();
  }

  /** The segment of that number; or whether its place is free, or has another one by now. */
  find(id: number): Segment | "none" | "another" {
    const found = this.places.get(id & PLACE_MASK);
    if (found === undefined) return "none";
    return found.id === id ? found : "another";
  }

  byKey(key: number): Segment | null {
    for (const segment of this.places.values()) if (segment.key === key) return segment;
    return null;
  }

  /** Requires: there is room. */
  add(request: SegmentRequest, numbering: Numbering): Segment {
    const place = numbering === "lowest place, number of segments" ? this.lowestPlace() : this.nextPlace();
    const segment = new Segment(this.numbers * 2 ** PLACE_BITS + place, request);
    if (numbering === "lowest place, number of segments") this.numbers = (this.numbers + 1) % 2 ** (31 - PLACE_BITS);
    this.places.set(place, segment);
    this.pages += segment.pages;
    this.lockedBytes += segment.lockedBytes;
    return segment;
  }

  /** The file is gone, and with it the segment that it was, if it was one. */
  fileGone(file: FileObject): void {
    for (const [place, segment] of this.places) {
      if (segment.file !== file) continue;
      this.places.delete(place);
      this.pages -= segment.pages;
      this.lockedBytes -= segment.lockedBytes;
    }
  }

  private lowestPlace(): number {
    let place = 0;
    while (this.places.has(place)) place++;
    return place;
  }

  private nextPlace(): number {
    const cycle = Math.min(Math.max(Math.floor((this.places.size * 3) / 2), LEAST_CYCLE), MOST_SEGMENTS);
    let place = (this.lastPlace + 1) % cycle;
    while (this.places.has(place)) place = (place + 1) % cycle;
    if (place <= this.lastPlace) this.numbers = (this.numbers + 1) % 2 ** (31 - PLACE_BITS);
    this.lastPlace = place;
    return place;
  }
}
