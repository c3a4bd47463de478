import { describe, expect, test } from "vitest";
import { layOutMemory, startAllocator } from "./boot.ts";
import { footprintOf } from "./footprint.ts";
import { parseGeometry } from "./geometry.ts";
import { Frames } from "./mm/frames.ts";
import { mapLayouts } from "./mm/memmap/mem-maps.ts";
import { OWNER_KERNEL_IMAGE, OWNER_MEM_MAP, ZONE_HIGHMEM } from "./mm/zone.ts";
import { type MachineSpec, machinePresets, specOf } from "./presets.ts";

function boot({ geometry, design, kernel, tunables }: MachineSpec) {
  const layout = layOutMemory(geometry, footprintOf(kernel, geometry.paging), mapLayouts[design.memMap]);
  const allocator = startAllocator(layout, new Frames(layout.frames), tunables, { forget() {}, forgetRun() {} });
  allocator.check();
  const kib = (kind: (zone: number) => boolean) =>
    allocator.zones.filter((zone) => kind(zone.kind)).reduce((sum, zone) => sum + zone.managed * 4, 0);
  const highTotal = kib((kind) => kind === ZONE_HIGHMEM);
  return { layout, allocator, highTotal, lowTotal: kib((kind) => kind !== ZONE_HIGHMEM), memTotal: kib(() => true) };
}

const tinyKernel = footprintOf("linux-6.1", "i386");

// /proc/meminfo of Debian's Linux 6.1 kernels in an emulated PC, in kB.
describe.each([
  ["nonpae-3g", "1G", 1_021_484, 151_432],
  ["nonpae-3g", "3G", 3_098_428, 2_248_584],
  ["pae-8g", "512M", 502_556, 0],
  ["pae-8g", "1G", 1_021_404, 147_336],
  ["pae-8g", "3G", 3_097_532, 2_244_488],
  ["pae-8g", "4G", 4_059_996, 3_293_064],
  ["pae-8g", "8G", 8_213_212, 7_487_368],
  ["pae-8g", "16G", 16_520_216, 15_875_976],
  ["amd64-8g", "1G", 981_736, 0],
  ["amd64-8g", "3G", 3_041_512, 0],
  ["amd64-8g", "8G", 8_130_024, 0],
  ["amd64-8g", "16G", 16_375_260, 0],
])("%s with %s", (machine, memory, memTotal, highTotal) => {
  const booted = boot(specOf(machine, "linux-6.1", [`geometry.memory=${memory}`]));
  const within = (found: number, real: number) => Math.abs(found - real) / real;

  test("has the HighTotal of a real kernel exactly, and MemTotal and LowTotal within a thousandth", () => {
    expect(booted.highTotal).toBe(highTotal);
    expect(within(booted.memTotal, memTotal)).toBeLessThan(0.001);
    expect(within(booted.lowTotal, memTotal - highTotal)).toBeLessThan(0.001);
  });
});

describe("a 32-bit machine", () => {
  test("has zones up to 16 MiB, up to 896 MiB and beyond", () => {
    const { layout } = boot(specOf("piii-xeon-64g"));
    expect(layout.zones.map(({ first, end }) => [first, end])).toEqual([
      [0, 4096],
      [4096, 229_376],
      [229_376, 16_777_216],
    ]);
  });

  test("with 64 GiB pays 512 MiB of lowmem for its struct pages of 32 bytes", () => {
    const { allocator } = boot(specOf("piii-xeon-64g"));
    expect(allocator.ownedBy(OWNER_MEM_MAP) * 4096).toBe(512 * 2 ** 20);
  });

  test("with struct pages of 56 bytes, as RHEL3 had, does not start", () => {
    const spec = specOf("piii-xeon-64g", undefined, ["geometry.pageStructBytes=56"]);
    expect(() => boot(spec)).toThrow(/does not fit the 896 MiB of memory that it can map.*MiB more/s);
  });

  test("with a 2:2 split has another GiB of lowmem", () => {
    const lowmemEnd = (split: string) =>
      boot(specOf("piii-4g", undefined, [`geometry.split=${split}`])).layout.lowmemEnd;
    expect(lowmemEnd("2:2") - lowmemEnd("3:1")).toBe(2 ** 18);
    expect(lowmemEnd("1:3") - lowmemEnd("3:1")).toBe(2 ** 19);
  });
});

describe("a 64-bit machine", () => {
  test("has no highmem; since 2.6.15 it has a zone below 4 GiB", () => {
    const names = (kernel: string) => boot(specOf("amd64-8g", kernel)).allocator.zones.map((zone) => zone.name);
    expect(names("linux-6.1")).toEqual(["DMA", "DMA32", "Normal"]);
    expect(names("linux-2.6.11")).toEqual(["DMA", "Normal"]);
  });

  test("has no struct pages for the hole below 4 GiB, where a flat mem_map has them", () => {
    const sections = boot(specOf("amd64-8g"));
    expect(sections.allocator.ownedBy(OWNER_MEM_MAP) * 4096).toBe(8 * 2 ** 18 * 64);
    const flat = boot(specOf("pae-8g"));
    expect(flat.allocator.ownedBy(OWNER_MEM_MAP) * 4096).toBe(9 * 2 ** 18 * 40);
  });
});

describe("holes", () => {
  test("a PC's memory beyond 3 GiB is found above 4 GiB, as far as the format reaches", () => {
    const { layout } = boot(specOf("pae-64g"));
    expect(layout.frames).toBe(2 ** 24);
    const { layout: narrow } = boot(specOf("nonpae-3g", undefined, ["geometry.memory=4G"]));
    expect(narrow.frames * 4096).toBe(3 * 2 ** 30 - 132 * 1024);
  });

  test("no zone counts a hole as present", () => {
    const { allocator } = boot(specOf("pae-8g"));
    const present = allocator.zones.reduce((sum, zone) => sum + zone.present, 0);
    expect(present * 4).toBe(8 * 2 ** 20 - 520);
  });
});

describe("nodes", () => {
  test("that would have no memory are left out", () => {
    const nodes = (memory: string) =>
      boot(specOf("numaq-64g", undefined, [`geometry.memory=${memory}`])).layout.memMap!.parts.length;
    expect(["256M", "1G", "2G", "65528M"].map(nodes)).toEqual([1, 4, 8, 8]);
  });

  test("of a 64-bit machine have their struct pages in their own memory, and lowmem loses nothing", () => {
    const { layout, memTotal } = boot(specOf("opteron-32g"));
    for (const { end, ranges } of layout.memMap!.parts) expect(ranges[0]).toEqual({ first: end - 28_672, end });
    expect(layout.lowmemEnd).toBe(layout.frames);
    expect(memTotal).toBe(boot(specOf("opteron-32g", undefined, ["memMap=flat", "geometry.nodes=1"])).memTotal);
  });
});

test("windows of soft pages that leave no lowmem are refused", () => {
  const { geometry, kernel } = specOf("numaq-64g");
  const layOut = (shift: number) => layOutMemory(geometry, footprintOf(kernel, "pae"), mapLayouts.flat, shift);
  expect(layOut(4).lowmemEnd * 4096).toBe(866 * 2 ** 20);
  expect(() => layOut(9)).toThrow(
    "the slots of kmap_atomic of 32 CPUs, each of 2.00 MiB, leave no addresses for lowmem",
  );
});

describe("a machine for tests", () => {
  test("may be bare: all of its 64 frames are free, in zones of any size", () => {
    const geometry = parseGeometry({
      memory: 64 * 4096,
      paging: "i386",
      tlb: "p6",
      bootMemory: "none",
      dmaBytes: 16 * 4096,
      lowmemBytes: 48 * 4096,
    });
    const layout = layOutMemory(geometry, tinyKernel, mapLayouts.flat);
    expect(layout.reserved).toEqual([]);
    expect(layout.free).toEqual([{ first: 0, end: 64 }]);
    expect(layout.zones.map(({ end }) => end)).toEqual([16, 48, 64]);
  });

  test("a kernel that does not fit says what it lacks", () => {
    const geometry = parseGeometry({ memory: "8M", paging: "i386", tlb: "p6" });
    expect(() => layOutMemory(geometry, tinyKernel, mapLayouts.flat)).toThrow("need 12.0 MiB more");
  });
});

test.each(Object.keys(machinePresets))("%s starts, and its zones add up", (name) => {
  const { allocator } = boot(specOf(name));
  expect(allocator.ownedBy(OWNER_KERNEL_IMAGE)).toBeGreaterThan(0);
  expect(allocator.freePages).toBe(allocator.managedPages);
});
