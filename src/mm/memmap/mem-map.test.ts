import { describe, expect, test } from "vitest";
import { layOutMemory } from "../../boot.ts";
import { audit } from "../../check/audit/audit.ts";
import { footprintOf } from "../../footprint.ts";
import { Machine } from "../../machine.ts";
import { type MachineSpec, specOf } from "../../presets.ts";
import { OWNER_MEM_MAP, ZONE_HIGHMEM } from "../zone.ts";
import type { MemMap } from "./mem-map.ts";
import { type MapLayoutName, mapLayouts } from "./mem-maps.ts";
import { pageHandles } from "./page-handle.ts";
import { structPageBytes, structPages } from "./struct-page.ts";

const PAGE = 4096;

function boot({ geometry, kernel }: MachineSpec, layout: MapLayoutName, softPageShift = 0) {
  const laidOut = layOutMemory(geometry, footprintOf(kernel, geometry.paging), mapLayouts[layout], softPageShift);
  return { ...laidOut, map: laidOut.memMap! };
}

/** The frames at which something may go wrong: ends of memory, of parts, of nodes and sections. */
function edges(frames: number, map: MemMap): number[] {
  const at = map.parts.flatMap(({ first, end }) => [first, first + 1, end - 1]);
  const steps = Array.from({ length: 257 }, (_, step) => Math.floor((step * (frames - 1)) / 256));
  const elements = Array.from({ length: 64 }, (_, element) => [element * 65_536, element * 65_536 + 65_535]).flat();
  return [...new Set([...at, ...steps, ...elements])].filter((frame) => frame < frames);
}

const machines: [string, MachineSpec][] = [
  ["a small machine without highmem", specOf("piii-4g", undefined, ["geometry.memory=512M"])],
  ["a PAE machine", specOf("piii-4g")],
  ["one with eight nodes", specOf("piii-xeon-64g", undefined, ["geometry.nodes=8", "geometry.memory=65528M"])],
  ["one with struct pages of 44 bytes", specOf("piii-xeon-64g", undefined, ["geometry.pageStructBytes=44"])],
  ["a PC with a hole below 4 GiB", specOf("pae-8g")],
  ["a PC with two levels", specOf("nonpae-3g")],
  ["a 64-bit PC", specOf("amd64-8g")],
  ["a 64-bit machine with two nodes", specOf("opteron-32g", undefined, ["geometry.nodes=2"])],
];

const isWide = ({ geometry }: MachineSpec): boolean => geometry.paging.startsWith("x86-64");

describe.each(Object.keys(mapLayouts) as MapLayoutName[])("%s", (layout) => {
  describe.each(machines.filter(([, spec]) => layout !== "per-task-window" || !isWide(spec)))(
    "on %s",
    (_name, spec) => {
      const { map, frames, free, zones } = boot(spec, layout);

      test("leads from each frame to its struct page and back, across holes and nodes", () => {
        for (const range of [...free, { first: 0, end: 1 }]) {
          for (const frame of [range.first, range.end - 1]) if (frame > 0) expect(map.placeOf(frame)).not.toBeNull();
        }
        for (const frame of edges(frames, map)) {
          const page = map.pageOf(frame);
          if (page !== null) expect(map.pfnOf(page)).toBe(frame);
        }
      });

      test("gives each its own bytes, in frames that nobody else has", () => {
        const found = new Map<number, number>();
        for (const frame of edges(frames, map)) {
          const place = map.placeOf(frame);
          if (place === null) continue;
          const byte = place.frame * PAGE + place.offset;
          expect(found.get(byte) ?? frame).toBe(frame);
          found.set(byte, frame);
          expect(
            map.parts.some(({ ranges }) => ranges.some(({ first, end }) => place.frame >= first && place.frame < end)),
          ).toBe(true);
          expect(free.some(({ first, end }) => place.frame >= first && place.frame < end)).toBe(false);
        }
      });

      test("names each frame by any handle that fits", () => {
        const names = layout === "per-task-window" ? (["pfn", "cookie"] as const) : (["pfn", "pointer"] as const);
        for (const name of names) {
          const handles = pageHandles[name](map, 0xc000_0000);
          for (const frame of edges(frames, map)) {
            const handle = handles.of(frame);
            if (handle !== null) expect(handles.frameOf(handle)).toBe(frame);
          }
        }
      });

      test("is charged to the zones that hold it", () => {
        const high = zones.find(({ kind }) => kind === ZONE_HIGHMEM);
        const inHigh = map.parts
          .flatMap(({ ranges }) => ranges)
          .filter(({ first }) => high !== undefined && first >= high.first)
          .reduce((sum, { first, end }) => sum + end - first, 0);
        const expected = {
          flat: 0,
          sparse: 0,
          discontig: undefined,
          "per-task-window": high === undefined ? 0 : map.frames,
        }[layout];
        if (expected !== undefined) expect(inHigh).toBe(expected);
      });
    },
  );
});

// The whole machine, frame by frame.
test.each(["flat", "sparse", "discontig"] as const)("%s: no frame of 3 GiB has another's struct page", (layout) => {
  const { map, frames } = boot(specOf("nonpae-3g", undefined, ["geometry.nodes=3"]), layout);
  const pages = new Set<number>();
  let wrong = 0;
  for (let frame = 0; frame < frames; frame++) {
    const page = map.pageOf(frame)!;
    pages.add(page);
    if (map.pfnOf(page) !== frame) wrong++;
  }
  expect(wrong).toBe(0);
  expect(pages.size).toBe(frames);
});

test("sections without memory have no struct pages, and cost none", () => {
  const hole = 2 ** 20 - 1;
  const sparse = boot(specOf("pae-8g"), "sparse").map;
  const flat = boot(specOf("pae-8g"), "flat").map;
  expect(sparse.pageOf(hole)).toBeNull();
  expect(sparse.placeOf(hole)).toBeNull();
  expect(flat.pageOf(hole)).not.toBeNull();
  expect((flat.frames - sparse.frames) * PAGE).toBe(2 ** 18 * 40);
});

test("the struct pages of a huge page fill frames in a row, where they fill whole frames", () => {
  const { map } = boot(specOf("amd64-8g"), "sparse");
  expect(map.rowOf(512 * 1000, 512 * 1001)).toBe(map.placeOf(512 * 1000)!.frame);
  expect(map.rowOf(512 * 1000 + 1, 512 * 1001 + 1)).toBeNull();
  const odd = boot(specOf("piii-4g", undefined, ["geometry.pageStructBytes=44"]), "flat").map;
  expect(odd.rowOf(512, 1024)).toBeNull();
});

describe("struct page", () => {
  test.each([
    ["2.4.0", 64],
    ["2.4.0-up", 60],
    ["2.4.22", 48],
    ["2.4.22-lowmem", 44],
    ["rhel3", 56],
    ["rhel3-highpte-64g", 60],
    ["2.5.27", 44],
    ["2.5.46", 40],
    ["2.5.46-highpte-64g", 44],
    ["2.6.7", 32],
    ["2.6.18", 32],
    ["x86-64", 64],
  ] as const)("%s has %d bytes", (name, bytes) => {
    expect(structPageBytes(name)).toBe(bytes);
    expect(structPages[name].of).toMatch(/^\S/);
  });

  test("is that of the kernel which is started", () => {
    const bytes = (kernel: string) => specOf("piii-4g", kernel).geometry.pageStructBytes;
    expect(["linux-2.4.22", "rhel3-hugemem", "linux-2.6.0", "linux-2.6.11"].map(bytes)).toEqual([48, 60, 40, null]);
    expect(specOf("opteron-32g", "linux-2.6.0").geometry.pageStructBytes).toBeNull();
  });
});

// 64 GiB, 32 CPUs and 8 nodes, as it booted in March 2003: linux-2.5.65-mm2, and 2.5.66 with page clustering.
describe("the NUMA-Q", () => {
  const numaq = specOf("numaq-64g", undefined, ["geometry.pageStructBytes=44", "geometry.atomicTypes=61"]);
  const mib = (frames: number) => (frames * PAGE) / 2 ** 20;

  test.each([
    { softPageShift: 0, perNode: 23_040, remapped: 160_768, lowmem: 268, highmem: 64_632, highStart: 229_376 },
    { softPageShift: 3, perNode: 3_072, remapped: 21_504, lowmem: 750, highmem: 64_694, highStart: 213_504 },
  ])("with soft pages of 2^$softPageShift frames has $lowmem MiB of lowmem", (real) => {
    const { map, lowmemEnd, highStart, frames } = boot(numaq, "discontig", real.softPageShift);
    const remote = map.parts.slice(1).map(({ ranges }) => ranges[0]!.end - ranges[0]!.first);
    expect(remote[0]).toBe(real.perNode);
    expect(remote.reduce((sum, pages) => sum + pages, 0)).toBe(real.remapped);
    expect(mib(lowmemEnd)).toBe(real.lowmem);
    expect(highStart).toBe(real.highStart);
    expect(mib(frames - highStart)).toBe(real.highmem);
  });

  test("has each node's struct pages in the node's own memory, at addresses below highmem", () => {
    const { map, lowmemEnd, highStart } = boot(numaq, "discontig");
    for (const { first, end, ranges } of map.parts.slice(1)) {
      expect(ranges).toHaveLength(1);
      expect(ranges[0]!.end).toBe(end);
      expect(ranges[0]!.first).toBeGreaterThan(first);
      const address = map.pageOf(first)! - 0xc000_0000;
      expect(address).toBeGreaterThanOrEqual(lowmemEnd * PAGE);
      expect(address).toBeLessThan(highStart * PAGE);
    }
  });
});

describe("a machine that has started", () => {
  test.each([
    ["piii-4g", "flat"],
    ["piii-4g", "sparse"],
    ["piii-4g", "discontig"],
    ["piii-4g", "per-task-window"],
    ["numaq-64g", "discontig"],
    ["amd64-8g", "sparse"],
    ["amd64-8g", "flat"],
    ["pae-8g", "per-task-window"],
  ])("%s keeps the laws with %s, and charges what it has", (name, layout) => {
    const machine = new Machine(specOf(name, undefined, [`memMap=${layout}`]));
    machine.spawn("first");
    expect(audit({ kernel: machine.kernel, processes: machine.processes })).toEqual([]);
    const { allocator, structPages } = machine.kernel;
    expect(allocator.ownedBy(OWNER_MEM_MAP)).toBe(structPages.map!.frames);
  });

  test("with its struct pages in highmem has all of lowmem for other things", () => {
    const low = (layout: string) =>
      new Machine(specOf("piii-xeon-64g", undefined, [`memMap=${layout}`])).kernel.allocator.zones
        .filter(({ kind }) => kind !== ZONE_HIGHMEM)
        .reduce((sum, zone) => sum + zone.free, 0);
    expect(((low("per-task-window") - low("flat")) * PAGE) / 2 ** 20).toBeCloseTo(512, 0);
  });

  test("with 64 GiB and struct pages of 56 bytes starts if they are in highmem", () => {
    const settings = ["geometry.pageStructBytes=56"];
    expect(() => new Machine(specOf("piii-xeon-64g", undefined, settings))).toThrow(/does not fit/);
    new Machine(specOf("piii-xeon-64g", undefined, [...settings, "memMap=per-task-window"]));
  });
});
