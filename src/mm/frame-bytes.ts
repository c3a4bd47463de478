/** Runs of bytes within one frame. */
import type { Pfn } from "../base/units.ts";
import type { PhysicalMemory } from "../hw/physical-memory.ts";

/** Fills `into` with the bytes of the frame from `offset` on. */
export function readBytes(memory: PhysicalMemory, frame: Pfn, offset: number, into: Uint8Array): void {
  for (let at = 0; at < into.length; at++) into[at] = memory.readByte(frame, offset + at);
}

/** Writes `bytes` to the frame from `offset` on; zeros over zeros cost nothing. */
export function writeBytes(memory: PhysicalMemory, frame: Pfn, offset: number, bytes: Uint8Array): void {
  for (let at = 0; at < bytes.length; at++) {
    if (memory.readByte(frame, offset + at) !== bytes[at]) memory.writeByte(frame, offset + at, bytes[at]);
  }
}

/** The bytes `[from, to)` of the frame become zero. */
export function zeroBytes(memory: PhysicalMemory, frame: Pfn, from: number, to: number): void {
  if (memory.isBlank(frame)) return;
  let at = from;
  for (; at < to && at % 4 !== 0; at++) memory.writeByte(frame, at, 0);
  for (; at + 4 <= to; at += 4) memory.write(frame, at / 4, 0);
  for (; at < to; at++) memory.writeByte(frame, at, 0);
}
