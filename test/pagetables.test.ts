/**
 * What real kernels say of their memory, and what the same machines say here: how much there is after boot, and where
 * it goes when hundreds of processes map one shared area. `BIGMEM_PAGETABLES=all` goes up to 500 processes, as the
 * measurements do, of which each reads every page of the area (20 seconds); otherwise there are 100, and each reads one
 * page in each window of fault-around, which must come to the same (there is a test for that). docs/memory-accounting.md
 * has all rows.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../src/base/units.ts";
import { audit } from "../src/check/audit/audit.ts";
import {
  type Comparison,
  compareBoot,
  compareSharedArea,
  errorOf,
  parseTable,
  sharedAreaRuns,
} from "../src/lab/memory/measured.ts";
import { SharedArea } from "../src/lab/memory/shared-area.ts";
import { specOf } from "../src/presets.ts";

const tableOf = (name: string) => parseTable(readFileSync(`test/oracle/${name}.csv`, "utf8"));

/**
 * A kernel's counters lag behind: each CPU adds what it has counted once that exceeds a threshold, which is 14 pages on
 * these machines (mm/vmstat.c calculate_normal_threshold).
 */
const LAG_KIB = 14 * 4;
const WINDOW_PAGES = 16;

const named = (compared: readonly Comparison[]) => (key: string) =>
  compared.find((each) => each.key === key) ?? { key, real: Number.NaN, here: Number.NaN };
const within = (comparison: Comparison) => Math.abs(errorOf(comparison) ?? comparison.here);

describe.each(tableOf("layout"))("$run boots", (row) => {
  const at = named(compareBoot(row));

  test("to the same MemTotal, HighTotal and LowTotal", () => {
    const totals = row.HighTotal === "" ? ["MemTotal"] : ["MemTotal", "HighTotal", "LowTotal"];
    for (const key of totals) expect(within(at(key)), key).toBeLessThan(row.run?.startsWith("510") ? 0.01 : 0.001);
  });

  test.runIf(row.LowFree !== "")("and leaves the same LowFree to programs", () => {
    expect(within(at("LowFree"))).toBeLessThan(0.01);
  });
});

const pageTables = tableOf("pagetables");

describe.each(sharedAreaRuns)("$run", (run) => {
  const isWhole = process.env.BIGMEM_PAGETABLES === "all";
  const effort = isWhole ? { processes: 500, stride: 1 } : { processes: 100, stride: WINDOW_PAGES };
  const rows = compareSharedArea(run, pageTables, effort);

  test("was measured with 0 and 100 processes, and with 500", () => {
    expect(rows.map(({ processes }) => processes)).toEqual(isWhole ? [0, 100, 500] : [0, 100]);
  });

  describe.each(rows)("with $processes processes", ({ processes, compared }) => {
    const at = named(compared);

    test.runIf(processes > 0)("has the VmPTE and the VmSize of each process exactly", () => {
      for (const key of ["VmPTE", "VmSize"]) expect(at(key).here, key).toBe(at(key).real);
    });

    test("has the same PageTables, as exactly as the kernel itself knows them", () => {
      const { real, here } = at("PageTables");
      expect(Math.abs(here - real)).toBeLessThanOrEqual(LAG_KIB);
    });

    test("has the same free memory, stacks, slabs and promises within 2 %", () => {
      const keys = ["MemFree", "Slab", "SUnreclaim", "Shmem", "Mapped", "Committed_AS"];
      if (run.run.startsWith("pae")) keys.push("LowFree", "HighFree");
      for (const key of keys) expect(within(at(key)), key).toBeLessThan(0.02);
      // One more thread of the kernel's runs now and then.
      expect(Math.abs(at("KernelStack").here - at("KernelStack").real)).toBeLessThanOrEqual(8);
    });

    test("has the same AnonPages, as exactly as the kernel itself knows them", () => {
      const { real, here } = at("AnonPages");
      expect(Math.abs(here - real)).toBeLessThanOrEqual(LAG_KIB);
    });
  });
});

describe("a few processes on a shared area", () => {
  const grown = (machine: string, stride: number) => {
    const area = new SharedArea(specOf(machine), 8 * 2 ** 20, stride);
    area.fill();
    area.growTo(3);
    return area;
  };

  test.each(["amd64-8g", "pae-8g", "nonpae-3g"])("on %s keep every law", (machine) => {
    expect(audit(grown(machine, WINDOW_PAGES).machine)).toEqual([]);
  });

  test("come to the same whether they read every page or one in each window of fault-around", () => {
    expect(grown("pae-8g", 1).look()).toEqual(grown("pae-8g", WINDOW_PAGES).look());
  });

  test("give everything back when they end", () => {
    const area = grown("amd64-8g", WINDOW_PAGES);
    const before = new SharedArea(specOf("amd64-8g"), 8 * 2 ** 20);
    before.fill();
    for (const child of area.children) area.machine.exit(child, 0);
    const left = named(
      area.look().memory.map(({ key, pages }, line) => {
        const here = pages * PAGE_SIZE;
        return { key, here, real: (before.look().memory[line]?.pages ?? 0) * PAGE_SIZE };
      }),
    );
    for (const key of ["PageTables", "KernelStack", "Committed_AS", "Shmem"]) {
      expect(left(key).here, key).toBe(left(key).real);
    }
  });
});
