import { describe, expect, test } from "vitest";
import { type Row, runExperiment } from "./experiment.ts";
import { experimentNamed } from "./experiments.ts";

const run = (name: string, parameters: Record<string, string> = {}) => runExperiment(experimentNamed(name), parameters);

describe("areas for copies, with the published numbers", () => {
  const { rows, verdict } = run("vma-split");
  const of = (how: string, writes: number): Row => rows.find((row) => row.how === how && row.writes === writes)!;
  const isolated = (writes: number) => of("an area each, isolated", writes);

  test.each([1, 100, 10_000, 32_767])("%d isolated writes make 2k + 1 areas", (writes) => {
    expect(isolated(writes)).toMatchObject({ copied: writes, areas: 2 * writes + 1, relocks: writes, outcome: "ok" });
  });

  test("65,536 areas are the end after 32,767, which is 128 MiB of copies less a page", () => {
    expect(isolated(32_768)).toMatchObject({ copied: 32_767, copiedBytes: 2 ** 27 - 4096, outcome: "SIGBUS" });
    expect(verdict).toContain("2k + 1 exactly");
  });

  test("every second page of 256 MiB needs them all, 5.5 MiB of them", () => {
    const alternate = of("an area each, every second page", 32_768);
    expect(alternate).toMatchObject({ areas: 65_536, areaBytes: 65_536 * 88 });
    expect(Number(alternate.areaBytes)).toBe(5.5 * 2 ** 20);
  });

  test("a bit of the entry leaves the area alone", () => {
    expect(of("a bit each (special-bit)", 32_768)).toMatchObject({ areas: 1, copied: 32_768, relocks: 0 });
  });
});

describe("guests that share a segment", () => {
  const load = { guests: "2", segment: "16M", memory: "32M", processes: "2" };
  const { rows } = run("xip", load);
  const of = (how: string): Row => rows.find((row) => row.how === how)!;

  test("make the same copies wherever they may make any", () => {
    const copies = rows.filter(({ how }) => how !== "refuse-cow").map((row) => row.copies);
    expect(new Set(copies).size).toBe(1);
    expect(Number(copies[0])).toBeGreaterThan(100);
    expect(of("refuse-cow")).toMatchObject({ refused: 4, copies: 0 });
  });

  test("pay for struct pages by the segment, for bits by the page table, for areas by the copy", () => {
    // 56 bytes for each page of 16 MiB, in whole frames.
    expect(of("struct-pages").perGuestBytes).toBe(Math.ceil((4096 * 56) / 4096) * 4096);
    for (const how of ["linear-rule", "special-bit", "cow-bit"]) expect(of(how).perGuestBytes).toBe(0);
    expect(Number(of("shadow-bits").shadowBytes)).toBe(2 * 4096);
    const shadowPages = Number(of("shadow-pages").shadowBytes);
    expect(shadowPages).toBeGreaterThan(Number(of("shadow-pages").pageTablesBytes) / 2);
    expect(Number(of("vma-split").areas)).toBeGreaterThan(1.5 * Number(of("vma-split").copies));
  });

  test("fault once where all is mapped at once, and look up bits where there are any", () => {
    expect(Number(of("linear-rule").faults)).toBe(Number(of("linear-rule").copies));
    expect(Number(of("special-bit").faults)).toBeGreaterThan(Number(of("linear-rule").faults));
    expect(Number(of("shadow-bits").lookups)).toBeGreaterThan(0);
    expect(of("special-bit").lookups).toBe(0);
  });
});
