import { expect, test } from "vitest";
import { diskPresets, diskSeconds } from "./disk.ts";

// A millisecond to find the place, a tenth of one for a page.
const model = { name: "plain", rests: "a test", latencySeconds: 0.001, bytesPerSecond: 40.96e6 };

test("each request pays for its place, each page for its bytes", () => {
  expect(diskSeconds(model, 1, 3)).toBeCloseTo(0.0013);
  expect(diskSeconds(model, 3, 3)).toBeCloseTo(0.0033);
  expect(diskSeconds(model, 0, 0)).toBe(0);
});

test("a page from a disk of 2002 takes a hundred times as long as one from flash", () => {
  expect(diskSeconds(diskPresets["scsi-10k"], 1, 1)).toBeGreaterThan(50 * diskSeconds(diskPresets.nvme, 1, 1));
});
