import { expect, test } from "vitest";
import { atomicAddress, fitsAddressSpace, kernelWindows, pkmapAddress } from "./windows.ts";

const MIB = 2 ** 20;
const narrow = { pageOffset: 0xc000_0000, lowmemBytes: 896 * MIB, tablePages: 1024, cpus: 1 };

test("a 3:1 split maps 896 MiB, leaves 8 MiB, and puts kmap's table right below the fixmap", () => {
  const windows = kernelWindows(narrow);
  expect(windows.highMemory).toBe(0xf800_0000);
  expect(windows.vmallocStart).toBe(0xf880_0000);
  expect(windows.pkmapBase).toBe(0xff80_0000);
  expect(windows.vmallocEnd).toBe(0xff80_0000 - 8192);
  expect(windows.pkmapSlots).toBe(1024);
});

test("with PAE the pool has 512 slots and lies 4 MiB higher", () => {
  const windows = kernelWindows({ ...narrow, tablePages: 512 });
  expect(windows.pkmapBase).toBe(0xffc0_0000);
  expect(windows.pkmapSlots).toBe(512);
});

test("slots of the pool go up, slots of kmap_atomic go down", () => {
  const windows = kernelWindows(narrow);
  expect(pkmapAddress(windows, 3) - pkmapAddress(windows, 0)).toBe(3 * 4096);
  expect(atomicAddress(windows, 3) - atomicAddress(windows, 0)).toBe(-3 * 4096);
  expect(atomicAddress(windows, 13)).toBe(windows.fixmapStart + 4096);
});

test.each([
  { split: "2:2", pageOffset: 0x8000_0000, lowmem: 1920, high: 0xf800_0000 },
  { split: "1:3", pageOffset: 0x4000_0000, lowmem: 2944, high: 0xf800_0000 },
  { split: "4:4", pageOffset: 0x0200_0000, lowmem: 3936, high: 0xf800_0000 },
])("a $split split keeps the windows where they are", ({ pageOffset, lowmem, high }) => {
  const windows = kernelWindows({ ...narrow, pageOffset, lowmemBytes: lowmem * MIB });
  expect(windows.highMemory).toBe(high);
  expect(windows.pkmapBase).toBe(0xff80_0000);
  expect(fitsAddressSpace(windows)).toBe(true);
});

test("32 CPUs take the fixmap down, and the pool with it", () => {
  const windows = kernelWindows({ ...narrow, tablePages: 512, cpus: 32 });
  expect(windows.fixmapStart).toBe(0xffff_f000 - (37 + 14 * 32) * 4096);
  expect(windows.pkmapBase + 513 * 4096).toBeLessThanOrEqual(windows.fixmapStart);
});

test("too much lowmem leaves no room for the windows", () => {
  expect(fitsAddressSpace(kernelWindows({ ...narrow, lowmemBytes: 1020 * MIB }))).toBe(false);
});
