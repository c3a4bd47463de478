import { describe, expect, test } from "vitest";
import { Buddy } from "./buddy.ts";
import { Frames } from "./frames.ts";
import { type WatermarkPolicy, watermarkPolicies } from "./watermarks.ts";
import { ZONE_DMA, ZONE_DMA32, ZONE_HIGHMEM, ZONE_NORMAL, Zone } from "./zone.ts";

const MIB_FRAMES = 256;

/** An i386 machine with a 3:1 split: 16 MiB, up to 896 MiB, the rest. */
function zonesOf(memoryMib: number, kinds = [ZONE_DMA, ZONE_NORMAL, ZONE_HIGHMEM], ends = [16, 896]): Zone[] {
  const frames = new Frames(memoryMib * MIB_FRAMES);
  let first = 0;
  return kinds.map((kind, at) => {
    const end = Math.min(ends[at] ?? memoryMib, memoryMib) * MIB_FRAMES;
    const zone = new Zone(kind, first, end, new Buddy(frames, first, end));
    zone.addFree(first, end);
    first = end;
    return zone;
  });
}

function marksOf(policy: WatermarkPolicy, zones: Zone[]) {
  policy.setMarks(zones);
  return Object.fromEntries(zones.map((zone) => [zone.name, [zone.min, zone.low, zone.high]]));
}

const reservesOf = (zone: Zone) => Array.from(zone.reserve);

describe("2.4", () => {
  const policy = watermarkPolicies["linux-2.4"];

  test("each zone keeps 1/128 of itself, 20 to 255 frames", () => {
    expect(marksOf(policy, zonesOf(1024))).toEqual({
      DMA: [32, 64, 96],
      Normal: [255, 510, 765],
      HighMem: [255, 510, 765],
    });
  });

  test("the marks of a route add up, so that a request for highmem must leave more in lowmem", () => {
    const [dma, normal, high] = zonesOf(1024);
    policy.setMarks([dma, normal, high]);
    expect(policy.floor([high, normal, dma], 0, "low")).toBe(510 + 1);
    expect(policy.floor([high, normal, dma], 2, "low")).toBe(510 + 510 + 64 + 1);
    expect(policy.floor([normal, dma], 0, "min")).toBe(255 + 1);
  });
});

describe("2.6.11", () => {
  const policy = watermarkPolicies["linux-2.6"];

  test("1 GiB: the published marks and reserves", () => {
    const zones = zonesOf(1024);
    expect(marksOf(policy, zones)).toEqual({
      DMA: [17, 21, 25],
      Normal: [939, 1173, 1408],
      HighMem: [32, 40, 48],
    });
    const [dma, normal, high] = zones;
    expect(dma.reserve[ZONE_NORMAL]).toBe(880);
    expect(dma.reserve[ZONE_HIGHMEM]).toBe(1008);
    expect(normal.reserve[ZONE_HIGHMEM]).toBe(1024);
    expect(reservesOf(high)).toEqual([0, 0, 0, 0]);
  });

  test("16 GiB: 484 MiB of lowmem are kept from requests for highmem", () => {
    const zones = zonesOf(16 * 1024);
    policy.setMarks(zones);
    expect(zones[1].reserve[ZONE_HIGHMEM]).toBe(123_904);
    expect(zones[2].min).toBe(128);
  });

  test("64 GiB: more than all of NORMAL, so that highmem never falls back to it", () => {
    const zones = zonesOf(64 * 1024);
    policy.setMarks(zones);
    expect(zones[1].reserve[ZONE_HIGHMEM]).toBe(517_120);
    expect(zones[1].reserve[ZONE_HIGHMEM]).toBeGreaterThan(zones[1].present);
  });

  test("min_free_kbytes overrides the formula", () => {
    const zones = zonesOf(1024);
    policy.setMarks(zones, 8192);
    expect(zones[0].min + zones[1].min).toBe(2047); // 2048 frames, each zone's share rounded down
    policy.setMarks(zones, 0);
    expect(zones[1].low).toBe(0);
  });

  test("a large block must leave half as much in the blocks of each larger order", () => {
    const frames = new Frames(1024);
    const zone = new Zone(ZONE_NORMAL, 0, 1024, new Buddy(frames, 0, 1024));
    zone.addFree(0, 1024);
    zone.min = 100;
    expect(policy.leavesBlocks(zone, 3, "min")).toBe(true);
    // Break the memory into single frames with a frame in use between any two.
    const taken = Array.from({ length: 1024 }, () => zone.buddy.take(0));
    for (const frame of taken) if (frame % 2 === 0) zone.buddy.give(frame, 0);
    expect(zone.free).toBe(512);
    expect(policy.leavesBlocks(zone, 1, "min")).toBe(false);
  });
});

describe("6.1", () => {
  const policy = watermarkPolicies["linux-6.1"];

  test("three lowmem zones: min_free_kbytes is the 67584 that every such machine shows", () => {
    const zones = zonesOf(16 * 1024, [ZONE_DMA, ZONE_DMA32, ZONE_NORMAL], [16, 4096]);
    policy.setMarks(zones);
    const frames = zones.reduce((sum, zone) => sum + zone.min, 0);
    expect(frames).toBeGreaterThan(67_584 / 4 - 3);
    expect(frames).toBeLessThanOrEqual(67_584 / 4);
  });

  test("the marks are a quarter of the share apart, or a thousandth of a large zone", () => {
    const zones = zonesOf(1024 * 1024, [ZONE_DMA, ZONE_DMA32, ZONE_NORMAL], [16, 4096]);
    policy.setMarks(zones);
    const [dma, , normal] = zones;
    expect(dma.low - dma.min).toBe(Math.floor(dma.managed / 1000));
    expect(normal.low - normal.min).toBe(Math.floor(normal.managed / 1000));
    expect(normal.high - normal.low).toBe(normal.low - normal.min);
  });

  test("a large block need only exist", () => {
    const [zone] = zonesOf(16, [ZONE_DMA], [16]);
    policy.setMarks([zone]);
    expect(policy.leavesBlocks(zone, 10, "low")).toBe(true);
    expect(policy.floor([zone], 0, "low")).toBe(zone.low);
  });
});
