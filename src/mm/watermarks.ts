/**
 * Watermarks: how many frames a zone keeps back, and from whom. A request that hopes for a high zone must leave more
 * in the low ones than a request that can only use those. Three formulas, each as its kernels had it.
 */
import type { Tunables } from "../tunables.ts";
import type { Zone } from "./zone.ts";
import { ZONE_DMA, ZONE_DMA32, ZONE_HIGHMEM, ZONE_KINDS } from "./zone.ts";

/** Which mark a request must respect: `low` at first, `min` when that finds nothing. */
export type Mark = "low" | "min";

export interface WatermarkPolicy {
  readonly name: string;
  /** Sets min, low, high and reserve of every zone. `minFreeKiB` overrides the formula where there is one. */
  setMarks(zones: readonly Zone[], minFreeKiB?: number): void;
  /** Frames that must be left in `route[at]` by a request that tries the zones of `route` in order. */
  floor(route: readonly Zone[], at: number, mark: Mark): number;
  /** Whether enough large blocks would be left for a request of `order` > 0 that respects the floor. */
  leavesBlocks(zone: Zone, order: number, mark: Mark): boolean;
}

const clamp = (value: number, low: number, high: number): number => Math.min(Math.max(value, low), high);

/** The zone that a route's request hopes for: its first. */
const classOf = (route: readonly Zone[]): number => route[0].kind;

/**
 * Each zone keeps 1/128 of itself, and the marks of the zones on a route add up: that alone protects lowmem.
 *
 * @models linux-2.4.22 mm/page_alloc.c free_area_init_core, __alloc_pages
 */
const linux24: WatermarkPolicy = {
  name: "linux-2.4",

  setMarks(zones) {
    for (const zone of zones) {
      zone.min = clamp(Math.floor(zone.present / 128), 20, 255);
      zone.low = zone.min * 2;
      zone.high = zone.min * 3;
      zone.reserve.fill(0);
    }
  },

  floor(route, at, mark) {
    let sum = 1;
    for (let zone = 0; zone <= at; zone++) sum += route[zone][mark];
    return sum;
  },

  leavesBlocks: () => true,
};

/** Frames of 2.6's and later kernels: a share of min_free_kbytes by size, and an explicit reserve by class. */
function setReserves(zones: readonly Zone[], sizeOf: (zone: Zone) => number, ratioOf: (kind: number) => number): void {
  const sizes = new Float64Array(ZONE_KINDS);
  for (const zone of zones) sizes[zone.kind] = sizeOf(zone);
  for (const zone of zones) {
    let above = 0;
    zone.reserve.fill(0);
    for (let kind = zone.kind + 1; kind < ZONE_KINDS; kind++) {
      above += sizes[kind];
      zone.reserve[kind] = Math.floor(above / ratioOf(zone.kind));
    }
  }
}

/** lowmem_reserve_ratio: one part in so many of the zones above. */
const reserveRatio = (kind: number): number => (kind === ZONE_DMA || kind === ZONE_DMA32 ? 256 : 32);

const isLowmem = (zone: Zone): boolean => zone.kind !== ZONE_HIGHMEM;

/** Four times the square root of lowmem, both in KiB. */
const minFreeOf = (lowmemPages: number): number => Math.floor(Math.sqrt(lowmemPages * 4 * 16));

const reservedFloor = (route: readonly Zone[], at: number, mark: Mark): number =>
  route[at][mark] + route[at].reserve[classOf(route)];

/**
 * Lowmem zones share min_free_kbytes by size; HIGHMEM keeps 32 to 128 frames; low and high are 5/4 and 6/4 of min. A
 * block is given only if half as much is left in blocks of each larger order.
 *
 * @models linux-2.6.11 mm/page_alloc.c setup_per_zone_pages_min, setup_per_zone_lowmem_reserve, zone_watermark_ok
 */
const linux26: WatermarkPolicy = {
  name: "linux-2.6",

  setMarks(zones, minFreeKiB) {
    const lowmem = zones.filter(isLowmem).reduce((sum, zone) => sum + zone.present, 0);
    const minFreePages = Math.floor((minFreeKiB ?? clamp(minFreeOf(lowmem), 128, 65_536)) / 4);
    for (const zone of zones) {
      if (isLowmem(zone)) zone.min = Math.floor((minFreePages * zone.present) / lowmem);
      else zone.min = clamp(Math.floor(zone.present / 1024), 32, 128);
      zone.low = Math.floor((zone.min * 5) / 4);
      zone.high = Math.floor((zone.min * 6) / 4);
    }
    setReserves(zones, (zone) => zone.present, reserveRatio);
  },

  floor: reservedFloor,

  leavesBlocks(zone, order, mark) {
    let free = zone.free - (1 << order) + 1;
    let needed = zone[mark];
    for (let below = zone.buddy.leastOrder; below < order; below++) {
      free -= zone.buddy.freeBlocks(below) << below;
      needed >>= 1;
      if (free <= needed) return false;
    }
    return true;
  },
};

/** Frames that transparent huge pages want free for each lowmem zone: 11 blocks of 2 MiB. */
const HUGE_PAGE_FRAMES = 512;
const recommendedBlocks = 2 + 3 * 3;

function recommendedMinFreeKiB(zones: readonly Zone[], lowmemPages: number): number {
  const wanted = zones.filter(isLowmem).length * recommendedBlocks * HUGE_PAGE_FRAMES;
  return Math.min(wanted, Math.floor(lowmemPages / 20)) * 4;
}

/**
 * As 2.6, over managed frames; the marks are a quarter of a zone's share apart, or a thousandth of the zone; and
 * min_free_kbytes is raised to what transparent huge pages recommend. Large blocks need only exist.
 *
 * @models linux-6.1 mm/page_alloc.c __setup_per_zone_wmarks, setup_per_zone_lowmem_reserve, __zone_watermark_ok
 * @models linux-6.1 mm/khugepaged.c set_recommended_min_free_kbytes
 */
const linux61: WatermarkPolicy = {
  name: "linux-6.1",

  setMarks(zones, minFreeKiB) {
    const lowmem = zones.filter(isLowmem).reduce((sum, zone) => sum + zone.managed, 0);
    const computed = Math.max(clamp(minFreeOf(lowmem), 128, 262_144), recommendedMinFreeKiB(zones, lowmem));
    const minFreePages = Math.floor((minFreeKiB ?? computed) / 4);
    for (const zone of zones) {
      const share = Math.floor((minFreePages * zone.managed) / lowmem);
      const step = Math.max(share >> 2, Math.floor(zone.managed / 1000));
      zone.min = isLowmem(zone) ? share : clamp(Math.floor(zone.managed / 1024), 32, 128);
      zone.low = zone.min + step;
      zone.high = zone.low + step;
    }
    setReserves(zones, (zone) => zone.managed, reserveRatio);
  },

  floor: reservedFloor,

  leavesBlocks: (zone, order) => zone.buddy.holds(order),
};

export const watermarkPolicies: Readonly<Record<Tunables["watermarks"], WatermarkPolicy>> = {
  "linux-2.4": linux24,
  "linux-2.6": linux26,
  "linux-6.1": linux61,
};
