import { describe, expect, test } from "vitest";
import { stressKernels } from "./kernels.ts";
import { formatMatrix } from "./report.ts";
import { stress } from "./stress.ts";

const SMALL = { operations: 2_000, audits: 4, seed: 1 };

describe.each(stressKernels.map((kernel) => ({ name: `${kernel.highmem.name}, ${kernel.row}`, kernel })))(
  "$name",
  ({ kernel }) => {
    test("stays clean under a mixed stress", () => {
      const stressed = stress(kernel, SMALL);
      expect(stressed.audits).toBe(SMALL.audits);
      expect(stressed.operations).toBeGreaterThanOrEqual(SMALL.operations);
      expect(stressed.faults).toBeGreaterThan(100);
      expect(stressed.forks).toBeGreaterThan(2);
      expect(stressed.interrupts > 0).toBe(kernel.cpus > 1);
    }, 30_000);
  },
);

describe.each(stressKernels.filter(({ highmem }) => highmem.name === "64GB-highpte"))("$row, with kswapd", (kernel) => {
  test("stays clean while pages go to swap and come back", () => {
    const stressed = stress(kernel, { ...SMALL, reclaim: "always" });
    expect(stressed.audits).toBe(SMALL.audits);
    expect(stressed.pagesOut).toBeGreaterThan(100);
    expect(stressed.pagesIn).toBeGreaterThan(100);
    expect(stressed.lockOrders).toContain("PG_locked -> page_table_lock");
  }, 30_000);
});

const smp = stressKernels.find(({ row }) => row === "SMP-preempt on")!;

test("a run is a function of its seed", () => {
  const digest = (seed: number) => stress(smp, { ...SMALL, seed }).digest;
  expect(digest(5)).toBe(digest(5));
  expect(digest(5)).not.toBe(digest(6));
});

test("the table has a cross for each kernel that ran", () => {
  const text = formatMatrix([stress(smp, SMALL)]);
  expect(text).toMatch(/^SMP-preempt on +x +- +- +- +-$/m);
  expect(text).toContain("mmap_sem -> page_table_lock\n");
});
