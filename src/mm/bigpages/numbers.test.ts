/** What the central example, thousands of processes that map one segment, comes to with big pages. */
import { describe, expect, test } from "vitest";
import { addressOf, PAGE_SIZE } from "../../base/units.ts";
import { describe as describeState } from "../../check/describe.ts";
import { hugetlbKib } from "../../check/smaps.ts";
import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { OpenFile } from "../file.ts";
import { meminfoText } from "../meminfo.ts";
import { MAP_FIXED, MAP_SHARED, READ_WRITE } from "../test-kernel.ts";
import { createHugeFile } from "./huge-pages.ts";
import { vmemmapFreed } from "./vmemmap.ts";

const GIB = 2 ** 30;
const MIB = 2 ** 20;
const AT = 0x4000_0000;

/** A machine on which `processes` map a segment of `bytes`, page by page of `pageBytes`, and touch all of it. */
function run(
  settings: readonly string[],
  machine: string,
  kernel: string,
  load: { processes: number; bytes: number; pool: number },
) {
  const it = new Machine(specOf(machine, kernel, settings));
  const pool = it.kernel.bigPages.pools[load.pool]!;
  const file = createHugeFile(it.kernel, "segment", pool, load.bytes / PAGE_SIZE);
  const open = new OpenFile(file, "read-write");
  const processes = Array.from({ length: load.processes }, (_, at) => {
    const process = it.spawn(`backend ${at}`);
    const [thread] = process.threads;
    const before = process.mm.tablesByLevel.slice();
    expect(it.call(thread!, "mmap", [AT, load.bytes, READ_WRITE, MAP_SHARED | MAP_FIXED, open, 0])).toBe(AT);
    for (let at = AT; at < AT + load.bytes; at += pool.pages * PAGE_SIZE) expect(it.access(thread!, at, 1)).toBe(0);
    return { process, added: process.mm.tablesByLevel.map((tables, level) => tables - before[level]!) };
  });
  return { it, processes };
}

describe("a segment of 2 GiB", () => {
  test("needs no leaf table of PAE, and nothing beside the tables that every process has: 61.6 MB for 5000", () => {
    const { it, processes } = run(["tunables.hugePages=1024", "hugePages=hugetlbfs"], "piii-xeon-64g", "linux-2.6.11", {
      processes: 3,
      bytes: 2 * GIB,
      pool: 0,
    });
    for (const { process, added } of processes) {
      expect(added).toEqual([0, 0, 0, 0, 0, 0]);
      expect(process.mm.tablesByLevel.slice(0, 4)).toEqual([0, 0, 3, 1]);
    }
    // Three tables of the second level; Linux's root of PAE is 32 bytes of a cache, where here it is a frame.
    expect(5000 * (3 * PAGE_SIZE + 32)).toBe(61_600_000);
    expect(hugetlbKib(it.kernel, processes[0]!.process.mm)).toBe(2 * 2 ** 20);
    expect(it.kernel.counters.minorFaults).toBe(0);
  });

  test("needs none of two levels: the 512 entries lie in the top table, 20.48 MB for 5000", () => {
    const { processes } = run(["tunables.hugePages=512", "hugePages=hugetlbfs"], "nonpae-3g", "linux-2.6.11", {
      processes: 2,
      bytes: 2 * GIB,
      pool: 0,
    });
    for (const { process } of processes) expect(process.mm.tablesByLevel.slice(0, 3)).toEqual([0, 0, 1]);
    expect(5000 * PAGE_SIZE).toBe(20_480_000);
  });

  test.each([
    ["hugetlbfs", 2, 39.0625],
    ["hugetlbfs-shared-pmd", 0, 0.0078125],
  ])("needs 2 tables of the second level a process on x86-64, or 2 in all: %s", (hugePages, own, mibOf5000) => {
    const { it, processes } = run(["tunables.hugePages=1024", `hugePages=${hugePages}`], "skylake-256g", "linux-6.1", {
      processes: 3,
      bytes: 2 * GIB,
      pool: 0,
    });
    expect(processes.map(({ added }) => added[2])).toEqual([2, 2, 2]);
    const inCommon = it.kernel.bigPages.tablesInCommon;
    expect(inCommon).toBe((2 - own) * 2);
    // Of n processes the first has 2 tables, each other one so many of its own.
    expect(((2 + 4999 * own) * PAGE_SIZE) / MIB).toBeCloseTo(mibOf5000, 10);
  });

  test("needs none with pages of 1 GiB", () => {
    const { processes } = run(["tunables.hugePages1G=2"], "skylake-256g", "linux-6.1", {
      processes: 2,
      bytes: 2 * GIB,
      pool: 1,
    });
    for (const { added } of processes) expect(added.slice(0, 3)).toEqual([0, 0, 0]);
  });
});

describe("struct pages", () => {
  test("of 2 GiB are 32 MiB, of which 28 can be given back; of a page of 1 GiB all but one of 4096 pages", () => {
    const it = new Machine(specOf("skylake-256g", "linux-6.1", ["tunables.hugePages=1024"]));
    const [pool] = it.kernel.bigPages.pools;
    expect([pool!.structPageBytes, pool!.optimisableBytes]).toEqual([32 * MIB, 28 * MIB]);
    expect(vmemmapFreed(512, 64)).toBe(7 * PAGE_SIZE);
    expect(vmemmapFreed(2 ** 18, 64)).toBe(4095 * PAGE_SIZE);
  });

  test("of 256 GiB are 4 GiB, and 512 MiB or 1 MiB where they are given back", () => {
    const left = (pages: number, count: number) => count * (pages * 64 - vmemmapFreed(pages, 64));
    expect([left(512, 131_072), left(2 ** 18, 256)]).toEqual([512 * MIB, MIB]);
  });
});

test("/proc/meminfo has the lines of the pool as each kernel prints them", () => {
  const tail = (machine: string, kernel: string, settings: string[], lines: number) =>
    meminfoText(new Machine(specOf(machine, kernel, settings)).kernel)
      .split("\n")
      .slice(-1 - lines, -1);
  expect(tail("skylake-256g", "linux-6.1", ["tunables.hugePages=3", "tunables.hugePages1G=1"], 6)).toEqual([
    "HugePages_Total:       3",
    "HugePages_Free:        3",
    "HugePages_Rsvd:        0",
    "HugePages_Surp:        0",
    "Hugepagesize:       2048 kB",
    "Hugetlb:         1054720 kB",
  ]);
  expect(tail("piii-4g", "linux-2.6.11", ["tunables.hugePages=3"], 3)).toEqual([
    "HugePages_Total:     3",
    "HugePages_Free:      3",
    "Hugepagesize:     2048 kB",
  ]);
});

test("a big page is one entry in a description of the machine, and its head one frame", () => {
  const { it, processes } = run(["tunables.hugePages=1"], "skylake-256g", "linux-6.1", {
    processes: 1,
    bytes: 2 * MIB,
    pool: 0,
  });
  const { process } = processes[0]!;
  const state = describeState(it, {
    pids: new Set([process.pid]),
    pages: { first: AT / PAGE_SIZE, end: AT / PAGE_SIZE + 512 },
  });
  expect(state).toContain("rw-  ad  1 map  512 pages");
  expect(addressOf(AT / PAGE_SIZE)).toBe(AT);
});
