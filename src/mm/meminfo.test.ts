import { expect, test } from "vitest";
import { meminfo, meminfoText } from "./meminfo.ts";
import { evict, swapOut } from "./swap/test-swap.ts";
import { MAP_PRIVATE, MAP_SHARED, READ_WRITE, TestKernel } from "./test-kernel.ts";

const pagesOf = ({ kernel }: TestKernel) => Object.fromEntries(meminfo(kernel).map(({ key, pages }) => [key, pages]));

test("is printed as the kernel prints it", () => {
  const { kernel } = new TestKernel({ frames: 4096 });
  const [total, free] = meminfoText(kernel).split("\n");
  expect(total).toBe("MemTotal:          16376 kB");
  expect(free).toMatch(/^MemFree: {10,}\d+ kB$/);
  const { kernel: old } = new TestKernel({ frames: 4096, kernel: "linux-2.6.11" });
  expect(meminfoText(old).split("\n")[0]).toBe("MemTotal:        16376 kB");
});

test("PageTables counts leaf tables and those above them, but no higher ones", () => {
  const machine = new TestKernel();
  machine.map(0x1000, 4, READ_WRITE, MAP_PRIVATE);
  machine.store(0x1000);
  expect(machine.tables()).toEqual([1, 1, 1]);
  expect(pagesOf(machine).PageTables).toBe(2);
  const old = new TestKernel({ kernel: "linux-2.6.11" });
  old.map(0x1000, 4, READ_WRITE, MAP_PRIVATE);
  old.store(0x1000);
  expect(pagesOf(old).PageTables).toBe(1);
});

test("PageTables of PAE counts the three tables that every process is born with", () => {
  expect(pagesOf(new TestKernel({ format: "pae" })).PageTables).toBe(3);
});

test("a page is anonymous, or shared memory and mapped", () => {
  const machine = new TestKernel();
  machine.map(0x1000, 4, READ_WRITE, MAP_PRIVATE);
  machine.map(0x2000, 4, READ_WRITE, MAP_SHARED, machine.file(4));
  for (const page of [0x1000, 0x1001, 0x2000, 0x2001, 0x2002]) machine.store(page);
  expect(pagesOf(machine)).toMatchObject({ AnonPages: 2, Mapped: 3, Shmem: 3, Cached: 3, Committed_AS: 4 + 3 });
  machine.call("munmap", [0x2000 * 4096, 4 * 4096]);
  expect(pagesOf(machine)).toMatchObject({ AnonPages: 2, Mapped: 0, Shmem: 3 });
});

test("Slab is what can be dropped and what cannot", () => {
  const machine = new TestKernel();
  machine.map(0x2000, 300, READ_WRITE, MAP_SHARED, machine.file(300));
  for (let page = 0x2000; page < 0x2000 + 300; page++) machine.store(page);
  const { Slab, SReclaimable, SUnreclaim } = pagesOf(machine);
  expect(Slab).toBe(SReclaimable! + SUnreclaim!);
  expect(SReclaimable).toBe(machine.kernel.slabs.treeNodes.pages);
  expect(SReclaimable).toBeGreaterThan(0);
});

test("highmem has its own lines where a kernel may have some", () => {
  const keys = (format: "pae" | "x86-64") => meminfo(new TestKernel({ format }).kernel).map(({ key }) => key);
  expect(keys("pae")).toContain("LowFree");
  expect(keys("x86-64")).not.toContain("LowFree");
});

test("MemAvailable is less than what is free, by the marks that no program can go below", () => {
  const { MemFree, MemAvailable } = pagesOf(new TestKernel());
  expect(MemAvailable).toBeLessThan(MemFree!);
  expect(MemAvailable).toBeGreaterThan(0);
});

test("swap: what there is, what is free, and what is in memory too", () => {
  const machine = new TestKernel({ swap: [64, 32] });
  machine.map(0x1000, 4, READ_WRITE, MAP_PRIVATE);
  for (const at of [0, 1, 2]) machine.store(0x1000 + at);
  evict(machine, swapOut(machine, 0x1000));
  swapOut(machine, 0x1001);
  expect(pagesOf(machine)).toMatchObject({ SwapTotal: 63 + 31, SwapFree: 92, SwapCached: 1, AnonPages: 1 });
});

test("Active and Inactive are the lists of all zones", () => {
  const machine = new TestKernel();
  machine.map(0x1000, 4, READ_WRITE, MAP_PRIVATE);
  machine.map(0x2000, 4, READ_WRITE, MAP_SHARED, machine.file(4));
  for (const page of [0x1000, 0x1001, 0x2000]) machine.store(page);
  expect(pagesOf(machine)).toMatchObject({ Active: 2, Inactive: 1 });
});
