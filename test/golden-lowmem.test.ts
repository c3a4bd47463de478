/**
 * The numbers that the whole matter began with: how many processes that each touch a shared segment of 2 GiB fit 896 MiB
 * of lowmem with their page tables, where nothing else is. Each has its tables and nothing more.
 */
import { expect, test } from "vitest";
import { Machine } from "../src/machine.ts";
import { Limits } from "../src/mm/limits.ts";
import { LEAF, NO_TABLE } from "../src/mm/page-table.ts";
import { createSpace } from "../src/mm/space.ts";
import { kernelPresets, specOf } from "../src/presets.ts";

const SEGMENT_PAGES = 2 ** 19;
/** What the kernel's own small objects, windows and watermarks may keep. */
const SPARE_PROCESSES = 3;

function processesThatFit(paging: "i386" | "pae", settings: readonly string[]): number {
  const machine = new Machine(
    specOf("piii-4g", "linux-2.6.11", [
      `geometry.paging=${paging}`,
      "geometry.bootMemory=none",
      "tunables.minFreeKiB=0",
      ...settings,
    ]),
  );
  const { kernel } = machine;
  for (let processes = 0; ; processes++) {
    const mm = createSpace(kernel, new Limits());
    if (mm === null) return processes;
    for (let page = 0; page < SEGMENT_PAGES; page += kernel.tables.span(LEAF)) {
      if (kernel.tables.tryEnsureLeaf(mm, page) === NO_TABLE) return processes;
    }
  }
}

test.each([
  { paging: "i386" as const, processes: 447 },
  { paging: "pae" as const, processes: 223 },
])("$processes processes of 2 GiB fit the lowmem of a $paging kernel", ({ paging, processes }) => {
  const found = processesThatFit(paging, []);
  expect(found).toBeLessThanOrEqual(processes);
  expect(found).toBeGreaterThanOrEqual(processes - SPARE_PROCESSES);
});

test("with page tables in highmem lowmem is no limit", () => {
  expect(processesThatFit("pae", ["pageTablePlacement=highmem"])).toBeGreaterThan(700);
});

test("a kernel of highpte puts its tables where there is highmem, and nowhere else", () => {
  expect(kernelPresets["linux-2.5.5-highpte"].design).toMatchObject({
    pageTablePlacement: "highmem",
    pageTableAccess: "kmap-atomic",
  });
  expect(specOf("pae-8g").design.pageTablePlacement).toBe("highmem");
  expect(specOf("amd64-8g").design).toMatchObject({ pageTablePlacement: "lowmem", pageTableAccess: "direct" });
});
