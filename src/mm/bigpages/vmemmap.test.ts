import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../../base/units.ts";
import { audit } from "../../check/audit/audit.ts";
import { memorySnapshot } from "../../lab/snapshot.ts";
import { Machine } from "../../machine.ts";
import { specOf } from "../../presets.ts";
import { OWNER_MEM_MAP } from "../zone.ts";

const MIB = 2 ** 20;

const machine = (...settings: string[]) =>
  new Machine(specOf("skylake-256g", "linux-6.1", ["geometry.memory=8G", "geometry.cpus=1", ...settings]));
const lawsOf = (it: Machine) => audit(it).map(({ law, what }) => `${law}: ${what}`);
const memMap = ({ kernel }: Machine) => kernel.allocator.ownedBy(OWNER_MEM_MAP);

describe("vmemmap=hugetlb-optimised", () => {
  test("gives 28 of the 32 MiB of struct pages back that 2 GiB of huge pages have; they are free memory then", () => {
    const full = machine("tunables.hugePages=1024");
    const folded = machine("tunables.hugePages=1024", "vmemmap=hugetlb-optimised");
    expect(memMap(full) - memMap(folded)).toBe((28 * MIB) / PAGE_SIZE);
    expect(folded.kernel.allocator.freePages - full.kernel.allocator.freePages).toBe((28 * MIB) / PAGE_SIZE);
    expect(folded.kernel.allocator.managedPages - full.kernel.allocator.managedPages).toBe((28 * MIB) / PAGE_SIZE);
    expect(memorySnapshot(folded.kernel)).toMatchObject({
      vmemmapFreedBytes: 28 * MIB,
      hugePagesOptimisableBytes: 28 * MIB,
      memMapBytes: memorySnapshot(full.kernel).memMapBytes - 28 * MIB,
    });
    expect(lawsOf(folded)).toEqual([]);
  });

  test("gives back all but 4 KiB of the 16 MiB of each page of 1 GiB", () => {
    const it = machine("tunables.hugePages1G=3", "vmemmap=hugetlb-optimised");
    expect(memorySnapshot(it.kernel).vmemmapFreedBytes).toBe(3 * 4095 * PAGE_SIZE);
    expect(lawsOf(it)).toEqual([]);
  });

  test("a huge page that goes has its struct pages again, elsewhere; the next one there gives those back", () => {
    const it = machine("tunables.hugePages=8", "vmemmap=hugetlb-optimised");
    const [pool] = it.kernel.bigPages.pools;
    const before = memMap(it);
    for (const wanted of [3, 8, 0, 5, 8]) {
      pool!.resize(wanted);
      expect(memMap(it)).toBe(before + (8 - wanted) * 7);
      expect(lawsOf(it)).toEqual([]);
    }
  });

  test("a huge page cannot go while there is no memory for its struct pages: it stays, as a surplus one", () => {
    const it = machine("tunables.hugePages=8", "vmemmap=hugetlb-optimised");
    const { allocator, bigPages } = it.kernel;
    const [pool] = bigPages.pools;
    allocator.failAt(20, 1);
    expect(pool!.resize(0)).toBe(6);
    expect([pool!.total, pool!.free, pool!.surplus]).toEqual([6, 6, 6]);
    allocator.neverFail();
    expect(lawsOf(it)).toEqual([]);
    // Wanted again, they are surplus no more; and then they can go.
    pool!.resize(6);
    expect(pool!.surplus).toBe(0);
    expect(pool!.resize(0)).toBe(0);
    expect(it.kernel.vmemmap.freedPages).toBe(0);
    expect(lawsOf(it)).toEqual([]);
  });

  test("saves nothing where a struct page is no power of two bytes: as 2.6.11's 56", () => {
    const it = new Machine(
      specOf("opteron-32g", "linux-2.6.11", ["tunables.hugePages=4", "vmemmap=hugetlb-optimised"]),
    );
    expect(it.kernel.vmemmap.freedPages).toBe(0);
  });
});
