/**
 * Soft pages in BSD's style: what programs map, protect and unmap is whole pages of the kernel's. Which calls fail where Linux
 * with pages of 4 KiB does not, which round, and what is copied whole; and programs as they are, scaled to such pages, on
 * designs of all kinds: contents, errno and signals as the flat model has them, with all laws kept.
 */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { randomProgram, usualShape } from "../src/check/generator.ts";
import { judge } from "../src/check/judge.ts";
import { oracleSpec } from "../src/check/oracle-machine.ts";
import { parsePrograms } from "../src/check/program.ts";
import { ProgramRunner } from "../src/check/program-runner.ts";
import type { Design } from "../src/design.ts";
import type { PagingFormatName } from "../src/hw/paging-format.ts";
import { Machine } from "../src/machine.ts";

const programs = parsePrograms(readFileSync(new URL("matrix/programs.txt", import.meta.url), "utf8"), "programs.txt");

const runnerOf = (paging: PagingFormatName, kernel: string, design: Partial<Design>): ProgramRunner =>
  new ProgramRunner(oracleSpec(paging, kernel, { softPageStyle: "bsd", ...design }));

/** What the operations print, as they are written: addresses are multiples of 4 KiB, and pages have 16. */
function printed(operations: string[], kernel = "linux-6.1"): string[] {
  const runner = runnerOf("x86-64", kernel, { softPageShift: "2" });
  const [program] = parsePrograms(`prog p\nfile 0 0x6000\n${operations.join("\n")}\nend\n`, "here");
  const asWritten = { ...program!, scale: 1 };
  expect(judge(runner, asWritten, { auditEvery: 1 })).toBeUndefined();
  return runner.run(asWritten).lines.slice(0, operations.length).map(answer);
}

/** The result of a line, and of a signal which it was. */
const answer = (line: string): string => line.replace(/^\d+ P\d \w+ /, "").replace(/ (mf=|addr=).*$/, "");

const MAPPED = "0 mmap 0 0x10000 3 0x32 -1 0";

describe.each(["linux-2.6.11", "linux-6.1", "linux-6.18"])("with pages of 16 KiB, %s", (kernel) => {
  test.each([
    ["mmap of a fixed place", "0 mmap 1000 0x4000 3 0x32 -1 0"],
    ["mmap from an offset", "0 mmap 4000 0x4000 3 0x12 0 0x1000"],
    ["munmap", "0 munmap 1000 0x1000"],
    ["mprotect", "0 mprotect 1000 0x1000 1"],
    ["mremap", "0 mremap 1000 0x1000 0x2000 1 -"],
    ["mremap to a fixed place", "0 mremap 0 0x4000 0x4000 3 21000"],
    ["madvise", "0 madvise 1000 0x1000 4"],
    ["msync", "0 msync 1000 0x1000 4"],
    ["mincore", "0 mincore 1000 0x1000"],
    ["shmdt", "0 shmdt 1000"],
  ])("%s fails with EINVAL in the midst of a page", (_what, operation) => {
    expect(printed([MAPPED, operation], kernel)[1]).toBe("EINVAL");
  });

  test("lengths are those of whole pages", () => {
    const unmapped = printed([MAPPED, "0 munmap 4000 0x1", "0 r 7010", "0 r 8010", "0 r 3010"], kernel);
    expect(unmapped.slice(1)).toEqual(["0", "SEGV code=1", "00", "00"]);
    const mapped = printed(["0 mmap 0 0x1 3 0x32 -1 0", "0 w 3010 7", "0 r 3010", "0 r 4010"], kernel);
    expect(mapped).toEqual(["W+0", "ok", "07", "SEGV code=1"]);
    const protectedPages = printed([MAPPED, "0 mprotect 8000 0x800 1", "0 w b010 7", "0 w c010 7"], kernel);
    expect(protectedPages.slice(1)).toEqual(["0", "SEGV code=2", "ok"]);
  });

  test("the break moves by whole pages, and mlock takes the pages around its range", () => {
    expect(printed(["0 brk 0x1", "0 w B3010 5", "0 r B3010", "0 r B4010"], kernel).slice(1)).toEqual([
      "ok",
      "05",
      "SEGV code=1",
    ]);
    expect(printed([MAPPED, "0 mlock 5800 0x10", "0 munlock 5800 0x10"], kernel).slice(1)).toEqual(["0", "0"]);
  });

  test("a file's last page is in reach to its end, and reads as zero there", () => {
    const seen = printed(["0 mmap 0 0x10000 3 0x11 0 0", "0 r 5010", "0 r 6010", "0 r 7010", "0 r 8010"], kernel);
    expect(seen.slice(1)).toEqual(["45", "00", "00", "BUS code=2"]);
  });

  test("mincore has a byte for each page", () => {
    const file = "0 mmap 0 0x8000 3 0x11 0 0";
    expect(printed([file, "0 w 10 1", "0 mincore 0 0x8000"], kernel)[2]).toMatch(/^1[01]$/);
  });

  test("a private copy is one of the whole page", () => {
    const seen = printed(
      ["0 mmap 0 0x4000 3 0x12 0 0", "0 w 1010 7", "0 fwrite 0 0x2010 9", "0 r 2010", "0 r 1010"],
      kernel,
    );
    expect(seen.slice(1)).toEqual(["ok", "1", "42", "07"]);
  });
});

describe.each([
  ["i386", "linux-2.6.11", { softPageShift: "1", reverseMap: "pte-chain-a" }],
  ["pae", "linux-2.4.22", { softPageShift: "2" }],
  ["pae", "linux-2.6.0", { softPageShift: "4" }],
  ["x86-64", "linux-6.1", { softPageShift: "3", reverseMap: "anonmm" }],
  ["x86-64", "linux-6.18", { softPageShift: "4" }],
] as const)("%s, %s, %o", (paging, kernel, design) => {
  test("programs scaled to whole pages see what the flat model says", () => {
    const runner = runnerOf(paging, kernel, design);
    const random = Array.from({ length: 16 }, (_, seed) =>
      randomProgram(seed, { ...usualShape, failures: seed % 2 === 0 ? 0 : 0.15 }),
    );
    const failures = [...programs, ...random].flatMap(
      (program) => judge(runner, program, { auditEvery: 2 })?.what ?? [],
    );
    expect(failures).toEqual([]);
  });

  test("programs of 4 KiB fail where the flat model says", () => {
    const runner = runnerOf(paging, kernel, design);
    const asWritten = programs.map((program) => ({ ...program, scale: 1 }));
    const failures = asWritten.flatMap((program) => judge(runner, program, { auditEvery: 2 })?.what ?? []);
    expect(failures).toEqual([]);
  });
});

test("everything that a program is given begins and ends at whole pages", () => {
  for (const softPageShift of ["1", "4", "9"] as const) {
    for (const paging of ["i386", "pae", "x86-64"] as const) {
      const { layout } = new Machine(oracleSpec(paging, "linux-6.1", { softPageShift, softPageStyle: "bsd" })).kernel;
      expect(layout.pageBytes).toBe(4096 << Number(softPageShift));
      const { taskEnd, stackTop, unmappedBase, mmapBase, imageBase, userPages } = layout;
      for (const at of [taskEnd, stackTop, unmappedBase, mmapBase, imageBase]) expect(at % userPages).toBe(0);
    }
  }
});
