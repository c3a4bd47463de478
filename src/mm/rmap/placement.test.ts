/** Chains in highmem: they leave lowmem alone, and each block that is looked at needs a window. */
import { expect, test } from "vitest";
import { MAP_PRIVATE, READ_WRITE, TestKernel } from "../test-kernel.ts";
import { OWNER_REVERSE_MAP, ZONE_HIGHMEM } from "../zone.ts";
import type { ReverseMapPlacement } from "./reverse-maps.ts";

const AT = 0x8000;
const HIGH = 1024;

/** A page that nine processes share, its chain one full line and another. */
function sharedPage(reverseMapPlacement: ReverseMapPlacement, frames = 4096): TestKernel {
  const machine = new TestKernel({
    format: "i386",
    kernel: "linux-2.6.11",
    reverseMap: "pte-chain-e",
    highmemFrom: HIGH,
    reverseMapPlacement,
    frames,
  });
  machine.map(AT, 1, READ_WRITE, MAP_PRIVATE);
  machine.store(AT);
  for (let child = 0; child < 8; child++) machine.fork();
  return machine;
}

/** Pages that chains take, in lowmem and in highmem. */
function pagesOf(machine: TestKernel): number[] {
  const pages = [0, 0];
  for (const zone of machine.kernel.allocator.zones)
    pages[zone.kind === ZONE_HIGHMEM ? 1 : 0]! += zone.ownedBy(OWNER_REVERSE_MAP);
  return pages;
}

/** Windows that one walk of the page's chain makes, by kmap_atomic's count and by the reverse map's. */
function windowsOfWalk(machine: TestKernel): number[] {
  const { reverseMap, counters } = machine.kernel;
  const before = [counters.atomicMaps, reverseMap.costs.blockWindows];
  let seen = 0;
  reverseMap.forEach(machine.entry(AT).frame, () => ++seen > 0);
  expect(seen).toBe(9);
  return [counters.atomicMaps - before[0]!, reverseMap.costs.blockWindows - before[1]!];
}

test("in lowmem they need no window", () => {
  const machine = sharedPage("lowmem");
  expect(pagesOf(machine)).toEqual([1, 0]);
  expect(windowsOfWalk(machine)).toEqual([0, 0]);
  expect(machine.kernel.reverseMap.bytes).toBe(64);
});

test("in highmem they take none of lowmem, and a walk makes a window on each block", () => {
  const machine = sharedPage("highmem");
  expect(pagesOf(machine)).toEqual([0, 1]);
  expect(windowsOfWalk(machine)).toEqual([2, 2]);
  expect([machine.kernel.reverseMap.bytes, machine.kernel.atomicMaps.live]).toEqual([64, 0]);
});

test("where highmem is full they lie in lowmem after all, without windows", () => {
  const machine = sharedPage("highmem", HIGH + 1);
  expect(pagesOf(machine)).toEqual([1, 0]);
  expect(windowsOfWalk(machine)).toEqual([0, 0]);
});

test("a block that is looked at while its kind of window is in use is a bug", () => {
  const machine = sharedPage("highmem");
  const { atomicMaps, reverseMap } = machine.kernel;
  const userCopy = 4; // KM_USER1
  atomicMaps.map(HIGH + 7, userCopy);
  expect(() => reverseMap.forEach(machine.entry(AT).frame, () => true)).toThrow("wants a slot that is live: USER1");
  atomicMaps.unmap(HIGH + 7, userCopy);
});
