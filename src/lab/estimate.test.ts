import { expect, test } from "vitest";
import { costPresets } from "../hw/cost.ts";
import { diskPresets } from "../hw/disk.ts";
import { estimate } from "./estimate.ts";

const disk = { ...diskPresets.nvme, latencySeconds: 1, bytesPerSecond: 4096 };

test("the disk's time is that of requests and pages, for files and for swap", () => {
  const ofFiles = { diskReads: 1, diskPagesRead: 8, diskWrites: 2, diskPagesWritten: 2 };
  const ofSwap = { swapReadRequests: 1, swapPagesIn: 8, swapWriteRequests: 3, swapPagesOut: 3 };
  expect(estimate(ofFiles, costPresets.modern, disk).diskSeconds).toBe(3 + 10);
  expect(estimate({ ...ofFiles, ...ofSwap }, costPresets.modern, disk).diskSeconds).toBe(3 + 10 + 4 + 11);
});
