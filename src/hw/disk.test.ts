import { expect, test } from "vitest";
import { Disk, diskPresets } from "./disk.ts";

// One cycle a microsecond: 1000 to seek, 100 a page.
const model = { name: "plain", rests: "a test", latencySeconds: 0.001, bytesPerSecond: 40.96e6 };
const HERTZ = 1e6;

test("a request waits for the seek and for its bytes", () => {
  const disk = new Disk(model, HERTZ);
  expect(disk.request(0, 50, 3)).toBe(1300);
});

test("a request that goes on where the last one stopped does not seek", () => {
  const disk = new Disk(model, HERTZ);
  disk.request(0, 50, 3);
  expect(disk.request(5000, 53, 2)).toBe(5200);
  expect(disk.request(6000, 53, 2)).toBe(7200);
  expect([disk.requests, disk.seeks, disk.pagesMoved]).toEqual([3, 2, 7]);
});

test("requests wait for each other", () => {
  const disk = new Disk(model, HERTZ);
  disk.request(0, 0, 1);
  expect(disk.request(10, 900, 1)).toBe(2200);
});

test("a page from a disk of 2002 takes millions of cycles of its CPU, and from flash a few hundred thousand", () => {
  expect(new Disk(diskPresets["scsi-10k"], 700e6).request(0, 9, 1)).toBeGreaterThan(5e6);
  expect(new Disk(diskPresets.nvme, 3e9).request(0, 9, 1)).toBeLessThan(3e5);
});
