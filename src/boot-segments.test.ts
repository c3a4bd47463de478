import { expect, test } from "vitest";
import { PAGE_SIZE } from "./base/units.ts";
import { layOutMemory } from "./boot.ts";
import { footprintOf } from "./footprint.ts";
import { parseGeometry } from "./geometry.ts";
import { Machine } from "./machine.ts";
import { mapLayouts } from "./mm/memmap/mem-maps.ts";
import { OWNER_MEM_MAP } from "./mm/zone.ts";
import { applySettings, specOf } from "./presets.ts";

const MIB = 2 ** 20;

test("segments lie above all memory and all zones, each where a table of the direct map could begin", () => {
  const geometry = parseGeometry({ memory: "62M", paging: "pae", tlb: "p6", segments: "1M,3M" });
  const { frames, zones, free, segments, allFrames } = layOutMemory(
    geometry,
    footprintOf("linux-2.6.11", "pae"),
    mapLayouts.flat,
  );
  expect(frames).toBe((62 * MIB) / PAGE_SIZE);
  expect(segments).toEqual([
    { first: (64 * MIB) / PAGE_SIZE, end: (65 * MIB) / PAGE_SIZE },
    { first: (68 * MIB) / PAGE_SIZE, end: (71 * MIB) / PAGE_SIZE },
  ]);
  expect(allFrames).toBe((71 * MIB) / PAGE_SIZE);
  for (const { end } of [...zones, ...free]) expect(end).toBeLessThanOrEqual(frames);
});

test("segments that paging cannot address, or that are no whole pages, are refused", () => {
  const large = { memory: "4G", paging: "i386", tlb: "p6", segments: "64M" } as const;
  expect(() => layOutMemory(parseGeometry(large), footprintOf("linux-2.6.11", "i386"), mapLayouts.flat)).toThrow(
    "geometry.segments",
  );
  expect(() => parseGeometry({ ...large, segments: 5000 })).toThrow("whole number of pages");
});

test("struct pages for a segment come out of the guest's own memory: one for each of its pages", () => {
  const mapBytes = (...settings: string[]): number => {
    const spec = applySettings(specOf("opteron-32g"), ["geometry.memory=64M", "geometry.cpus=1", ...settings]);
    return new Machine(spec).kernel.allocator.ownedBy(OWNER_MEM_MAP) * PAGE_SIZE;
  };
  const without = mapBytes();
  expect(mapBytes("geometry.segments=256M", "pfnMappings=special-bit")).toBe(without);
  // 56 bytes each in 2.6.11's long mode: 1.37 %.
  expect(mapBytes("geometry.segments=256M", "pfnMappings=struct-pages") - without).toBe(65_536 * 56);
});

test("where hardware has no bit to spare, options that need one are refused, and a kernel's own moves", () => {
  const on = (...settings: string[]) => applySettings(specOf("amd64-8g"), ["geometry.softwareBits=none", ...settings]);
  expect(on().design.pfnMappings).toBe("linear-rule");
  for (const option of ["special-bit", "cow-bit"]) {
    expect(() => on(`pfnMappings=${option}`)).toThrow("no bit left for the kernel");
  }
  expect(on("pfnMappings=shadow-bits").design.pfnMappings).toBe("shadow-bits");
});
