import { describe, expect, test } from "vitest";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { audit } from "../../check/audit/audit.ts";
import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { meminfo } from "../meminfo.ts";
import { ZONE_HIGHMEM } from "../zone.ts";
import { MAP_HUGETLB } from "./test-world.ts";

const MIB = 2 ** 20;
const GIB = 2 ** 30;

const machine = (name: string, kernel: string, ...settings: string[]) => new Machine(specOf(name, kernel, settings));
const pagesOf = (it: Machine, key: string) => meminfo(it.kernel).find((line) => line.key === key)!.pages;

describe("a pool of pages of 1 GiB", () => {
  test("is as large at boot as there are whole gigabytes that nobody has a page in", () => {
    // 8 GiB: 3 below the hole for devices, 5 above it; the kernel has pages in the first, the third and the last.
    const it = machine("amd64-8g", "linux-6.1", "tunables.hugePages1G=100");
    const [, gigantic] = it.kernel.bigPages.pools;
    expect(gigantic!.pages).toBe(GIB / PAGE_SIZE);
    for (const head of gigantic!.freePages()) expect(head % gigantic!.pages).toBe(0);
    expect(gigantic!.total).toBe(5);
    expect(audit(it)).toEqual([]);
  });

  test("finds none at run time where one page of each is in use, however much is free; nothing is lent", () => {
    const it = machine(
      "amd64-8g",
      "linux-6.1",
      "tunables.hugePagesOvercommit=10",
      "tunables.addressSpaceLimitBytes=null",
    );
    const { allocator, bigPages } = it.kernel;
    const [usual, gigantic] = bigPages.pools;
    const [thread] = it.spawn("scatter").threads;
    const at = 0x4000_0000;
    const bytes = 7 * GIB;
    it.call(thread!, "mmap", [at, bytes, 3, 0x32, null, 0]);
    for (let page = at; page < at + bytes; page += 2 * MIB) it.access(thread!, page, 1);
    expect(gigantic!.resize(1)).toBe(1);
    expect(gigantic!.resize(0)).toBe(0);
    expect(it.call(thread!, "mmap", [0, GIB, 3, 0x22 | MAP_HUGETLB | (30 << 26), null, 0])).toBe(-12);
    expect(it.call(thread!, "mmap", [0, 2 * MIB, 3, 0x22 | MAP_HUGETLB, null, 0])).toBeGreaterThan(0);
    expect([usual!.surplus, gigantic!.surplus]).toEqual([1, 0]);
    expect(allocator.freePages * PAGE_SIZE).toBeGreaterThan(7 * GIB);
    expect(audit(it)).toEqual([]);
  });

  test("there is none on 32 bits", () => {
    expect(() => machine("piii-4g", "linux-2.6.11", "tunables.hugePages1G=1")).toThrow("no pool of pages of 1 GiB");
  });
});

test("a pool that shrinks gives lowmem back first", () => {
  const it = machine("piii-4g", "linux-2.6.11", "tunables.hugePages=1700");
  const [pool] = it.kernel.bigPages.pools;
  const low = () => pool!.freePages().filter((head) => it.kernel.allocator.zoneOf(head).kind !== ZONE_HIGHMEM).length;
  const high = pool!.total - low();
  expect(low()).toBeGreaterThan(50);
  pool!.resize(pool!.total - 50);
  expect(pool!.total - low()).toBe(high);
  pool!.resize(high);
  expect(low()).toBe(0);
});

test.each(["linux-2.6.11", "linux-6.1"])("where nothing may be overcommitted, pools are no memory: %s", (kernel) => {
  const name = kernel === "linux-6.1" ? "amd64-8g" : "opteron-32g";
  const limits = [0, 512].map((huge) =>
    pagesOf(machine(name, kernel, "tunables.overcommitMode=2", `tunables.hugePages=${huge}`), "CommitLimit"),
  );
  expect((limits[0]! - limits[1]!) * PAGE_SIZE).toBe(GIB / 2);
});

test("pages of 4 MiB are the usual ones where page tables have two levels", () => {
  const it = machine("nonpae-3g", "linux-6.1", "tunables.hugePages=2");
  const [pool, ...others] = it.kernel.bigPages.pools;
  expect([pool!.pages * PAGE_SIZE, pool!.level, others.length]).toEqual([4 * MIB, 2, 0]);
  const [thread] = it.spawn("program").threads;
  const ask = (log: number) => it.call(thread!, "mmap", [0, 4 * MIB, 3, 0x22 | MAP_HUGETLB | (log * 2 ** 26), null, 0]);
  expect([ask(21), ask(30)]).toEqual([-22, -22]);
  const at = ask(22);
  expect(at % (4 * MIB)).toBe(0);
  expect(it.access(thread!, at + addressOf(1023), 1)).toBe(0);
  expect([pool!.free, pool!.reserved]).toEqual([1, 0]);
  expect(audit(it)).toEqual([]);
});
