/**
 * A disk that serves one request at a time: each waits until the one before it is done, then for the seek unless it
 * goes on where that one stopped, then for its bytes. All times are estimated cycles of the CPU that waits.
 */
import { type Cycles, PAGE_SIZE } from "../base/units.ts";

export interface DiskModel {
  readonly name: string;
  /** What the figures rest on. */
  readonly rests: string;
  /** Finding a place that the last request did not end at. */
  readonly latencySeconds: number;
  readonly bytesPerSecond: number;
}

export class Disk {
  readonly model: DiskModel;
  /** Counted: requests, those that had to seek, and pages moved. */
  requests = 0;
  seeks = 0;
  pagesMoved = 0;
  /** When the last request is done. */
  busyUntil: Cycles = 0;
  private readonly seekCycles: Cycles;
  private readonly pageCycles: Cycles;
  /** The block after the last request's. */
  private nextBlock = -1;

  constructor(model: DiskModel, hertz: number) {
    this.model = model;
    this.seekCycles = Math.round(model.latencySeconds * hertz);
    this.pageCycles = Math.round((PAGE_SIZE / model.bytesPerSecond) * hertz);
  }

  /** A request at `now` for `pages` pages from `block` (in pages). The result: when it is done. */
  request(now: Cycles, block: number, pages: number): Cycles {
    const seeks = block !== this.nextBlock;
    this.requests++;
    if (seeks) this.seeks++;
    this.pagesMoved += pages;
    this.nextBlock = block + pages;
    this.busyUntil = Math.max(now, this.busyUntil) + (seeks ? this.seekCycles : 0) + pages * this.pageCycles;
    return this.busyUntil;
  }
}

/** By name. */
export const diskPresets = {
  "scsi-10k": {
    name: "scsi-10k",
    rests:
      "a SCSI disk of 10,000 revolutions a minute, as in servers of 2002: 5 ms seek, 3 ms for half a turn, 50 MB/s",
    latencySeconds: 0.008,
    bytesPerSecond: 50e6,
  },
  "sata-7200": {
    name: "sata-7200",
    rests: "a SATA disk of 7200 revolutions a minute: 8.5 ms seek, 4.2 ms for half a turn, 150 MB/s",
    latencySeconds: 0.0127,
    bytesPerSecond: 150e6,
  },
  nvme: {
    name: "nvme",
    rests: "a flash drive on PCI Express of today: 80 microseconds, 3 GB/s",
    latencySeconds: 80e-6,
    bytesPerSecond: 3e9,
  },
} as const satisfies Record<string, DiskModel>;

export type DiskPresetName = keyof typeof diskPresets;
