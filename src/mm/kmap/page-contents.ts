/**
 * What the kernel does with the contents of pages that it does not own: zeroing, copying, reading and writing. Kernel code
 * has no other door to them. A frame
 * of lowmem is always at hand; a frame of highmem is reached through a window. Short work uses a slot of this CPU's,
 * and cannot wait; what goes on while holding locks that sleep takes a window of the pool (`hold`).
 *
 * @models linux-2.6.11 include/linux/highmem.h clear_user_highpage, copy_user_highpage
 * @differs the disk moves data by itself: no bounce buffers, and no window for a transfer
 */
import { bug } from "../../base/errors.ts";
import type { Pfn } from "../../base/units.ts";
import type { PhysicalMemory } from "../../hw/physical-memory.ts";
import type { Path } from "../../sync/path.ts";
import { readBytes, writeBytes, zeroBytes } from "../frame-bytes.ts";
import type { AtomicMaps } from "./atomic.ts";
import { KM_USER0, KM_USER1 } from "./atomic-types.ts";
import type { Kmap } from "./kmap.ts";

export class PageContents {
  private readonly memory: PhysicalMemory;
  private readonly atomicMaps: AtomicMaps;
  private readonly kmap: Kmap;
  private readonly highmemFrom: Pfn;

  constructor(memory: PhysicalMemory, atomicMaps: AtomicMaps, kmap: Kmap) {
    this.memory = memory;
    this.atomicMaps = atomicMaps;
    this.kmap = kmap;
    this.highmemFrom = atomicMaps.highmemFrom;
  }

  /** clear_user_highpage. */
  zero(frame: Pfn): void {
    const isHigh = frame >= this.highmemFrom;
    if (isHigh) this.atomicMaps.map(frame, KM_USER0);
    this.memory.zero(frame);
    if (isHigh) this.atomicMaps.unmap(frame, KM_USER0);
  }

  /** The same for all parts of a soft page, which one window shows. */
  zeroPage(head: Pfn): void {
    const isHigh = head >= this.highmemFrom;
    if (isHigh) this.atomicMaps.map(head, KM_USER0);
    for (let part = 0; part < this.atomicMaps.span; part++) this.memory.zero(head + part);
    if (isHigh) this.atomicMaps.unmap(head, KM_USER0);
  }

  /** The same for all of `[first, end)`. */
  zeroRun(first: Pfn, end: Pfn): void {
    const low = Math.min(end, Math.max(first, this.highmemFrom));
    if (low > first) this.memory.zeroRun(first, low);
    for (let frame = low; frame < end; frame++) this.zero(frame);
  }

  /** copy_user_highpage: both pages are in sight at once. */
  copy(from: Pfn, to: Pfn): void {
    const { atomicMaps, highmemFrom } = this;
    if (to >= highmemFrom) atomicMaps.map(to, KM_USER0);
    if (from >= highmemFrom) atomicMaps.map(from, KM_USER1);
    this.memory.copy(from, to);
    if (from >= highmemFrom) atomicMaps.unmap(from, KM_USER1);
    if (to >= highmemFrom) atomicMaps.unmap(to, KM_USER0);
  }

  /** The same where the source is read through the program's own mapping, and the kernel needs none (cow_user_page). */
  copyFromUser(from: Pfn, to: Pfn): void {
    const isHigh = to >= this.highmemFrom;
    if (isHigh) this.atomicMaps.map(to, KM_USER0);
    this.memory.copy(from, to);
    if (isHigh) this.atomicMaps.unmap(to, KM_USER0);
  }

  /** Reads without waiting, through a slot of this CPU's. */
  readBriefly(frame: Pfn, offset: number, into: Uint8Array): void {
    const isHigh = frame >= this.highmemFrom;
    if (isHigh) this.atomicMaps.map(frame, KM_USER0);
    readBytes(this.memory, frame, offset, into);
    if (isHigh) this.atomicMaps.unmap(frame, KM_USER0);
  }

  /** Writes so. */
  writeBriefly(frame: Pfn, offset: number, bytes: Uint8Array): void {
    const isHigh = frame >= this.highmemFrom;
    if (isHigh) this.atomicMaps.map(frame, KM_USER0);
    writeBytes(this.memory, frame, offset, bytes);
    if (isHigh) this.atomicMaps.unmap(frame, KM_USER0);
  }

  /** The bytes `[from, to)` of the frame become zero. */
  zeroPart(frame: Pfn, from: number, to: number): void {
    const isHigh = frame >= this.highmemFrom;
    if (isHigh) this.atomicMaps.map(frame, KM_USER0);
    zeroBytes(this.memory, frame, from, to);
    if (isHigh) this.atomicMaps.unmap(frame, KM_USER0);
  }

  /** A window on the frame that may be held while sleeping; to be given back. Waits only if it is a path. */
  hold(frame: Pfn): Path<void> | undefined {
    if (frame < this.highmemFrom) return undefined;
    return this.kmap.tryMap(frame) ? this.kmap.unsettled() : this.kmap.map(frame);
  }

  /** A byte of the frame. Requires, as do `read` and `write`: it is held. */
  readByte(frame: Pfn, offset: number): number {
    this.requireWindow(frame);
    return this.memory.readByte(frame, offset);
  }

  /** Fills `into` with the bytes of the frame from `offset` on. */
  read(frame: Pfn, offset: number, into: Uint8Array): void {
    this.requireWindow(frame);
    readBytes(this.memory, frame, offset, into);
  }

  /** Writes `bytes` to the frame from `offset` on. */
  write(frame: Pfn, offset: number, bytes: Uint8Array): void {
    this.requireWindow(frame);
    writeBytes(this.memory, frame, offset, bytes);
  }

  private requireWindow(frame: Pfn): void {
    if (frame >= this.highmemFrom && !this.kmap.shows(frame))
      bug(`the contents of frame ${frame}, which is in highmem, are used without a window on it`);
  }

  /** Gives back what `hold` gave. */
  release(frame: Pfn): void {
    if (frame >= this.highmemFrom) this.kmap.unmap(frame);
  }
}
