/**
 * What waiting for a disk would cost: each request finds its place, then moves its bytes, one request after the other.
 * An estimate from counted requests and pages; the replay itself never waits.
 */
import { PAGE_SIZE } from "../base/units.ts";

export interface DiskModel {
  readonly name: string;
  /** What the figures rest on. */
  readonly rests: string;
  /** Finding the place of a request. */
  readonly latencySeconds: number;
  readonly bytesPerSecond: number;
}

/** Estimated seconds for so many requests that move so many pages. */
export const diskSeconds = (model: DiskModel, requests: number, pages: number): number =>
  requests * model.latencySeconds + (pages * PAGE_SIZE) / model.bytesPerSecond;

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
