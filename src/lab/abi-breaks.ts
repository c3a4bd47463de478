/**
 * Calls of a recorded program that fail because pages are larger here than where it was recorded: it names a place or an offset
 * that is none of a page. A real program would go no further than the first. What the recorded kernel had chosen is asked for
 * again, and may be no place of a page here either: that is the recording's fault, and is counted apart.
 */
import { EINVAL } from "../base/errno.ts";
import { MAP_FIXED, MREMAP_FIXED } from "./import/calls.ts";
import type { AbiBreaks, Difference } from "./report.ts";
import type { Region } from "./trace/event.ts";
import type { Call, CallOutcome } from "./trace-calls.ts";

export class AbiBreakTally {
  private readonly pageBytes: number;
  private count = 0;
  private placesOfKernel = 0;
  private first: Difference | undefined;

  constructor(pageBytes: number) {
    this.pageBytes = pageBytes;
  }

  /** Counts the call if it is one of these. `difference`: what to say of it. */
  note(call: Call, { expected, result }: CallOutcome, difference: Difference): void {
    if (expected < 0 || result !== -EINVAL) return;
    const isBroken = (bytes: number): boolean => bytes % this.pageBytes !== 0;
    if (!namedBy(call).some(isBroken)) {
      if (isBroken(call.result)) this.placesOfKernel++;
      return;
    }
    this.count++;
    this.first ??= difference;
  }

  /** The same for a part of the program's image, which is linked for the place that it has. */
  noteImage({ start, offset }: Region, { result }: CallOutcome, difference: Difference): void {
    if (result !== -EINVAL || (start % this.pageBytes === 0 && offset % this.pageBytes === 0)) return;
    this.count++;
    this.first ??= difference;
  }

  /** Null if there are none. */
  summary(): AbiBreaks | null {
    const { pageBytes, count, placesOfKernel, first } = this;
    return first === undefined ? null : { pageBytes, count, placesOfKernel, first };
  }
}

/** The places and offsets that the program itself has named. */
function namedBy({ name, args }: Call): number[] {
  const [address = 0, , , flags = 0, fifth = 0, offset = 0] = args;
  if (name === "mmap") return (flags & MAP_FIXED) !== 0 ? [address, offset] : [offset];
  if (name === "mremap") return (flags & MREMAP_FIXED) !== 0 ? [address, fifth] : [address];
  return name === "shmat" ? [args[1] ?? 0] : [address];
}
